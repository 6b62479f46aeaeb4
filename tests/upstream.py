"""Run the tests of Ultralytics' own source distribution with and without this package.

    python -m tests.upstream [FOLDER]

They are of the installed version. Those that would download something fail at once, and must fail
in both runs: no proxy listens where every request is sent. Every test's outcome is compared; the
exit code is 1 when one differs. The network is used once, by pip, to fetch the distribution.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import ultralytics

from tests.processes import COMMAND, without_us

RUN = "import sys, pytest; sys.exit(pytest.main())"
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no", "--color=no", "--junitxml=outcomes.xml")
NOWHERE = "http://127.0.0.1:9"
Outcomes = dict[str, str]


def fetch(folder: Path) -> Path:
    """Download the source distribution of the installed version, unless it is there."""
    name = f"ultralytics-{ultralytics.__version__}"
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        source = ("--no-binary=:all:", "--no-build-isolation", "--dest", str(folder))
        subprocess.run([*pip, *source, name.replace("-", "==")], check=True)
    return archive


def lay_out(archive: Path, folder: Path) -> None:
    """Take the tests and their configuration out of the distribution; the package stays in it."""
    with tarfile.open(archive) as file:
        for member in file.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name.startswith("tests/") or member.name == "pyproject.toml":
                file.extract(member, folder, filter="data")


def outcomes(folder: Path, command: tuple[str, ...], env: dict[str, str]) -> Outcomes:
    """Run all tests that lie in a folder."""
    proxies = {f"{s}_proxy": NOWHERE for s in ("http", "https", "HTTP", "HTTPS", "all")}
    settings = {"YOLO_CONFIG_DIR": str(folder / "config"), "YOLO_AUTOINSTALL": "false"}
    path = os.pathsep.join((str(folder / "bin"), str(Path(sys.executable).parent), os.defpath))
    subprocess.run(
        [*command, *OPTIONS, "tests"],
        cwd=folder,
        env={**os.environ, **proxies, **settings, "YOLO_OFFLINE": "true", "PATH": path, **env},
        check=False,  # many need what isn't here
    )
    found = {}
    for case in ElementTree.parse(folder / "outcomes.xml").iter("testcase"):
        kinds = [part.tag for part in case if part.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = (kinds or ["passed"])[0]
    return found


def main(work: Path) -> int:
    """Compare; returns the exit code."""
    work.mkdir(parents=True, exist_ok=True)
    archive = fetch(work)
    with_us, without = work / "with", work / "without"
    for folder in (with_us, without):
        lay_out(archive, folder)
    # The `yolo` that their tests start, and processes that those start, must be without us as well.
    script = without / "bin" / "yolo"
    script.parent.mkdir(exist_ok=True)
    interpreter, *flags, code = without_us(COMMAND)
    script.write_text(f'#!/bin/sh\nexec \'{interpreter}\' {" ".join(flags)} "$(cat $0.py)" "$@"\n')
    script.with_suffix(".py").write_text(code)
    script.chmod(0o755)
    bare = outcomes(without, without_us(RUN), {"AFPN_YOLO_DISABLE": "1"})
    ours = outcomes(with_us, (sys.executable, "-c", RUN), {})
    for name in sorted(bare.keys() | ours.keys()):
        if bare.get(name) != ours.get(name):
            print(f"DIFFERS {name}: {bare.get(name)} without, {ours.get(name)} with")
    print(f"ultralytics {ultralytics.__version__}, without: {dict(Counter(bare.values()))}")
    print(f"ultralytics {ultralytics.__version__}, with:    {dict(Counter(ours.values()))}")
    return int(bare != ours)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "upstream").resolve()))
