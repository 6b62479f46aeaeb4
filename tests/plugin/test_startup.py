"""Installed, the package costs nothing until Ultralytics is imported, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import cv2
import pytest
from ultralytics.utils import ASSETS

from afpn_yolo import __version__
from afpn_yolo.cli.__main__ import COMMANDS
from tests.processes import ROOT, forked, run

PACKAGES = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
SOURCES = (
    *("afpn_yolo", "models", "data", "scripts", "tests", "docs"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "MANIFEST.in"),
    *("afpn_yolo.pth", "afpn_yolo.start", "setup.cfg", "setup.py", "pyproject.toml"),
)
BUILD = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet")
USE = """
from ultralytics import YOLO
import sys
model = YOLO("yolov5n-afpn.yaml")
assert type(model.model.model[16]).__name__ == "AFPNFusion"
import afpn_yolo
print("FROM", afpn_yolo.__file__)
"""
HELPS = """
import contextlib
from afpn_yolo.cli.__main__ import main
for name in {names}:
    with contextlib.suppress(SystemExit):
        main([name, "--help"])
"""
"""The help of every command, in one process."""


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


def check_out(folder: Path) -> Path:
    """A copy of what git has of the package, so that building leaves nothing in ours."""
    folder.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a copy that is gone afterwards."""
    folder = tmp_path_factory.mktemp("sdist")
    checkout = check_out(folder / "checkout")
    code = "from setuptools import build_meta as b; b.build_sdist('dist')"
    run(sys.executable, "-c", code, cwd=checkout)
    made = next(checkout.glob("dist/*.tar.gz")).rename(folder / "sdist.tar.gz")
    shutil.rmtree(checkout)
    return made


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel that is built from it."""
    folder = sdist.parent
    run(sys.executable, "-m", "pip", "wheel", *BUILD, "-w", folder, sdist, cwd=folder)
    return next(folder.glob("*.whl"))


def check_commands(environment: Environment, model: Path) -> None:
    """The command, installed, from a folder without a checkout."""

    def told(*words: str | Path) -> str:
        afpn = environment.scripts / "afpn"
        return run(afpn, *words, cwd=environment.empty, env=environment.env).stdout

    version = f"afpn_yolo {__version__}\n"
    assert told("--version") == version
    command = (environment.python, "-m", "afpn_yolo", "--version")
    assert run(*command, cwd=environment.empty, env=environment.env).stdout == version
    assert "registered with Ultralytics" in told("env")
    assert told("env", "--help").startswith("usage: afpn env ")
    helps = environment.run(HELPS.format(names=[*COMMANDS]))
    assert re.findall("^usage: afpn ([a-z-]+) ", helps, re.MULTILINE) == [*COMMANDS]
    assert told("draw-neck", "-o", "neck.png") == "neck.png\n"
    assert cv2.imread(str(environment.empty / "neck.png")) is not None
    photograph = ASSETS / "bus.jpg"
    assert told("detect", model, photograph, "--out", "drawn").startswith(f"{photograph}: ")
    assert (environment.empty / "drawn" / "bus.jpg").is_file()


def test_wheel(wheel: Path, edge_model: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.pip("install", *BUILD, "--ignore-installed", wheel)
    assert str(environment.packages) in environment.run(USE)
    assert (environment.packages / "afpn_yolo" / "py.typed").is_file()
    check_commands(environment, edge_model)
    shipped = {path.name for path in environment.packages.glob("afpn_yolo/*/*.yaml")}
    necks = {path.name for path in environment.packages.glob("afpn_yolo/weights/*.npz")}
    assert necks == {path.name for path in (ROOT / "afpn_yolo" / "weights").iterdir()} != set()
    edge = "import sys, afpn_yolo.edge.__main__ as m; print(m.__file__, 'torch' in sys.modules)"
    assert environment.run(edge).endswith("afpn_yolo/edge/__main__.py False\n")
    assert shipped == {path.name for kind in ("models", "data") for path in (ROOT / kind).iterdir()}
    environment.pip("uninstall", "-y", "-q", "afpn_yolo")
    assert environment.ours() == set()
    assert environment.run("print('quiet')") == "quiet\n"


def test_editable_install_that_is_moved_and_uninstalled(tmp_path: Path) -> None:
    checkout = check_out(tmp_path / "checkout")
    environment = Environment(tmp_path / "venv")
    environment.pip("install", *BUILD, "--ignore-installed", "--editable", checkout)
    assert str(checkout) in environment.run(USE)
    checkout.rename(tmp_path / "moved")
    # No line on standard error, and nothing of ours in the way of a stock model.
    code = "from ultralytics import YOLO; import sys; YOLO('yolov5n.yaml');"
    assert environment.run(f"{code} print('afpn_yolo' in sys.modules)") == "False\n"
    environment.pip("uninstall", "-y", "-q", "afpn_yolo")
    assert environment.ours() == set()


def test_sdist_holds_the_start_files(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert {"afpn_yolo.pth", "afpn_yolo.start", "Makefile", "docs/neck.png"} <= names
    assert {"tests/golden/afpn3-n.npz", "scripts/families.py", "tests/conftest.py"} <= names
    assert not any(member.endswith(".pyc") for member in names)


def test_without_ultralytics(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", with_packages=False)
    environment.pip("install", *BUILD, wheel)
    assert environment.run("import sys; print('afpn_yolo' in sys.modules)") == "True\n"
    message = environment.run("try: import ultralytics\nexcept ImportError as e: print(e)")
    assert message == "No module named 'ultralytics'\n"


def test_start_imports_nothing_but_itself(tmp_path: Path) -> None:
    code = "import sys; print(*sys.modules)"
    result = run(sys.executable, "-W", "error", "-c", code, cwd=tmp_path)
    modules = set(result.stdout.split())
    ours = {name for name in modules if name.startswith("afpn_yolo")}
    assert ours == {"afpn_yolo", "afpn_yolo.plugin", "afpn_yolo.plugin.startup"}
    assert not {"torch", "ultralytics", "numpy"} & modules
    assert result.stderr == ""


@pytest.mark.parametrize(
    "first",
    [
        "import ultralytics",
        "import ultralytics.nn.tasks",
        "import ultralytics.data.utils",
        "import afpn_yolo.layers.fusion",
        "import afpn_yolo.plugin.register",
        "import afpn_yolo.convert",
    ],
)
def test_whatever_is_imported_first(first: str, tmp_path: Path) -> None:
    """Our model and a stock one are built without a word."""
    result = forked(f"{first}\n{USE}\nYOLO('yolov5n.yaml')", cwd=tmp_path)
    assert len((result.stdout + result.stderr).splitlines()) == 1


FINDERS = """
import importlib.util, sys
class Finder:
    busy = False
    def find_spec(self, name, path=None, target=None):
        if self.busy or not name.startswith("ultralytics"):
            return None
        self.busy = True
        try:
            return self.search(name, path, target)
        finally:
            self.busy = False
