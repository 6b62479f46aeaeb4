"""An Ultralytics that doesn't suit: stock models work, and AFPN is refused in one sentence."""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ultralytics
from ultralytics.utils import LOGGER

from afpn_yolo import __version__
from afpn_yolo.plugin import startup
from afpn_yolo.plugin.fallback import NEWEST, OLDEST, RegistrationError, refuse, unsuited
from tests.conftest import TRAIN
from tests.processes import YOLO, forked, run

ROOT = Path(__file__).parents[2]
INSTALLED = Path(ultralytics.__file__).parent
OWN = """
nc: 2
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [16, 3, 2]]]
head: [[[0, 1], 1, AFPNSum, [0]], [[2], 1, Detect, [nc]]]
"""
Edit = Callable[[str], str]


def copy_of_ultralytics(folder: Path, version: str, file: str, edit: Edit) -> dict[str, str]:
    """Lay an Ultralytics in which version and one file differ; returns the environment to use it.

    All that stays as it is are links to what is installed.
    """
    top = folder / "ultralytics"
    changed = {top / "__init__.py", top / file}
    parents = {path.parent for path in changed}
    for parent in parents:  # first: a link in a folder's place would lead into what is installed
        parent.mkdir(parents=True, exist_ok=True)
    for parent in parents:
        for entry in (INSTALLED / parent.relative_to(top)).iterdir():
            link = parent / entry.name
            if entry.name != "__pycache__" and link not in changed and not link.exists():
                link.symlink_to(entry)
    for path in changed:
        assert path.resolve().is_relative_to(folder.resolve()), f"{path} is not in the copy"
    init = (INSTALLED / "__init__.py").read_text()
    (top / "__init__.py").write_text(init.replace(ultralytics.__version__, version))
    (top / file).write_text(edit((INSTALLED / file).read_text()))
    others = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), others)))}


def replaced(old: str, new: str) -> Edit:
    def edit(source: str) -> str:
        assert old in source
        return source.replace(old, new)

    return edit


def unchanged(source: str) -> str:
    return source


TASKS = "nn/tasks.py"
UNKNOWN = "has a parser that this afpn_yolo doesn't know"
# Why it doesn't suit; the version that the copy bears; what is edited; what is said of it.
UNSUITED = {
    "too old": ("8.3.251", unchanged, "is too old"),
    "another last branch": (
        "9.0.1",
        replaced("        c2 = ch[f]", "        c2 = 0 + ch[f]"),
        UNKNOWN,
    ),
    "no such parser": (
        "9.0.4",
        lambda source: f"{replaced('parse_model(', 'build_model(')(source)}\nparse_model = None\n",
        "has no parse_model, which this afpn_yolo needs",
    ),
    "no fusing of layers": (
        "9.0.6",
        lambda source: f"{source}\ndel BaseModel.fuse\n",
        "has no BaseModel.fuse, which this afpn_yolo needs",
    ),
}
ASK = """
import warnings
warnings.simplefilter("error")
import ultralytics.data.utils
from ultralytics import YOLO
YOLO("yolov5n.yaml")
print("STOCK MODEL BUILT")
for name in ("yolov5n-afpn.yaml", "yolo11n-afpn-seg.yaml", "own.yaml", "yolov5n-qfpn.yaml"):
    try:
        YOLO(name)
    except Exception as error:
        print(type(error).__name__, error)
"""


def assert_sentence(line: str, version: str, says: str) -> None:
    assert f"RegistrationError ultralytics {version} {says}" in line.replace("Error: ", "Error ")
    assert f"afpn_yolo {__version__} was tested with ultralytics {OLDEST} to {NEWEST}" in line


@pytest.mark.parametrize("why", UNSUITED)
def test_a_stock_model_is_built_in_silence_and_afpn_refused_in_one_sentence(
    why: str, tmp_path: Path
) -> None:
    version, edit, says = UNSUITED[why]
    env = copy_of_ultralytics(tmp_path / "copy", version, TASKS, edit)
    (tmp_path / "own.yaml").write_text(OWN)
    result = forked(ASK, cwd=tmp_path, env=env)
    stock, shipped, grafted, own, *missing = (result.stderr + result.stdout).splitlines()
    assert stock == "STOCK MODEL BUILT"
    assert_sentence(shipped, version, says)
    assert_sentence(grafted, version, says)
    if why != "no such parser":  # there, nobody is left to look at a user's own rows
        assert_sentence(own, version, says)
    assert missing[0].startswith("FileNotFoundError")  # a name that is nobody's is not ours


def test_only_rows_say_what_a_model_is_made_of() -> None:
    tasks: Any = ModuleType("ultralytics.nn.tasks")
    tasks.parse_model, tasks.yaml_model_load = (lambda d: "built"), (lambda file: file)
    assert refuse(tasks, unsuited("is too old"))
    rows = [[-1, 1, "Conv", [8, 3, 2]]]
    stock = {"yaml_file": "AFPN/yolov5n.yaml", "backbone": rows, "head": [], "names": ["AFPN"]}
    assert tasks.parse_model(stock) == "built"
    with pytest.raises(RegistrationError, match="is too old"):
        tasks.parse_model({**stock, "head": [[[0, 1], 1, "AFPNSum", [0]]]})


def test_the_stock_command_refuses_afpn_and_trains_a_stock_model(
    small_data: Path, tmp_path: Path
) -> None:
    version, edit, says = UNSUITED["another last branch"]
    env = copy_of_ultralytics(tmp_path / "copy", version, TASKS, edit)
    command = (YOLO, "train", f"data={small_data}", *TRAIN, "epochs=1", f"project={tmp_path}")
    run(*command, "model=yolov5n.yaml", "name=stock", cwd=tmp_path, env=env)
    assert (tmp_path / "stock" / "weights" / "best.pt").is_file()
    result = run(*command, "model=yolov5n-afpn.yaml", cwd=tmp_path, env=env, fails=True)
    assert_sentence(result.stderr.strip().splitlines()[-1], version, says)


def test_an_afpn_of_ultralytics_own_is_a_stock_layer(tmp_path: Path) -> None:
    """When Ultralytics brings a layer of one of our names, its own models must go on working."""

    def edit(source: str) -> str:
        return f"{source}\n\nclass AFPNSum(nn.Identity): ...\n"

    env = copy_of_ultralytics(tmp_path / "copy", "9.1.0", TASKS, edit)
    code = """
from ultralytics.nn import tasks
rows = [[-1, 1, "Conv", [8]], [-1, 1, "AFPNSum", []]]
print(type(tasks.parse_model({"backbone": rows, "head": []}, 3, False)[0][1]).__module__)
tasks.yaml_model_load("yolov5n-afpn.yaml")
"""
    result = forked(code, cwd=tmp_path, env=env, fails=True)
    assert result.stdout == "ultralytics.nn.tasks\n"
    last = result.stderr.splitlines()[-1]
    assert_sentence(last, "9.1.0", "has a layer of its own named AFPNSum")


def test_where_no_function_can_carry_the_message_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(LOGGER, "warning", warnings.append)
    startup._refuse(ModuleType("ultralytics.nn.tasks"), unsuited("is too old"))
    assert len(warnings) == 1


def test_setup_allows_what_was_tested() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = config["options"]["install_requires"].split()
    assert f"ultralytics>={OLDEST}" in required
