"""Checkpoints under `ULTRALYTICS_SAFE_LOAD=1`, and where this package is not installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn import tasks

from tests.processes import ROOT, YOLO, forked, python, run, without_us

SAFE = {"ULTRALYTICS_SAFE_LOAD": "1"}
needs_safe_load = pytest.mark.skipif(
    not hasattr(tasks, "_SafeLoad"), reason="this Ultralytics knows no safe loading"
)
WATCH = ROOT / "tests" / "network"
OPEN = "from ultralytics import YOLO; print(type(YOLO(r'{path}').model.model[16]).__name__)"


@needs_safe_load
def test_every_fusion_is_loaded_safely(tmp_path: Path) -> None:
    from tests.lively import save_lively

    for fusion in ("", "-sum", "-concat"):
        save_lively(fusion, tmp_path / f"afpn{fusion}.pt")
    code = "from ultralytics import YOLO\n"
    code += "for name in ('', '-sum', '-concat'): print(len(YOLO(f'afpn{name}.pt').model.model))"
    assert forked(code, cwd=tmp_path, env=SAFE).stdout.split() == ["30"] * 3


@needs_safe_load
def test_training_goes_on_and_exports_under_safe_loading(
    best: Path, small_data: Path, tmp_path: Path
) -> None:
    """Validation and prediction are in test_yolo_command.py."""
    model = shutil.copy(best, tmp_path / "best.pt")
    options = ("imgsz=64", "batch=4", "workers=0", "plots=False", "epochs=1")
    command = (YOLO, "train", f"model={model}", f"data={small_data}", *options)
    run(*command, f"project={tmp_path}", "name=tuned", cwd=tmp_path, env=SAFE)
    assert (tmp_path / "tuned" / "weights" / "best.pt").is_file()
    exported = ("format=onnx", "imgsz=64", "simplify=False")
    run(YOLO, "export", f"model={model}", *exported, cwd=tmp_path, env=SAFE)
    assert (tmp_path / "best.onnx").is_file()


class Foreign(nn.Module):
    """A class that is neither Ultralytics' nor ours."""


@needs_safe_load
def test_safe_loading_is_really_on(best: Path, tmp_path: Path) -> None:
    """A foreign class in an AFPN checkpoint is refused; without the variable it would be loaded."""
    checkpoint: dict[str, Any] = torch.load(best, weights_only=False)
    checkpoint["foreign"] = Foreign()
    torch.save(checkpoint, tmp_path / "foreign.pt")
    code = f"import sys; sys.path.append({str(ROOT)!r})\n"
    code += OPEN.format(path=tmp_path / "foreign.pt")
    assert "AFPNFusion" in forked(code, cwd=tmp_path).stdout
    refused = forked(code, cwd=tmp_path, env=SAFE, fails=True)
    assert "types outside the supported" in refused.stderr


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


@needs_safe_load
def test_a_run_that_goes_on_heeds_it(tmp_path: Path) -> None:
    """`compare_necks.py` looks into a `last.pt` before it hands it to Ultralytics."""
    last = tmp_path / "run" / "weights" / "last.pt"
    last.parent.mkdir(parents=True)
    torch.save({"epoch": 0, "evil": Evil()}, last)
    code = "from pathlib import Path; from afpn_yolo.upstream.train import resumable\n"
    code += f"print(resumable(Path({str(last.parent)!r})))"
    assert forked(code, cwd=tmp_path, env=SAFE).stdout.endswith("[]\n")
    assert not (tmp_path / "touched").exists()
    forked(code, cwd=tmp_path, env={"ULTRALYTICS_SAFE_LOAD": "0"})
    assert (tmp_path / "touched").exists()


def test_switched_off_there_are_neither_names_nor_classes_of_ours(
    best: Path, tmp_path: Path
) -> None:
    safe = hasattr(tasks, "_SafeLoad")  # without it, unpickling imports our classes
    models = ["yolov5n-afpn.yaml", *([str(best)] if safe else [])]
    code = f"""
from ultralytics import YOLO
for model in {models!r}:
    try:
        print("opened", YOLO(model))
    except Exception as error:
        print(type(error).__name__, error)
"""
    output = python(code, tmp_path, env={**SAFE, "AFPN_YOLO_DISABLE": "1"})
    assert "FileNotFoundError" in output
    assert "yolov5" in output
    assert "opened" not in output
    assert ("types outside the supported" in output) == safe


NAMESAKE = """
import os, pathlib, sys, torch
sys.path.insert(0, {watch!r})
for number, (env, _) in enumerate({cases!r}):
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        continue
    notes = pathlib.Path(f"notes{{number}}.txt")
    notes.touch()
    os.environ.update(env, TEST_NETWORK_NOTES=str(notes.absolute()))
    print("CASE", file=sys.stderr, flush=True)
    import sitecustomize
    import ultralytics.utils.checks
    ultralytics.utils.checks.ONLINE = True
    {open}
    os._exit(0)
"""
"""No start-up file is read in this interpreter: what refuses the network is run by hand. It also
refuses Ultralytics' question whether there is a network."""


def test_where_we_are_not_installed_ultralytics_would_install_a_namesake(
    best: Path, tmp_path: Path
) -> None:
    """The risk that SECURITY.md describes, and its remedies; a fork for each."""
    cases = [({"YOLO_AUTOINSTALL": "true"}, True), ({"YOLO_AUTOINSTALL": "false"}, False)]
    if hasattr(tasks, "_SafeLoad"):
        cases.append(({"YOLO_AUTOINSTALL": "true", **SAFE}, False))
    code = NAMESAKE.format(watch=str(WATCH), cases=cases, open=OPEN.format(path=best))
    result = run(*without_us(code), cwd=tmp_path)
    _, *told = result.stderr.split("CASE\n")
    for number, ((_, installs), said) in enumerate(zip(cases, told, strict=True)):
        assert "afpn_yolo" in said  # what is missing
        attempts = (tmp_path / f"notes{number}.txt").read_text()
        assert ("subprocess.Popen" in attempts and "afpn_yolo" in attempts) == installs, attempts
