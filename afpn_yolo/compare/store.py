"""The finished runs of a comparison: one JSON file, safe to be written by several processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import write_json
from afpn_yolo.compare.plan import Run, differences
from afpn_yolo.evaluation.records import MODEL, ComparisonFile, Record
from afpn_yolo.upstream.locks import lock_of

REMEDY = "choose another --name, or remove the file"


class Store:
    """The JSON file of one comparison. It appears with the first finished run.

    Args:
        path: The file.

    Attributes:
        lock: Held while a process writes this file, or what is derived from it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = lock_of(path)

    def content(self) -> ComparisonFile:
        """The whole file.

        Raises:
            ValueError: When it is no comparison of ours.
        """
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
                drop = () if same_row else (MODEL,)
                before, now = (_without(c, drop) for c in (record["conditions"], run.conditions))
                if different := differences(before, now):
                    raise ValueError(
                        f"{self.path}: {record['run']} was made under other conditions "
                        f"({'; '.join(different)}); {REMEDY}"
                    )
        return records

    def add(
        self, run: Run, record: Record, judge: Callable[[dict[str, Record]], dict[str, Any] | None]
    ) -> dict[str, Record]:
        """Keep the record of a finished run; one of the same run is replaced.

        Args:
            run: The run.
            record: Its record.
            judge: Gives the verdict on all finished runs, which the file has, too.

        Returns:
            All finished runs.
        """
        with self.lock:
            records = self.check([run])  # another process may have written it since
            records.pop(run.name, None)
            records[run.name] = record
            write_json(self.path, {"runs": [*records.values()], "verdict": judge(records)})
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


def _without(conditions: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in conditions.items() if key not in keys}
