"""The results of a comparison, and the files that show them: Markdown, charts, one HTML page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from afpn_yolo.base import markdown_table
from afpn_yolo.base.files import written_whole
from afpn_yolo.compare.plan import Candidate, in_words
from afpn_yolo.compare.table import COLUMNS, cells, has_learnt, rows, versus
from afpn_yolo.compare.verdict import interval_note, judge, sentences
from afpn_yolo.evaluation.records import DIGEST, MODEL, ComparisonFile, Record, Row
from afpn_yolo.plots.charts import bubbles, curves, sizes, svg

ENDS = (".md", ".html", "-bubbles.png", "-curves.png")
DECIDING = ("ultralytics", "torch", "torchvision", "afpn_yolo")
"""The packages whose version may change a figure."""

EXPLAINED = (
    "AP in points after the last epoch, by COCO's metrics: mean ± standard deviation over seeds. "
    "GFLOPs at the size of the images; those of two-stage detectors at 640 x 640."
)
COURSE = "During training (AP of the validation after each epoch, mean over seeds)"
STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --ink: #1f2328;
  --dim: #59636e; --paper: #fff; --mark: #0969da; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --ink: #f0f6fc;
  --dim: #9198a1; --paper: #0d1117; --mark: #4493f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.dim { color: var(--dim); font-size: .9rem; }
.verdict { border-left: 4px solid var(--mark); background: var(--soft); border-radius: 0 8px 8px 0;
  padding: .75rem 1.25rem; margin: 1.5rem 0; }
.verdict p { margin: .4rem 0; }
.verdict p:first-of-type { font-size: 1.1rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { color: var(--dim); font-weight: 600; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: var(--soft); }
.conditions { width: auto; } .conditions td { text-align: left; white-space: normal; }
.figures { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: .75rem; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif !important; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
"""


@dataclass(frozen=True)
class Results:
    """All that a reader is shown: rows, conditions that all runs share, notes, and the verdict.

    `**` around a note makes it bold; the verdict is None where there can never be one.
    """

    table: Sequence[Row]
    conditions: Mapping[str, str]
    notes: Sequence[str]
    verdict: dict[str, Any] | None

    @classmethod
    def of(
        cls,
        necks: Iterable[Candidate],
        records: Mapping[str, Record],
        judge: Callable[[Sequence[Row]], dict[str, Any] | None] = judge,
    ) -> Results:
        """From the records of finished runs; those of other rows than `necks` don't count.

        `judged`: whether a model without a neck can be among them, as a verdict needs it.
        """
        necks = [*necks]
        names = {(neck.label, neck.scale) for neck in necks}
        runs = [run for run in records.values() if (run["label"], run["scale"]) in names]
        table = rows(necks, records)
        return cls(table, shared(runs), notes(runs), judge(table))

    def markdown(self) -> str:
        """Verdict, table, conditions, and the course of the trainings."""
        lines = ["\n".join(sentences(self.verdict)).rstrip()]
        lines += ["", *markdown_table(COLUMNS, map(cells, self.table)), "", EXPLAINED, ""]
        lines += [*markdown_table(("condition", "of all runs"), self.conditions.items(), 2), ""]
        lines += [f"- {note}" for note in self.notes]
        if course := versus(self.table):
            lines += ["", f"{COURSE}:", "", *(f"- {line}" for line in course)]
        return "\n".join(lines).strip() + "\n"

    def html(self, name: str, figures: Iterable[Figure]) -> str:
        """A page that opens without a network."""
        return "\n".join(
            (
                '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(name)}: comparison of necks</title>",
                f"<style>{STYLE}</style>\n</head>",
                f"<body>\n<h1>Comparison of necks: {escape(name)}</h1>",
                *self._html_verdict(),
                f"<h2>Accuracy and cost</h2>\n{_html_table(map(cells, self.table), COLUMNS)}",
                f'<p class="dim">{escape(EXPLAINED)}</p>',
                '<h2>Figures</h2>\n<div class="figures">',
                *(f"<figure>{svg(figure)}</figure>" for figure in figures),
                "</div>",
                *_html_list(COURSE, versus(self.table)),
                *_html_list("Notes", self.notes),
                f"<h2>Conditions</h2>\n{_html_table(self.conditions.items())}",
                "</body>\n</html>\n",
            )
        )

    def _html_verdict(self) -> Iterable[str]:
        scales = self.verdict["scales"] if self.verdict else []
        for one in scales:
            if len(scales) > 1:
                yield f"<h2>Scale {escape(one['scale'])}</h2>"
            text = "".join(f"<p>{escape(sentence)}</p>" for sentence in one["text"])
            yield f'<div class="verdict">{text}</div>'
        if self.verdict and (note := interval_note(self.verdict)):
            yield f'<div class="dim">{note}</div>'

    def write_markdown(self, out: Path, name: str) -> None:
        """Write `NAME.md` into a folder."""
        with written_whole(out / f"{name}.md") as part:
            part.write_text(self.markdown(), encoding="utf-8")

    def write(self, out: Path, name: str) -> None:
        """Write `ENDS` into a folder; no bubbles where nothing has been learnt."""
        self.write_markdown(out, name)
        figures = {"curves": curves(self.table)}
        if has_learnt(self.table):
            figures |= {"bubbles": bubbles(self.table), "sizes": sizes(self.table)}
        with written_whole(out / f"{name}.html") as part:
            part.write_text(self.html(name, figures.values()), encoding="utf-8")
        (out / f"{name}-bubbles.png").unlink(missing_ok=True)
        for end in figures.keys() - {"sizes"}:
            with written_whole(out / f"{name}-{end}.png") as part:
                figures[end].savefig(part, format="png")


