"""What Ultralytics reads of the shapes' labels, by task, is what is drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_yolo_dataset
from ultralytics.data.utils import check_det_dataset

from afpn_yolo.cli.__main__ import main
from afpn_yolo.shapes import dataset, scene
from afpn_yolo.shapes.dataset import POINTS, labels

SIDE, COUNT = 320, 6


@cache
def layout(index: int) -> scene.Layout:
    return scene.layout(dataset.streams(0, "train", index)[0], SIDE)


def filled(seen: np.ndarray) -> np.ndarray:
    """The mask without holes: what can't be reached from its rim."""
    outside = np.pad(seen.astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.not_equal(outside[1:-1, 1:-1], 2)


def smallest(cells: np.ndarray) -> float:
    """Area of the smallest rectangle around cells (n, 2) among half degrees."""
    turns = np.radians(np.arange(0, 90, 0.5))
    axes = np.stack([np.cos(turns), np.sin(turns)])
    along, across = cells @ axes, cells @ np.stack([-axes[1], axes[0]])
    return float((np.ptp(along, 0) * np.ptp(across, 0)).min())


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_what_ultralytics_reads_is_what_is_drawn(task: str, tmp_path: Path) -> None:
    words = ["shapes", str(tmp_path / "set"), "--task", task, "--train", str(COUNT), "--val", "1"]
    assert main(words) == 0
    data = check_det_dataset(str(tmp_path / "set" / "data.yaml"), autodownload=False)
    options = get_cfg(overrides={"task": task, "imgsz": SIDE, "mask_ratio": 1})
    pictures = build_yolo_dataset(options, data["train"], 1, data, mode="val", rect=False)
    assert [Path(path).stem for path in pictures.im_files] == [f"{i:05d}" for i in range(COUNT)]
    for index in range(COUNT):
        drawn, label, sample = layout(index), pictures.labels[index], pictures[index]
        assert len(sample["cls"]) == len(label["cls"]) == len(drawn.items)
        for k, (item, seen) in enumerate(zip(drawn.items, scene.visible(drawn), strict=True)):
            assert data["names"][int(label["cls"][k, 0])] == item.view.name
            rows, cols = np.nonzero(seen)
            cells = np.stack([cols, rows], 1)
            low, high = cells.min(0), cells.max(0)
            x, y, w, h = (float(v) * SIDE for v in label["bboxes"][k])
            if task != "obb":
                assert np.allclose([x - w / 2, y - h / 2], low, atol=1)
                assert np.allclose([x + w / 2, y + h / 2], high, atol=1)
            if task == "segment":
                polygon = (label["segments"][k] * SIDE * 2).round().astype(np.int32)
                area = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
                cv2.fillPoly(area, [polygon], 1)
                whole = filled(seen).repeat(2, 0).repeat(2, 1)
                assert (whole & (area > 0)).sum() / (whole | (area > 0)).sum() > 0.93
            if task == "pose":
                points, flags = label["keypoints"][k, :, :2] * SIDE, label["keypoints"][k, :, 2]
                reach = np.array([points[0, 1], points[1, 0], points[2, 1], points[3, 0]])
                ends = np.array([low[1], high[0], high[1], low[0]])
                assert (flags == np.where(abs(reach - ends) <= 1, 2, 1)).all()
            if task == "obb":
                x, y, w, h, angle = (float(v) for v in sample["bboxes"][k])
                w, h = w * SIDE, h * SIDE
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                inside = (cells - SIDE * np.array([x, y])) @ turn
                assert abs(inside).max(0) == pytest.approx([w / 2, h / 2], abs=1.5)
                assert w * h <= 1.1 * smallest(cells) + w + h
                if item.view.name == "ball":
                    assert angle % (np.pi / 2) == pytest.approx(0, abs=1e-3)


def test_keypoints_of_what_is_partly_hidden() -> None:
    """Are where the whole silhouette ends, and flagged as hidden."""
    (far,) = [item for item in layout(0).items if item.view.name == "box"]
    high, wide = far.mask.shape
    wall = replace(far, mask=np.ones((high, wide // 2), bool))  # before its left half
    (_, alone), (_, behind) = (
        labels(scene.Layout(SIDE, -100.0, 0.6, items), "pose")[0] for items in ((far,), (far, wall))
    )
    assert behind[4::3] == alone[4::3]
    assert behind[5::3] == alone[5::3]
    assert alone[6::3] == [2, 2, 2, 2]
    seen = dict(zip(POINTS, behind[6::3], strict=True))
    assert (seen["right"], seen["left"]) == (2, 1)
    assert behind[2] == pytest.approx(alone[2] / 2, abs=1)


def test_a_mirror_exchanges_what_flip_idx_says(tmp_path: Path) -> None:
    root = dataset.generate(tmp_path / "set", train=1, val=1, task="pose")
    data = check_det_dataset(str(root / "data.yaml"))
    item = layout(0).items[0]
    wide = item.mask.shape[1]
    mirrored = replace(item, mask=item.mask[:, ::-1])
    (_, one), (_, other) = (
        labels(scene.Layout(SIDE, -100.0, 0.6, (each,)), "pose")[0] for each in (item, mirrored)
    )
    points, turned = (np.array(v[4:]).reshape(data["kpt_shape"]) for v in (one, other))
    expected = points[data["flip_idx"]]
    expected[:, 0] = 2 * item.box[0] + wide - expected[:, 0]
    assert np.allclose(turned, expected, atol=0.51)
