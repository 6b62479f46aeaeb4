"""The head start: what is pair, how it is taken up again, and the checkpoint that comes out."""

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
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.distill import Schedule
from afpn_yolo.distill.dataset import RandomCrops
from afpn_yolo.distill.distill import distill
from afpn_yolo.distill.models import TeacherStudent
from afpn_yolo.distill.trainer import DistillationTrainer, level_variances, normalized_mse
from afpn_yolo.upstream.models import untrained
from afpn_yolo.upstream.neck import run_rows, sources_of
from tests.conftest import TRAIN
from tests.neck import randomise
from tests.processes import YOLO, afpn, run

SHORT = Schedule(steps=6, batch=2, imgsz=64)


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
    got, goal = pair.levels(x)
    seen: list[list[torch.Tensor]] = []
    for model, levels in ((pair.student, got), (pair.teacher, goal)):
        rows: Any = model.model
        hook = rows[-1].register_forward_pre_hook(lambda m, args: seen.append([*args[0]]))
        model(x)
        hook.remove()
        for one, other in zip(seen[-1], levels, strict=True):
            torch.testing.assert_close(one, other)


def test_backbone_and_head_are_the_teachers(teacher: Path) -> None:
    pair = models(teacher)
    assert pair.copy_head()
    theirs: Any = pair.teacher.model
    ours: Any = pair.student.model
    for row in [*range(10), -1]:
        state = ours[row].state_dict()
        assert all(torch.equal(state[k], v) for k, v in theirs[row].state_dict().items())


@pytest.mark.parametrize("model", ["yolov5s-afpn.yaml", "yolov8n.yaml"])
def test_models_that_do_not_fit(teacher: Path, model: str) -> None:
    with pytest.raises(ValueError, match="backbones"):
        models(teacher, model)


def test_the_normalized_error() -> None:
    goal = torch.randn(4, 3, 8, 8) * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1) + 5
    variance = level_variances([goal])[0]
    mean = goal.mean((0, 2, 3), keepdim=True).expand_as(goal)
    assert float(normalized_mse(goal, goal, variance)) == 0
    assert float(normalized_mse(mean, goal, variance)) == pytest.approx(1, rel=0.01)


def test_teaching_brings_the_levels_closer(
    teacher: Path, images: list[Path], tmp_path: Path
) -> None:
    schedule = Schedule(steps=40, batch=4, imgsz=64, lr=1e-2)
    teaching = DistillationTrainer(
        models(teacher), images, images, schedule, tmp_path / "state", "cpu"
    )
    teaching.run(lambda step, share: None)
    after = teaching.evaluate()
    assert all(b > a for a, b in zip(teaching.before, after, strict=True))


def test_only_the_neck_is_taught(teacher: Path, images: list[Path], tmp_path: Path) -> None:
    pair = models(teacher)
    before = {k: v.clone() for k, v in pair.student.state_dict().items()}
    DistillationTrainer(pair, images, images, SHORT, tmp_path / "s", "cpu").run(
        lambda step, share: None
    )
    changed = {
        int(k.split(".")[1])
        for k, v in pair.student.state_dict().items()
        if not torch.equal(v, before[k])
    }
    assert changed == set(range(10, 29))


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

    _, whole = teach("whole")
    assert teach("parts", stop=5)[0] == [1, 2, 3, 4, 5]
    steps, parts = teach("parts")
    assert steps == [5, 6]  # four were kept
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_broken_state_starts_anew(teacher: Path, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"PK broken")
    teaching = DistillationTrainer(
        models(teacher), images, images, SHORT, tmp_path / "state", "cpu"
    )
    assert teaching.step == 0


@pytest.mark.parametrize("device", ["cuda:0", "0", "gpu"])
def test_a_device_that_is_not_there(
    teacher: Path, images: list[Path], tmp_path: Path, device: str
) -> None:
    if device != "gpu" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=device):
        distill(teacher, images, tmp_path / "a.pt", schedule=SHORT, device=device)
    assert not [*tmp_path.iterdir()]


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
    wild = Schedule(steps=30, batch=2, imgsz=64, lr=1e30)
    with pytest.raises(ValueError, match="lower lr"):
        distill(teacher, images, tmp_path / "a.pt", schedule=wild)


def test_views_repeat(images: list[Path]) -> None:
    views = RandomCrops(images, 64, seed=3, length=20)
    later = RandomCrops(images, 64, seed=3, length=20, first=13)
    assert torch.equal(views[15], later[2])
    assert not torch.equal(views[15], views[3])  # the same image, another crop
    assert views[0].shape == (3, 64, 64)
    assert 0 <= float(views[0].min()) < float(views[0].max()) <= 1


def test_red_comes_first(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((64, 64, 3), (0, 0, 255), np.uint8))
    means = RandomCrops([tmp_path / "red.png"], 64, 0, 1)[0].mean((1, 2))
    assert means[0] > means[1] + 0.3
    assert means[0] > means[2] + 0.3


def test_the_script_and_fine_tuning(teacher: Path, small_data: Path, tmp_path: Path) -> None:
    options = ("--steps", "3", "--batch", "2", "--imgsz", "64")
    folder = small_data.parent / "set" / "images" / "train"
    result = afpn("distill", teacher, folder, "start.pt", *options, cwd=tmp_path)
    assert "the head is the teacher's" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["start.pt"]
    model = Model(tmp_path / "start.pt")
    assert len(model.names) == 80
    run(YOLO, "train", "model=start.pt", f"data={small_data}", *TRAIN, "epochs=1", cwd=tmp_path)


def test_an_npz_teaches_without_a_head(teacher: Path, images: list[Path], tmp_path: Path) -> None:
    tensors = {k: v.numpy() for k, v in Model(teacher).model.float().state_dict().items()}
    path = tmp_path / "tensors.npz"
    np.savez(path, **{k: v for k, v in tensors.items() if not k.startswith("model.24.")})
    result = distill(path, images, tmp_path / "a.pt", "yolov5n-afpn.yaml", "yolov5n.yaml", SHORT)
    assert not result.head
    backbone = Model(tmp_path / "a.pt").model.state_dict()["model.3.conv.weight"]
    np.testing.assert_array_equal(backbone.numpy(), tensors["model.3.conv.weight"])


def test_a_teacher_with_quantizers_is_refused(
    teacher: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = Model(teacher).model
    source.model[0].conv.weight_quantizer = nn.BatchNorm2d(1)  # as modelopt's, which has an amax
    monkeypatch.setattr("afpn_yolo.distill.distill.load_model", lambda path: source)
    with pytest.raises(ValueError, match="quantisation-aware"):
        distill(teacher, images, tmp_path / "a.pt", schedule=SHORT)


def test_rows_may_count_their_sources_backwards() -> None:
    backbone = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]]
    head = [[[-2, -1], 1, "AFPNSum", [0]], [[2, -2], 1, "Detect", ["nc"]]]
    model: Any = DetectionModel({"nc": 1, "backbone": backbone, "head": head}, verbose=False)
    assert sources_of(model.model[-1]) == [2, 1]
    outputs = run_rows(model.model, {-1: torch.zeros(1, 3, 64, 64)}, range(3))
    assert [outputs[i].shape[2] for i in sources_of(model.model[-1])] == [32, 16]