def _html_table(lines: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A table of figures; one of texts where it has no head."""
    first = "".join(f"<th>{key}</th>" for key in head)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    start = f"<table><thead><tr>{first}</tr></thead>" if head else '<table class="conditions">'
    return f'<div class="wide">{start}\n<tbody>{body}</tbody></table></div>'


def _html_list(title: str, items: Sequence[str]) -> Iterable[str]:
    if items:
        yield f"<h2>{escape(title)}</h2>\n<ul>"
        for item in items:
            text = escape(item.strip("*"))
            yield f"<li>{f'<strong>{text}</strong>' if item.startswith('**') else text}</li>"
        yield "</ul>"


def shared(runs: Sequence[Record]) -> dict[str, str]:
    """The conditions that are the same for all runs, in words."""
    every = [run["conditions"] for run in runs]
    words = {
        key: in_words(key, value)
        for key, value in (every[0] if every else {}).items()
        if key != MODEL and value is not None and all(c.get(key) == value for c in every)
    }
    if "fraction" in words:
        words["fraction"] += ", spread evenly over the training images in the order of their names"
    if DIGEST in words:
        words["images and labels"] = words.pop(DIGEST)
    return words


def notes(runs: Sequence[Record]) -> list[str]:
    """What a reader of the table must know of sizes and versions."""
    lines = []
    if len(areas := {run.get("area") for run in runs}) == 1 and (area := areas.pop()):
        lines.append(f"Small, medium and large go by {area}.")
    same = []
    for name in DECIDING:
        runs_of: defaultdict[str, list[str]] = defaultdict(list)
        for run in runs:
            every = (*run["trained_with"], run["versions"])
            for version in dict.fromkeys(used[name] for used in every if name in used):
                runs_of[version].append(run["run"])
        if len(runs_of) > 1:
            shares = ", ".join(f"{version} ({', '.join(r)})" for version, r in runs_of.items())
            lines.append(f"**Different versions of {name}: {shares}.**")
        elif runs_of:
            same.append(f"{name} {next(iter(runs_of))}")
    if same:
        lines.append(f"Made with {', '.join(same)}.")
    return lines


def read_comparison(path: Path) -> ComparisonFile:
    """Read the JSON of a comparison.

    Raises:
        OSError: When there is no such file.
        ValueError: When it is something else.
    """
    try:
        content: ComparisonFile = json.loads(path.read_text(encoding="utf-8"))
        for record in content["runs"]:
            _ = record["run"], record["label"], record["scale"], record["conditions"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no result of a comparison: {error}") from None
    return content
