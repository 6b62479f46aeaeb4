"""What is noted after every epoch: a CSV file, and TensorBoard's where it is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import written_whole

TABLE = "results.csv"
Line = dict[str, float | None]


class History:
    """The epochs of a training.

    Args:
        folder: Gets `results.csv`, and TensorBoard's event file.
        lines: Epochs that were trained before.
        write: Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, lines: list[Line] | None = None, write: bool = True) -> None:
        self.lines = lines or []
        self._path = folder / TABLE
        self._write = write
        self._board: Any = _tensorboard(folder, len(self.lines)) if write else None

    def add(self, line: Line) -> None:
        """Note an epoch. The CSV is written whole: a killed training leaves no half line."""
        self.lines.append(line)
        if not self._write:
            return
        with (
            written_whole(self._path) as part,
            part.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, [*self.lines[-1]])
            writer.writeheader()
            writer.writerows(
                {k: "" if v is None else f"{v:.6g}" for k, v in line.items()} for line in self.lines
            )
        if self._board is not None:
            for key, value in line.items():
                if value is not None and key != "epoch":
                    kind = "loss" if key.startswith("loss") else "metrics" if key[0] == "A" else "x"
                    self._board.add_scalar(f"{kind}/{key}", value, int(line["epoch"] or 0))
            self._board.flush()


def _tensorboard(folder: Path, epochs: int) -> Any:
    """TensorBoard's writer, that forgets what comes after so many epochs; None without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=epochs + 1)
