"""The plan of the house: which room may import which, and who may know Ultralytics."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT

PACKAGE = ROOT / "afpn_yolo"
FLOORS = (
    ("cli",),
    ("convert", "deploy", "distill", "twostage"),
    ("compare",),  # below the rooms whose tables it makes, or whose necks it names
    ("plots",),
    ("evaluation",),
    ("upstream",),
    ("plugin",),
    ("graft",),  # below plugin, which grafts models that are asked for by name
    ("layers",),
    ("base",),
)
"""From the roof down. A room imports itself and what lies below; of its own floor, NEIGHBOURS."""

NEIGHBOURS = {
    "convert": {"twostage"},  # checkpoints of the authors' two-stage detectors
}
APART = {"edge", "shapes"}
"""They import nothing else of ours: edge runs without torch, shapes is called by Ultralytics."""

OPEN = {
    "deploy": {"shapes", "edge"},
    **{room: {"edge"} for room in ("distill", "plots", "twostage", "upstream")},
}
"""Who else may use what stands apart, such as edge's image reader; the roof may as well."""

KNOW_ULTRALYTICS = {"plugin", "upstream", "graft", "layers"}
START = "plugin/startup.py"
"""Every interpreter runs it at its start: it imports no more than `os` and `sys` then."""


def floor(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def allowed(room: str) -> set[str]:
    """The rooms that a room may import, itself among them."""
    if room in APART:
        return {room}
    below = {name for rooms in FLOORS[floor(room) + 1 :] for name in rooms}
    apart = APART if room == "cli" else OPEN.get(room, set())
    return {room} | below | NEIGHBOURS.get(room, set()) | apart


def modules() -> Iterator[tuple[str, Path]]:
    """Room and file of every module; `__init__.py` and the like, beside the rooms, are left out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        first, *rest = path.relative_to(PACKAGE).parts
        if rest:
            yield first.removesuffix(".py"), path


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of all that is imported, wherever it stands in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def violations(room: str, name: str, source: str) -> Iterator[str]:
    """What is wrong with the imports of a module, a sentence each."""
    tree = ast.parse(source)
    at_start = {line for node in tree.body for line, _ in imported(node) if _is_import(node)}
    for line, what in imported(tree):
        top, _, rest = what.partition(".")
        place = f"{name}:{line} imports {what}"
        target = rest.partition(".")[0]
        if top == "afpn_yolo" and target != "__version__":
            if target not in allowed(room):
                yield f"{place}: {room} lies below, beside or apart from {target}"
        elif top == "ultralytics" and room not in KNOW_ULTRALYTICS:
            yield f"{place}: only {', '.join(sorted(KNOW_ULTRALYTICS))} know Ultralytics"
        elif room == "base" and top != "afpn_yolo" and top not in sys.stdlib_module_names:
            yield f"{place}: base needs the standard library only"
        elif name == START and line in at_start and what not in ("os", "sys"):
            yield f"{place}: it runs at every start of Python, and needs os and sys only"


def test_imports_run_downwards() -> None:
    found = [
        sentence
        for room, path in modules()
        for sentence in violations(room, str(path.relative_to(PACKAGE)), path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_every_room_has_its_floor() -> None:
    rooms = {room for room, _ in modules()}
    placed = APART.union(*FLOORS)
    assert rooms <= placed, f"no floor for {rooms - placed}: add it to FLOORS"


@pytest.mark.parametrize(
    ("room", "name", "source"),
    [
        ("layers", "layers/x.py", "from afpn_yolo.plugin import register"),
        ("upstream", "upstream/x.py", "def f():\n    import afpn_yolo.compare.plan"),
        ("edge", "edge/x.py", "from afpn_yolo.base.files import write_json"),
        ("plots", "plots/x.py", "from afpn_yolo.compare.plan import PAPER"),
        ("compare", "compare/x.py", "if True:\n    from ultralytics.utils import TQDM"),
        ("base", "base/x.py", "import yaml"),
        ("plugin", "plugin/startup.py", "import pathlib"),
        ("compare", "compare/x.py", "from afpn_yolo import cli"),
    ],
)
def test_a_violation_is_named(room: str, name: str, source: str) -> None:
    (sentence,) = violations(room, name, source)
    assert sentence.startswith(f"{name}:{len(source.splitlines())} imports ")
