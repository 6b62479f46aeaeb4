"""What the start-up hook and our model cost in time, against Ultralytics without them."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.bench.machine import machine, versions
from afpn_yolo.files import HERE
from afpn_yolo.startup import DISABLE

PACKAGES = ("ultralytics", "torch", "numpy")  # what these times depend on
BUILD = """
import time
from ultralytics import YOLO
YOLO  # imported when first asked for
start = time.perf_counter()
YOLO("{model}")
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Case:
    """Code that is run without us and, the same or its counterpart, with us.

    Attributes:
        name: What is measured.
        stock, ours: Python code.
        prints: The code prints its own seconds; otherwise the whole process is timed.
    """

    name: str
    stock: str
    ours: str
    prints: bool = False


IMPORT = "import ultralytics"
CLASS = "from ultralytics import YOLO"
CASES = (
    Case("`python -c pass`", "pass", "pass"),
    Case(f"`{IMPORT}`", IMPORT, IMPORT),
    Case(f"`{CLASS}`", CLASS, CLASS),
    Case(
        '`YOLO("yolov5n.yaml")` against `YOLO("yolov5n-afpn.yaml")`, without imports',
        BUILD.format(model="yolov5n.yaml"),
        BUILD.format(model="yolov5n-afpn.yaml"),
        prints=True,
    ),
)


class Interpreter:
    """A virtual environment with this one's packages, but with no start-up file except ours.

    Args:
        folder: Where it is made; removing it is up to the caller.
        hooked: Whether our start-up file is in it.
    """

    def __init__(self, folder: Path, hooked: bool) -> None:
        venv.create(folder, symlinks=os.name != "nt")
        paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
        self._python = Path(paths["scripts"]) / Path(sys.executable).name
        # Of a path named in a .pth, the packages can be imported; its own .pth files are not read.
        found = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *site.getsitepackages()]
        lines = [path for path in found if path]
        if hooked:
            lines = [str(HERE.parent), *lines]
            lines.append("import afpn_yolo.startup; afpn_yolo.startup.install()")
        (Path(paths["purelib"]) / "packages.pth").write_text("\n".join(lines) + "\n")
        self._folder = folder
        ignored = ("PYTHONPATH", "PYTHONSTARTUP", DISABLE)
        self._environment = {k: v for k, v in os.environ.items() if k not in ignored}
        self._environment["YOLO_AUTOINSTALL"] = "false"

    def seconds(self, code: str, prints: bool) -> float:
        """Run code in a fresh process, and time it.

        Raises:
            RuntimeError: When the code fails; the message ends with the last line that it wrote.
        """
        start = time.perf_counter()
        result = subprocess.run(
            [self._python, "-c", code],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        passed = time.perf_counter() - start
        if result.returncode:
            last = (result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1]
            raise RuntimeError(f"{' '.join(code.split())!r} failed: {last}")
        return float(result.stdout.splitlines()[-1]) if prints else passed


def measure(
    folder: Path,
    repeats: int,
    cases: Iterable[Case] = CASES,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Time every case without us and with us, in turn, in processes of their own.

    Args:
        folder: An empty folder for two virtual environments.
        repeats: Pairs a case, after one that isn't counted.
        cases: What to measure.
        progress: Called after each pair.

    Returns:
        For JSON: the machine, versions, and per case the seconds of each process, medians,
        quartiles and the ratios of the pairs.
    """
    sides = {
        "stock": Interpreter(folder / "stock", hooked=False),
        "ours": Interpreter(folder / "ours", hooked=True),
    }
    cases = list(cases)
    seconds: dict[str, dict[str, list[float]]] = {c.name: {s: [] for s in sides} for c in cases}
    for number in range(repeats + 1):
        for case in cases:
            # Whoever is second may find warm caches: they take turns.
            for side in sorted(sides, reverse=number % 2 == 0):
                code = case.ours if side == "ours" else case.stock
                value = sides[side].seconds(code, case.prints)
                if number:
                    seconds[case.name][side].append(value)
            progress()
    load = [*os.getloadavg()] if hasattr(os, "getloadavg") else None
    about = {**machine(), "load": load, "versions": versions(PACKAGES)}
    return {"machine": about, "cases": {name: summary(s) for name, s in seconds.items()}}


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and quartiles of both sides and of the ratios, pair by pair."""
    stock, ours = np.asarray(seconds["stock"]), np.asarray(seconds["ours"])
    return {
        "stock": _spread(stock),
        "ours": _spread(ours),
        "difference": _spread(ours - stock),
        "ratio": _spread(ours / stock),
        "seconds": seconds,
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, (25, 50, 75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def markdown(report: dict[str, Any]) -> str:
    """The report as a table: milliseconds, medians with quartiles in brackets."""
    lines = [
        "| | without, ms | with, ms | difference, ms | ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, case in report["cases"].items():
        cells = [_cell(case[key], 1000, 1) for key in ("stock", "ours", "difference")]
        lines.append(f"| {name} | {' | '.join(cells)} | {_cell(case['ratio'], 1, 3)} |")
    about = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    count = min(len(case["seconds"]["ours"]) for case in report["cases"].values())
    load = f", load {about['load'][0]:.1f}" if about["load"] else ""
    return "\n".join(
        [
            *lines,
            "",
            f"Medians of {count} pairs, quartiles in brackets; differences and ratios by pair. "
            f"{about['cpu']}, {about['cores']} cores{load}; {versions}.",
        ]
    )


def _cell(spread: dict[str, float], factor: float, digits: int) -> str:
    median, low, high = (spread[key] * factor for key in ("median", "low", "high"))
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
