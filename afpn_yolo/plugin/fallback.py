"""What stands in for the plug-in where it doesn't suit the installed Ultralytics.

Stock models work as before; a request for an AFPN model ends in one sentence that says why there is
none. Only the standard library is used: `plugin` and `layers` may be what can't be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from afpn_yolo import __version__
from afpn_yolo.plugin import startup
from afpn_yolo.plugin.lookup import named_graft, resolve, shipped

OLDEST, NEWEST = "8.4.0", "8.4.190"
"""The versions of Ultralytics that the tests ran with; docs/versions.md has those between."""

LAYER = "AFPN"  # how the name of each of our layers begins
LOOK_UPS = {
    "ultralytics.nn.tasks": ("yaml_model_load", "models"),
    "ultralytics.data.utils": ("check_file", "data"),
}


class RegistrationError(RuntimeError):
    """The installed Ultralytics is not what this package was written for."""


def unsuited(what: str) -> RegistrationError:
    """An error about the installed Ultralytics; `what` follows its version in the sentence."""
    version = getattr(sys.modules.get("ultralytics"), "__version__", "of an unknown version")
    return RegistrationError(
        f"ultralytics {version} {what}; afpn_yolo {__version__} was tested with ultralytics "
        f"{OLDEST} to {NEWEST}, and until one of those is installed only stock models work"
    )


def refuse(module: ModuleType, error: Exception) -> bool:
    """Make a module of `LOOK_UPS` answer requests for what is ours with a `RegistrationError`.

    Returns:
        Whether there was a function to put this into; if not, no request will get the message.
    """
    if not isinstance(error, RegistrationError):
        error = unsuited(f"can't take AFPN's layers ({type(error).__name__}: {error})")
    name, kind = LOOK_UPS[module.__name__]
    present = [n for n in ("parse_model", name) if callable(getattr(module, n, None))]
    if "parse_model" in present:
        module.parse_model = _no_layers(module, str(error))  # type: ignore[attr-defined]
    if name in present:
        setattr(module, name, _no_files(getattr(module, name), kind, str(error)))
    return bool(present)


def _no_layers(tasks: ModuleType, message: str) -> Callable[..., Any]:
    parse: Callable[..., Any] = tasks.parse_model

    @wraps(parse)
    def parse_model(d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        for row in [row for part in ("backbone", "head") for row in d.get(part) or ()]:
            # A name that Ultralytics has by itself is a stock layer, whatever it begins with.
            if str(row[2]).startswith(LAYER) and not hasattr(tasks, row[2]):
                raise RegistrationError(message)
        return parse(d, *args, **kwargs)

    return parse_model


def _no_files(search: Callable[..., Any], kind: str, message: str) -> Callable[..., Any]:
    @wraps(search)
    def look_up(file: str | Path, *args: Any, **kwargs: Any) -> Any:
        try:
            return search(file, *args, **kwargs)
        except FileNotFoundError:
            path = resolve(kind, file)
            ours = path is not None and path == shipped(kind, path.name)
            if not ours and (kind != "models" or named_graft(file) is None):
                raise
            raise RegistrationError(message) from None

    return look_up


def why_not_registered() -> str | None:
    """Why Ultralytics has no AFPN layers in this process; None where it has them."""
    if os.environ.get(startup.DISABLE, "0") not in ("", "0"):
        return f"{startup.DISABLE} is set"
    try:
        from ultralytics.nn import tasks
    except Exception as error:  # an installation can be broken in many ways
        return f"ultralytics can't be imported ({type(error).__name__}: {error})"
    if hasattr(tasks, "AFPN_LAYERS"):
        return None
    return str(startup.refused.get(tasks.__name__, "the start-up hook was not called"))