class Twin(Finder):
    "One of our own kind: it asks every other finder, and wraps the loader's method."
    def search(self, name, path, target):
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec:
                execute = spec.loader.exec_module
                def exec_module(module):
                    del spec.loader.__dict__["exec_module"]
                    execute(module)
                    print("TWIN", name)
                spec.loader.exec_module = exec_module
                return spec
class Unguarded(Twin):
    busy = property(lambda self: False, lambda self, value: None)
class Asking(Finder):
    def search(self, name, path, target):
        return importlib.util.find_spec(name)
"""


@pytest.mark.parametrize("finder", ["Twin", "Unguarded", "Asking"])
@pytest.mark.parametrize("place", [0, 1])
def test_other_finders(finder: str, place: int, tmp_path: Path) -> None:
    """Stock models and ours are built whoever else looks modules up, and in whatever order."""
    code = f"{FINDERS}\nsys.meta_path.insert({place}, {finder}())\n{USE}"
    result = forked(code, cwd=tmp_path)
    assert "is off" not in result.stdout + result.stderr
    assert ("TWIN ultralytics.nn.tasks" in result.stdout) == (finder != "Asking")


def test_a_module_that_is_looked_for_twice_before_it_is_imported_from_a_zip(tmp_path: Path) -> None:
    """All modules of a zip file have one loader. This Ultralytics is a stub, which we refuse."""
    parse = "def parse_model(d): return 'built'\ndef yaml_model_load(path): return path\n"
    files = {"__init__": "", "nn/__init__": "", "nn/tasks": parse, "data/__init__": ""}
    files["data/utils"] = "import ultralytics.nn.tasks\ndef check_file(file): return file\n"
    with zipfile.ZipFile(tmp_path / "ultralytics.zip", "w") as archive:
        for name, source in files.items():
            archive.writestr(f"ultralytics/{name}.py", source)
    code = """
import importlib.util, sys
sys.path.insert(0, "ultralytics.zip")
for name in ("ultralytics.nn.tasks", "ultralytics.data.utils", "ultralytics.nn.tasks"):
    importlib.util.find_spec(name)
import ultralytics.data.utils
print(ultralytics.nn.tasks.parse_model({}), ultralytics.data.utils.check_file("a"))
"""
    assert forked(code, cwd=tmp_path).stdout == "built a\n"


LATE = f"""
import ultralytics.nn.tasks, ultralytics.data.utils
from ultralytics import YOLO
import afpn_yolo
{USE}
YOLO("yolo11n-afpn-lite.yaml")
"""


def test_explicit_import_where_no_start_file_is_read(tmp_path: Path) -> None:
    """As under -S and `pip install --target`: by hand, even after Ultralytics."""
    paths = [str(ROOT), *PACKAGES]
    code = f"import sys; sys.path += {paths}\nassert 'afpn_yolo' not in sys.modules\n{LATE}"
    result = run(sys.executable, "-S", "-c", code, cwd=tmp_path)
    assert str(ROOT) in result.stdout


def test_layers_that_cannot_be_imported_are_no_matter_to_a_stock_model(tmp_path: Path) -> None:
    """Nothing is said until somebody asks for what is ours; test_fallback.py has other faults."""
    code = """
import sys, warnings
warnings.simplefilter("error")
sys.modules["afpn_yolo.layers.fusion"] = None
from ultralytics import YOLO
from ultralytics.data.utils import check_file
YOLO("yolov5n.yaml")
print("stock model built")
for ask in (lambda: YOLO("yolov5n-afpn.yaml"), lambda: check_file("shapes.yaml")):
    try:
        ask()
    except RuntimeError as error:
        print(error)
"""
    result = forked(code, cwd=tmp_path)
    assert result.stderr == ""
    built, *told = result.stdout.splitlines()
    assert built == "stock model built"
    reason = "can't take AFPN's layers (ModuleNotFoundError: import of afpn_yolo.layers.fusion"
    assert [reason in line for line in told] == [True, True]
