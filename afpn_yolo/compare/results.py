"""The results of a comparison, and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import written_whole
from afpn_yolo.compare.figures import bubbles, curves
from afpn_yolo.compare.notes import remarks
from afpn_yolo.compare.notes import sentences as remarked
from afpn_yolo.compare.page import page
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.store import Record
from afpn_yolo.compare.table import Row, markdown, rows
from afpn_yolo.compare.verdict import sentences, verdict

ENDS = (".md", ".html", "-bubbles.png", "-curves.png")


@dataclass(frozen=True)
class Results:
    """All that a reader is shown.

    Attributes:
        table: A row for every neck that has a finished run.
        conditions: What all runs shared.
        verdict: As `verdict.verdict` gives it; None where there can never be one.
        remarks: As `remarks.remarks` gives it.
    """

    table: Sequence[Row]
    conditions: Mapping[str, Any]
    verdict: dict[str, Any] | None
    remarks: dict[str, Any]

    @classmethod
    def of(
        cls,
        necks: Sequence[Candidate],
        finished: dict[str, Record],
        conditions: Mapping[str, Any],
        judged: bool = True,
    ) -> Results:
        """From the records of finished runs.

        Args:
            judged: Whether a model without a neck can be among them, as a verdict needs it.
        """
        table = rows(necks, finished)
        found = verdict(table) if judged else None
        return cls(table, conditions, found, remarks(finished.values()))

    def markdown(self) -> str:
        """Verdict and table."""
        said = "\n".join(sentences(self.verdict)).strip()
        text = markdown(self.table, self.conditions, remarked(self.remarks))
        return f"{said}\n\n{text}" if said else text

    def write(self, out: Path, name: str) -> None:
        """Write `ENDS` into a folder, each whole or not at all."""
        with written_whole(out / f"{name}.md") as part:
            part.write_text(self.markdown(), encoding="utf-8")
        with written_whole(out / f"{name}.html") as part:
            notes = [*remarked(self.remarks)]
            text = page(name, self.table, self.conditions, self.verdict, notes)
            part.write_text(text, encoding="utf-8")
        for end, draw in (("bubbles", bubbles), ("curves", curves)):
            with written_whole(out / f"{name}-{end}.png") as part:
                draw(self.table).savefig(part, format="png")
