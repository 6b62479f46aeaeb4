"""How the scripts end: a user's mistake is one sentence and exit code 2, Ctrl-C is 130."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps

Main = Callable[..., int]


def command(
    stopped: str = "stopped",
    failures: tuple[type[Exception], ...] = (),
) -> Callable[[Main], Main]:
    """Decorate a script's `main`.

    Args:
        stopped: What Ctrl-C says.
        failures: What else than `OSError` and `ValueError` says what happened in its message.
    """

    told: tuple[type[Exception], ...] = (OSError, ValueError, *failures)

    def decorate(main: Main) -> Main:
        @wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                return main(argv)
            except told as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print(f"\n{stopped}", file=sys.stderr)
                return 130

        return run

    return decorate
