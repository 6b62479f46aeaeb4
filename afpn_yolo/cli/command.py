"""What a command is."""

from __future__ import annotations

import argparse
from typing import Protocol


class Command(Protocol):
    """The module of a command. Its docstring is the help's description.

    It imports torch, and what imports torch, in `run` only, so that `--help` comes at once. Where
    Ctrl-C leaves something to go on from, `STOPPED` is the sentence that says so; one that depends
    on what was done is the `KeyboardInterrupt`'s own.
    """

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code.

        Raises:
            ValueError, OSError: When use or input is wrong; the message is the sentence to show.
            ModuleNotFoundError: When a package is needed that isn't installed.
        """
