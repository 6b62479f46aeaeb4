"""Ship the two one-line files that start the hook; all else stands in setup.cfg.

`.pth` is read by every Python up to 3.14; `.start` takes its place from 3.15 on (PEP 829).
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

START_FILES = ("afpn_yolo.pth", "afpn_yolo.start")


class BuildWithStartFiles(build_py):
    """Put the start files beside the package: into the wheel, or into site-packages if editable."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib)
        if self.editable_mode:
            target = Path(self.get_finalized_command("install").install_lib)
        for name in START_FILES:
            self.copy_file(name, str(target / name))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        return [*outputs, *(str(Path(self.build_lib) / name) for name in START_FILES)]


setup(cmdclass={"build_py": BuildWithStartFiles})
