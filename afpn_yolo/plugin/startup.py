"""Teach Ultralytics the AFPN layers when, and only when, somebody imports Ultralytics.

Python runs `install` at every start of an interpreter in which this package is installed, so this
file imports only `sys` and `os`, not even `__future__`: its annotations are quoted. It puts one
finder on `sys.meta_path`, which lets the ordinary machinery find and load the modules below, and
registers with them once they have been executed.
"""

import os
import sys

TYPE_CHECKING = False  # typing costs milliseconds; type checkers know this spelling
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

DISABLE = "AFPN_YOLO_DISABLE"  # set to anything but "" or "0": the hook is not installed


HOOKS = {  # Ultralytics' module -> the function of `register` that changes it
    "ultralytics.nn.tasks": "register_layers",
    "ultralytics.data.utils": "register_data",
}
# Modules of these two rooms import Ultralytics themselves, so they can be half executed when a
# module of HOOKS is done: registration then waits for their end.
OURS = ("afpn_yolo.layers", "afpn_yolo.plugin")
refused: "dict[str, Exception]" = {}  # modules of HOOKS with which registration failed, and why


def _is_ours(name: str) -> bool:
    return any(name == room or name.startswith(room + ".") for room in OURS)


def _is_loading(name: str) -> bool:
    return getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)


def _register(executed: str) -> None:
    """Register with every module of HOOKS that has been executed; `executed` just was.

    Where that fails, Ultralytics works on.
    """
    if any(_is_ours(n) and n != executed and _is_loading(n) for n in [*sys.modules]):
        return
    for name, hook in HOOKS.items():
        module = sys.modules.get(name)
        if module is None or name in refused or (_is_loading(name) and name != executed):
            continue
        try:
            from afpn_yolo.plugin import register

            getattr(register, hook)(module)
        except Exception as error:
            refused[name] = error
            _refuse(module, error)


def _refuse(module: "ModuleType", error: Exception) -> None:
    """Report a failure only to those who ask for an AFPN model; where that can't be, to all."""
    try:
        from afpn_yolo.plugin import fallback

        reported = fallback.refuse(module, error)
    except Exception:
        reported = False
    if not reported:
        # The logger, not the warnings module: under `-W error` a warning would be an exception,
        # and `import ultralytics` would break for somebody who never asked for AFPN.
        from ultralytics.utils import LOGGER

        LOGGER.warning(f"afpn_yolo is off, stock models are not affected: {error}")


class _Finder:
    """A `sys.meta_path` entry that calls `_register` after certain modules were loaded."""

    def __init__(self) -> None:
        self.searching: set[str] = set()

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        # Another finder may ask all finders, and so this one again.
        if name in self.searching or (name not in HOOKS and not _is_ours(name)):
            return None
        self.searching.add(name)
        try:
            for finder in [*sys.meta_path]:
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find(name, path, target) if find else None
                if spec is not None:
                    _call_after_exec(spec)
                    return spec
        finally:
            self.searching.discard(name)
        return None


def _call_after_exec(spec: "ModuleSpec") -> None:
    """Make the spec's own loader, whatever its class, call `_register` after `exec_module`.

    A zip file has one loader for all of its modules, and somebody else may have wrapped it, too.
    """
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if loader is None or execute is None or hasattr(execute, "afpn_yolo"):
        return
    before = loader.__dict__.get("exec_module")

    def exec_module(module: "ModuleType") -> None:
        if before is not None:
            loader.__dict__["exec_module"] = before
        else:
            loader.__dict__.pop("exec_module", None)
        execute(module)
        _register(module.__name__)

    exec_module.afpn_yolo = True  # type: ignore[attr-defined]
    loader.exec_module = exec_module  # type: ignore[method-assign]


def install() -> None:
    """Put the finder in place, and register with what is loaded already. Repeating does nothing."""
    if os.environ.get(DISABLE, "0") not in ("", "0"):
        return
    if any(type(finder) is _Finder for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    _register(__name__)
