"""An Ultralytics that doesn't suit: stock models work, and AFPN is refused in one sentence."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ultralytics
from ultralytics.utils import LOGGER

from afpn_yolo import __version__
from afpn_yolo.plugin import startup
from afpn_yolo.plugin.fallback import NEWEST, OLDEST, RegistrationError, refuse, unsuited
from tests.processes import ROOT, forked

INSTALLED = Path(ultralytics.__file__).parent
OWN = """
nc: 2
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [16, 3, 2]]]
head: [[[0, 1], 1, AFPNSum, [0]], [[2], 1, Detect, [nc]]]
"""


def copy_of_ultralytics(folder: Path, version: str, old: str, new: str) -> dict[str, str]:
    """Lay an Ultralytics of another version, with an edited parser; returns an environment for it.

    All that stays as it is are links to what is installed.
    """
    top = folder / "ultralytics"
    (top / "nn").mkdir(parents=True)
    for here, changed in ((Path(), "nn __init__.py"), (Path("nn"), "tasks.py")):
        for entry in (INSTALLED / here).iterdir():
            if entry.name not in ("__pycache__", *changed.split()):
                (top / here / entry.name).symlink_to(entry)
    init = (INSTALLED / "__init__.py").read_text()
    (top / "__init__.py").write_text(init.replace(ultralytics.__version__, version))
    tasks = (INSTALLED / "nn" / "tasks.py").read_text()
    assert old in tasks
    (top / "nn" / "tasks.py").write_text(tasks.replace(old, new))
    others = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), others)))}


UNKNOWN = "has a parser that this afpn_yolo doesn't know"
# Why it doesn't suit; the version that the copy bears; what is replaced; what is said of it.
UNSUITED = {
    "too old": ("8.3.251", ("", ""), "is too old"),
    "another last branch": ("9.0.1", ("        c2 = ch[f]", "        c2 = 0 + ch[f]"), UNKNOWN),
    "no fusing of layers": (
        "9.0.6",
        ("    def fuse(", "    def fold("),
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
    env = copy_of_ultralytics(tmp_path / "copy", version, *edit)
    (tmp_path / "own.yaml").write_text(OWN)
    result = forked(ASK, cwd=tmp_path, env=env)
    stock, shipped, grafted, own, *missing = (result.stderr + result.stdout).splitlines()
    assert stock == "STOCK MODEL BUILT"
    assert_sentence(shipped, version, says)
    assert_sentence(grafted, version, says)
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


def test_an_afpn_of_ultralytics_own_is_a_stock_layer(tmp_path: Path) -> None:
    """When Ultralytics brings a layer of one of our names, its own models must go on working."""
    parser = "def parse_model("
    new = f"class AFPNSum(nn.Identity): ...\n\n\n{parser}"
    env = copy_of_ultralytics(tmp_path / "copy", "9.1.0", parser, new)
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
