"""Distillation: what is compared, how it is resumed, and the checkpoint that comes out."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO as Model
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.distill import Schedule
from afpn_yolo.distill.distill import distill
from afpn_yolo.distill.models import TeacherStudent
from afpn_yolo.distill.trainer import DistillationTrainer, RandomCrops
from afpn_yolo.graft.shapes import run_rows, sources_of
from afpn_yolo.upstream.models import untrained
from afpn_yolo.upstream.weights import rescale
from tests.conftest import TRAIN
from tests.neck import randomise
from tests.processes import YOLO, afpn, run

SHORT = Schedule(steps=6, batch=2, imgsz=64)


@pytest.fixture(autouse=True)
def few_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afpn_yolo.distill.trainer.EVALUATED", 4)


@pytest.fixture(scope="module")
def images(small_data: Path) -> list[Path]:
    return sorted((small_data.parent / "set" / "images").rglob("*.jpg"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PAFPN that answers differently to different images."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    torch.manual_seed(1)
    model = Model("yolov5n.yaml")
    randomise(model.model)
    model.save(path)
    return path


def models(teacher: Path, model: str = "yolov5n-afpn.yaml") -> TeacherStudent:
    source = Model(teacher).model.float()
    torch.manual_seed(0)
    return TeacherStudent(source, untrained(model, source))


def test_levels_are_those_of_whole_models(teacher: Path) -> None:
    """Rows run one by one on a shared backbone give what hooks see in whole forward passes."""
    pair = models(teacher)
    x = torch.rand(2, 3, 64, 96)
    inputs: list[tuple[torch.Tensor, ...]] = []
    for model, levels in zip((pair.student, pair.teacher), pair.levels(x), strict=True):
        hook = lambda module, args: inputs.append((*args[0],))  # noqa: E731
        model.model[-1].register_forward_pre_hook(hook)
        model(x)
        torch.testing.assert_close(inputs[-1], levels)


@pytest.mark.parametrize("model", ["yolov5s-afpn.yaml", "yolov8n.yaml"])
def test_models_that_do_not_fit(teacher: Path, model: str) -> None:
    with pytest.raises(ValueError, match="backbones"):
        models(teacher, model)


class Stop(Exception):
    pass


def test_stopped_and_taken_up(
    teacher: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afpn_yolo.distill.trainer.SAVE_EVERY", 2)

    def teach(name: str, stop: int | None = None) -> tuple[list[int], nn.Module]:
        pair, steps = models(teacher), []

        def progress(step: int, share: list[float]) -> None:
            steps.append(step)
            if step == stop:
                raise Stop

        teaching = DistillationTrainer(pair, images, images, SHORT, tmp_path / name, "cpu")
        with contextlib.suppress(Stop):
            teaching.run(progress)
        return steps, pair.neck

    (tmp_path / "whole").write_bytes(b"PK broken")  # no state that could be resumed
    steps, whole = teach("whole")
    assert steps == [1, 2, 3, 4, 5, 6]
    assert teach("parts", stop=5)[0] == [1, 2, 3, 4, 5]
    steps, parts = teach("parts")
    assert steps == [5, 6]  # four were kept
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("device", ["cuda:0", "gpu"])
def test_a_device_that_is_not_there(
    teacher: Path, images: list[Path], tmp_path: Path, device: str
) -> None:
    if device != "gpu" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=device):
        distill(teacher, images, tmp_path / "a.pt", schedule=SHORT, device=device)
    assert not [*tmp_path.iterdir()]


def test_a_teacher_with_quantizers_is_refused(
    teacher: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = Model(teacher).model
    source.model[0].conv.weight_quantizer = nn.BatchNorm2d(1)  # as modelopt's, which has an amax
    monkeypatch.setattr("afpn_yolo.distill.distill.load_model", lambda path: source)
    with pytest.raises(ValueError, match="quantisation-aware"):
        distill(teacher, images, tmp_path / "a.pt", schedule=SHORT)


def test_blank_images_teach_nothing(images: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    Model("yolov5n.yaml").save(tmp_path / "fresh.pt")  # without a bias anywhere, black gives zeros
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.zeros((90, 120, 3), np.uint8))
    teach = partial(distill, tmp_path / "fresh.pt", out=tmp_path / "a.pt", schedule=SHORT)
    with pytest.raises(ValueError, match=r"blank\.png"):
        teach([blank])
    with pytest.raises(ValueError, match=r"blank\.png"):
        teach([blank, *images[:9]])  # the one that is held back
    assert {path.name for path in tmp_path.iterdir()} == {"fresh.pt", "blank.png"}


def test_a_loss_that_is_no_number_ends_it(
    teacher: Path, images: list[Path], tmp_path: Path
) -> None:
    wild = Schedule(steps=5, batch=2, imgsz=64, lr=1e30)
    with pytest.raises(ValueError, match="lower lr"):
        distill(teacher, images, tmp_path / "a.pt", schedule=wild)


def test_crops_repeat(images: list[Path]) -> None:
    crops, again = (RandomCrops(images, 64, seed=3, length=20) for _ in range(2))
    assert torch.equal(crops[15], again[15])
    assert not torch.equal(crops[15], crops[3])  # the same image, another crop
    assert crops[0].shape == (3, 64, 64)
    assert 0 <= float(crops[0].min()) < float(crops[0].max()) <= 1


def test_red_comes_first(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((64, 64, 3), (0, 0, 255), np.uint8))
    means = RandomCrops([tmp_path / "red.png"], 64, 0, 1)[0].mean((1, 2))
    assert means[0] > means[1] + 0.3
    assert means[0] > means[2] + 0.3


def test_the_script_and_fine_tuning(teacher: Path, small_data: Path, tmp_path: Path) -> None:
    options = ("--steps", "3", "--batch", "2", "--imgsz", "64")
    folder = small_data.parent / "set" / "images" / "train"
    result = afpn("distill", teacher, folder, "-o", "start.pt", *options, cwd=tmp_path)
    assert "the head is the teacher's" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["start.pt"]
    model = Model(tmp_path / "start.pt")
    assert len(model.names) == 80
    run(YOLO, "train", "model=start.pt", f"data={small_data}", *TRAIN, "epochs=1", cwd=tmp_path)


def test_rows_may_count_their_sources_backwards() -> None:
    backbone = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]]
    head = [[[-2, -1], 1, "AFPNSum", [0]], [[2, -2], 1, "Detect", ["nc"]]]
    model: Any = DetectionModel({"nc": 1, "backbone": backbone, "head": head}, verbose=False)
    assert sources_of(model.model[-1]) == [2, 1]
    outputs = run_rows(model.model, {-1: torch.zeros(1, 3, 64, 64)}, range(3))
    assert [outputs[i].shape[2] for i in sources_of(model.model[-1])] == [32, 16]


@pytest.mark.parametrize(("grown", "variance"), [(30.0, 1.0), (0.2, 1e-4)])
def test_outputs_stay_and_weights_are_of_a_fresh_size(grown: float, variance: float) -> None:
    torch.manual_seed(0)
    model: Any = DetectionModel("yolov5n-afpn.yaml", verbose=False)
    images = torch.rand(2, 3, 64, 64)
    model.train()(images)  # running statistics of its own
    convs = [m for m in model.modules() if isinstance(m, Conv)]
    with torch.no_grad():
        for conv in convs:
            conv.conv.weight.mul_(grown)
            conv.bn.running_mean.mul_(grown)
            conv.bn.running_var.mul_(grown**2)
            conv.bn.running_var[::2] *= variance  # channels that hardly vary
            conv.bn.weight[::2] *= variance**0.5
        before = model.eval()(images)[0]
        rescale(model)
        after = model(images)[0]
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3)
    assert before.std() > 0.1
    for conv in convs:
        weight = conv.conv.weight
        fresh = (3 * weight[0].numel()) ** -0.5
        assert weight.pow(2).mean().sqrt().item() == pytest.approx(fresh, rel=1e-4)


def test_weights_of_zero_stay() -> None:
    conv: Any = Conv(4, 4, 3)
    torch.nn.init.zeros_(conv.conv.weight)
    rescale(conv)
    assert not conv.conv.weight.any()
    assert torch.isfinite(conv.bn.running_var).all()
