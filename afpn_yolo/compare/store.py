"""What has been run: one JSON file a comparison, safe to be written by several processes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import write_json
from afpn_yolo.base.records import DIGEST
from afpn_yolo.compare.plan import Candidate, Conditions, Run, differences
from afpn_yolo.upstream.locks import lock_of

Record = dict[str, Any]


class Records:
    """The finished runs of one comparison.

    Args:
        path: The JSON file. It appears with the first finished run.
        conditions: Conditions of the runs.

    Attributes:
        lock: Held while a process writes this file, or what is made of it.

    Raises:
        ValueError: When the file is not one of ours, or was made under other conditions.
    """

    def __init__(self, path: Path, conditions: Conditions) -> None:
        self.path = path
        self.conditions = conditions
        self.lock = lock_of(path)
        self.content()

    def finished(self) -> dict[str, Record]:
        """Records of finished runs by the run's name, in the order in which they ended."""
        return {record["run"]: record for record in self.content()["runs"]}

    def has(self, run: Run) -> bool:
        """Whether a run is finished.

        Raises:
            ValueError: When this neck is another model there, under any seed.
        """
        finished, neck = self.finished(), run.neck
        for name, record in finished.items():
            there = Candidate.read(record)
            if there.name == neck.name and not there.is_model_of(neck):
                raise ValueError(
                    f"{self.path}: {name} is {there} there, {neck} here; "
                    "give it another label, LABEL=MODEL, or choose another --name"
                )
        return run.name in finished

    def add(self, run: Run, record: Record) -> None:
        """Keep the record of a finished run; one of the same run is replaced."""
        with self.lock:
            others = [r for r in self.content()["runs"] if r["run"] != run.name]
            whole = {"run": run.name, **asdict(run.neck), "seed": run.seed, **record}
            whole.setdefault(DIGEST, self.conditions.data_digest)
            content = {"conditions": asdict(self.conditions), "runs": [*others, whole]}
            write_json(self.path, content)

    def conclude(self, verdict: dict[str, Any] | None, remarks: dict[str, Any]) -> None:
        """Keep what follows from the runs, for readers of the file; it is made anew each time."""
        with self.lock:
            content = {**self.content(), "verdict": verdict, "remarks": remarks}
            write_json(self.path, content)

    def content(self) -> dict[str, Any]:
        """The whole file, for JSON."""
        try:
            with self.lock:  # Windows can't replace a file while somebody reads it
                content = json.loads(self.path.read_text(encoding="utf-8"))
            content["conditions"].items()
            [record["run"] for record in content["runs"]]
        except FileNotFoundError:
            return {"conditions": asdict(self.conditions), "runs": []}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is no result of a comparison: {error}") from None
        # Each time: another process may have written it since.
        if different := differences(content["conditions"], asdict(self.conditions)):
            raise ValueError(
                f"{self.path} was made under other conditions ({'; '.join(different)}); "
                "choose another --name, or remove the file"
            )
        return dict(content)
