"""What a command is, and how it ends: a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Protocol

PARTLY, FAULT = 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as a shell reports SIGINT and SIGPIPE


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


def ended(run: Callable[[], int], stopped: str = "stopped") -> int:
    """Run a command to its end, whatever the end is; returns the exit code.

    What is no `OSError` and no `ValueError` is a fault of ours, and keeps its traceback.

    Args:
        run: The command.
        stopped: What Ctrl-C says.
    """
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (OSError, ValueError) as error:
        return complain(error)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("afpn_yolo"):
            raise
        return complain(f"{error.name} is not installed: pip install {error.name}")
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or stopped}", file=sys.stderr)
        return INTERRUPTED


def complain(error: object) -> int:
    """Print a sentence as an error; returns the exit code for one."""
    if isinstance(error, FileNotFoundError) and error.filename:  # Python's own has a number in it
        error = f"{error.filename}: no such file or folder"
    print(f"error: {error}", file=sys.stderr, flush=True)
    return FAULT
