"""One bar over all runs of a comparison, with the time that is left."""

from __future__ import annotations

from tqdm import tqdm


class Progress(tqdm):  # type: ignore[type-arg]
    """Counts finished epochs; the time left is estimated from those of this process.

    Args:
        runs: Number of runs.
        epochs: Of every run.
        shown: Whether there is a bar; Ultralytics' own would write over it.
    """

    def __init__(self, runs: int, epochs: int, shown: bool) -> None:
        hidden = None if shown else True
        super().__init__(total=runs * epochs, desc="Comparing", unit=" epochs", disable=hidden)
        self._runs, self._epochs = runs, epochs

    def run(self, name: str, done: int) -> None:
        """A run begins, and so many are finished, by whatever process.

        Epochs of other processes move the bar, but they say nothing of this one's speed.
        """
        if self.disable:
            return
        self.set_description(f"{done} of {self._runs} runs done, {name}")
        lead = done * self._epochs - self.n
        for count in ("initial", "last_print_n", "n"):  # the speed is from the differences
            setattr(self, count, getattr(self, count) + lead)
        self.refresh()
