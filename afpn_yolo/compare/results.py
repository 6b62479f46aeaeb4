"""The results of a comparison, and the files that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import written_whole
from afpn_yolo.base.markdown import table as markdown_table
from afpn_yolo.compare.page import page
from afpn_yolo.compare.plan import Candidate, in_words
from afpn_yolo.compare.table import COLUMNS, cells, has_learnt, rows, versus
from afpn_yolo.compare.verdict import sentences, verdict
from afpn_yolo.evaluation.records import DIGEST, MODEL, Record, Row
from afpn_yolo.plots.comparison import bubbles, curves, sizes

ENDS = (".md", ".html", "-bubbles.png", "-curves.png")
DECIDING = ("ultralytics", "torch", "torchvision", "afpn_yolo")
"""The packages whose version may change a figure."""

EXPLAINED = (
    "AP in points after the last epoch, by COCO's metrics: mean ± standard deviation over seeds. "
    "GFLOPs at the size of the images; those of two-stage detectors at 640 x 640."
)
COURSE = "During training (AP of the validation after each epoch, mean over seeds)"
SAMPLED = "spread evenly over the training images in the order of their names"


@dataclass(frozen=True)
class Results:
    """All that a reader is shown.

    Attributes:
        table: A row for every neck that has a finished run.
        conditions: What all runs shared, in words.
        notes: Sentences on versions and sizes; `**` around one makes it bold.
        verdict: As `verdict.verdict` gives it; None where there can never be one.
    """

    table: Sequence[Row]
    conditions: Mapping[str, str]
    notes: Sequence[str]
    verdict: dict[str, Any] | None

    @classmethod
    def of(
        cls, necks: Iterable[Candidate], records: Mapping[str, Record], judged: bool = True
    ) -> Results:
        """From the records of finished runs.

        Args:
            necks: The rows.
            records: The runs; those of other rows don't count.
            judged: Whether a model without a neck can be among them, as a verdict needs it.
        """
        necks = [*necks]
        names = {(neck.label, neck.scale) for neck in necks}
        runs = [run for run in records.values() if (run["label"], run["scale"]) in names]
        table = rows(necks, records)
        return cls(table, shared(runs), notes(runs), verdict(table) if judged else None)

    def markdown(self) -> str:
        """Verdict, table, conditions, and the course of the trainings."""
        lines = ["\n".join(sentences(self.verdict)).rstrip()]
        lines += ["", *markdown_table(COLUMNS, map(cells, self.table)), "", EXPLAINED, ""]
        lines += [*markdown_table(("condition", "of all runs"), self.conditions.items(), 2), ""]
        lines += [f"- {note}" for note in self.notes]
        if course := versus(self.table):
            lines += ["", f"{COURSE}:", "", *(f"- {line}" for line in course)]
        return "\n".join(lines).strip() + "\n"

    def write_markdown(self, out: Path, name: str) -> None:
        """Write `NAME.md` into a folder, whole or not at all."""
        with written_whole(out / f"{name}.md") as part:
            part.write_text(self.markdown(), encoding="utf-8")

    def write(self, out: Path, name: str) -> None:
        """Write `ENDS` into a folder; no bubbles where nothing has been learnt."""
        self.write_markdown(out, name)
        learnt = has_learnt(self.table)
        figures = {"curves": curves(self.table)}
        if learnt:
            figures |= {"bubbles": bubbles(self.table), "sizes": sizes(self.table)}
        with written_whole(out / f"{name}.html") as part:
            lists = {COURSE: versus(self.table), "Notes": self.notes}
            text = page(name, self.table, self.conditions, self.verdict, figures, lists, EXPLAINED)
            part.write_text(text, encoding="utf-8")
        for end in ("bubbles", "curves"):
            path = out / f"{name}-{end}.png"
            if end in figures:
                with written_whole(path) as part:
                    figures[end].savefig(part, format="png")
            else:
                path.unlink(missing_ok=True)


def shared(runs: Sequence[Record]) -> dict[str, str]:
    """The conditions that are the same for all runs, in words."""
    every = [run["conditions"] for run in runs]
    words = {
        key: in_words(key, value)
        for key, value in (every[0] if every else {}).items()
        if key != MODEL and value is not None and all(c.get(key) == value for c in every)
    }
    if "fraction" in words:
        words["fraction"] += f", {SAMPLED}"
    if DIGEST in words:
        words["images and labels"] = words.pop(DIGEST)
    return words


def notes(runs: Sequence[Record]) -> list[str]:
    """What a reader of the table must know of sizes and versions."""
    lines = []
    if len(areas := {run.get("area") for run in runs}) == 1 and (area := areas.pop()):
        lines.append(f"Small, medium and large go by {area}.")
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for used in [*run["trained_with"], run["versions"]]:
            for name in DECIDING:
                if (version := used.get(name)) and run["run"] not in versions[name][version]:
                    versions[name][version].append(run["run"])
    if same := [f"{name} {next(iter(v))}" for name, v in versions.items() if len(v) == 1]:
        lines.append(f"Made with {', '.join(same)}.")
    for name, found in versions.items():
        if len(found) > 1:
            shares = [
                f"{version} ({f'{len(names)} runs' if len(names) > 1 else names[0]})"
                for version, names in found.items()
            ]
            lines.append(f"**Different versions of {name}: {', '.join(shares)}.**")
    return lines
