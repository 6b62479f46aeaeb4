"""A virtual environment into which a test installs the package."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.processes import run

PACKAGES = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


class Environment:
    """A virtual environment that sees this one's packages, but runs none of its start-up files."""

    def __init__(self, folder: Path, with_packages: bool = True) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.empty = folder.parent / "empty"
        self.empty.mkdir()
        # Another Ultralytics may lie in PYTHONPATH: `make test-versions`.
        self.env = {} if with_packages else {"PYTHONPATH": ""}
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
        self.scripts, self.packages = Path(paths["scripts"]), Path(paths["purelib"])
        self.python = self.scripts / "python"
        if with_packages:
            # A path named in a .pth is searched for modules; its own .pth files are not read.
            (self.packages / "others.pth").write_text("\n".join(PACKAGES))

    def pip(self, *args: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, *args, cwd=self.empty)

    def run(self, code: str) -> str:
        result = run(self.python, "-c", code, cwd=self.empty, env=self.env)
        return result.stdout + result.stderr

    def ours(self) -> set[str]:
        return {path.name for path in self.packages.iterdir() if "afpn" in path.name}
