"""One bar over all runs of a comparison, with the time that is left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """Counts finished epochs; the time left is estimated from those of this process.

    Args:
        runs: Number of runs.
        epochs: Of every run.
        shown: Whether there is a bar; Ultralytics' own would write over it.
    """

    def __init__(self, runs: int, epochs: int, shown: bool) -> None:
        self._runs, self._epochs = runs, epochs
        self._bar: Any = tqdm(
            total=runs * epochs,
            desc="Comparing",
            unit=" epochs",
            file=sys.stderr,
            disable=None if shown else True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def run(self, name: str, done: int) -> None:
        """A run begins, and so many are finished, by whatever process.

        Epochs of other processes move the bar, but they say nothing of this one's speed.
        """
        if self._bar.disable:
            return
        self._bar.set_description(f"{done} of {self._runs} runs done, {name}")
        lead = done * self._epochs - self._bar.n
        for count in ("initial", "last_print_n", "n"):  # the speed is from the differences
            setattr(self._bar, count, getattr(self._bar, count) + lead)
        self._bar.refresh()

    def epoch(self) -> None:
        """One epoch of this process is over."""
        self._bar.update()
