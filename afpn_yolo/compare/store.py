"""The finished runs of a comparison: one JSON file, safe to be written by several processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from afpn_yolo.base.files import write_json
from afpn_yolo.compare.plan import Run, differences
from afpn_yolo.evaluation.records import MODEL, ComparisonFile, Record
from afpn_yolo.upstream.locks import lock_of

Judge: TypeAlias = Callable[[dict[str, Record]], dict[str, Any] | None]
REMEDY = "choose another --name, or remove the file"


class Store:
    """The JSON file of one comparison. It appears with the first finished run.

    `judge` gives the verdict on all finished runs, which the file has, too. `lock` is held while a
    process writes this file, or what is derived from it.
    """

    def __init__(self, path: Path, judge: Judge = lambda records: None) -> None:
        self.path, self.judge = path, judge
        self.lock = lock_of(path)

    def content(self) -> ComparisonFile:
        """The whole file; raises ValueError when it is no comparison of ours."""
        if not self.path.exists():
            return {"runs": []}
        with self.lock:  # Windows can't replace a file while somebody reads it
            return read_comparison(self.path)

    def records(self) -> dict[str, Record]:
        """Records of the finished runs by name, in the order in which they ended."""
        return {record["run"]: record for record in self.content()["runs"]}

    def check(self, runs: Iterable[Run]) -> dict[str, Record]:
        """The finished runs, if these can stand beside them.

        Raises:
            ValueError: When a finished run was made under other conditions: of one row all of them
                must be the same, of different rows all but the model.
        """
        records = self.records()
        for run in runs:
            for record in records.values():
                same_row = (record["label"], record["scale"]) == (run.neck.label, run.neck.scale)
                before, now = (
                    conditions if same_row else {**conditions, MODEL: None}
                    for conditions in (record["conditions"], run.conditions)
                )
                if different := differences(before, now):
                    raise ValueError(
                        f"{self.path}: {record['run']} was made under other conditions "
                        f"({'; '.join(different)}); {REMEDY}"
                    )
        return records

    def add(self, run: Run, record: Record) -> dict[str, Record]:
        """Store the record of a finished run, in place of an earlier one; returns all records.

        Raises:
            ValueError: As `check`; another process may have finished a run meanwhile.
        """
        with self.lock:
            records = self.check([run])
            records.pop(run.name, None)
            records[run.name] = record
            write_json(self.path, {"runs": [*records.values()], "verdict": self.judge(records)})
        return records


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
