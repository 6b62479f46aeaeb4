"""Our class-by-class metrics against one plain run of pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from afpn_yolo.evaluation.coco import COLUMNS, Floats, evaluate

NAMES = {0: "cat", 3: "dog", 7: "owl", 8: "never seen"}


def scene(seed: int, images: int = 12, crowds: bool = True) -> tuple[Floats, Floats]:
    """Boxes of three classes and all sizes; detections near them, missing, doubled and invented."""
    g = np.random.default_rng(seed)
    truth, detections = [], []
    for image in range(1, images + 1):
        for _ in range(g.integers(0, 8)):
            number = g.choice([0, 3, 7])
            side = np.exp(g.uniform(2, 5.5))
            box = [*g.uniform(0, 300, 2), side * g.uniform(0.7, 1.4), side]
            crowd = float(crowds and g.random() < 0.1)
            truth.append([image, number, *box, box[2] * box[3], crowd])
            for _ in range(g.integers(0, 3)):
                other = number if g.random() < 0.85 else g.choice([0, 3, 7])
                moved = np.array(box) + side * g.normal(0, 0.07, 4)
                detections.append([image, other, *moved, g.random()])
        for _ in range(g.integers(0, 160)):
            number = g.choice([0, 3, 7, 8])
            box = [*g.uniform(0, 300, 2), *g.uniform(8, 90, 2)]
            detections.append([image, number, *box, 0.4 * g.random()])
    return np.array(truth), np.array(detections)


def plain(truth: Floats, detections: Floats) -> list[float]:
    """All classes in one run."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": int(i)} for i in np.union1d(truth[:, 0], detections[:, 0])],
            "categories": [{"id": n} for n in NAMES],
            "annotations": [
                {
                    "id": i,
                    "image_id": int(row[0]),
                    "category_id": int(row[1]),
                    "bbox": row[2:6].tolist(),
                    "area": row[6],
                    "iscrowd": int(row[7]),
                }
                for i, row in enumerate(truth, 1)
            ],
        }
        coco.createIndex()
        return summary(coco, detections[:, [0, 2, 3, 4, 5, 6, 1]])


def summary(coco: COCO, results: object) -> list[float]:
    """What pycocotools prints for results as its reader takes them; APs and AR at 100."""
    run = COCOeval(coco, coco.loadRes(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return [*run.stats[:6], run.stats[8]]


@pytest.mark.parametrize("seed", range(2))
def test_equals_plain_pycocotools(seed: int) -> None:
    truth, detections = scene(seed)
    metrics, per_class = evaluate(truth, detections, NAMES)
    expected = plain(truth, detections)
    assert [metrics[key] for key in COLUMNS] == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected[0] < 0.95
    for number, name in NAMES.items():
        one = truth[truth[:, 1] == number], detections[detections[:, 1] == number]
        if len(one[0]):
            assert per_class[name]["AP"] == pytest.approx(plain(*one)[0], abs=1e-9)


def test_what_has_no_ground_truth_is_none() -> None:
    truth = np.array([[1, 0, 0, 0, 20, 20, 400, 0]], float)
    metrics, per_class = evaluate(truth, np.zeros((0, 7)), NAMES)
    assert metrics["AP"] == metrics["APS"] == metrics["AR100"] == 0
    assert metrics["APM"] is None
    assert metrics["APL"] is None
    assert {*per_class["never seen"].values()} == {None, 0}
    assert (per_class["cat"]["AP"], per_class["cat"]["instances"]) == (0, 1)


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3.0, 7.0\]"):
        evaluate(*scene(0), {0: "cat", 8: "x"})


def test_only_the_best_hundred_of_an_image_count_among_equal_scores() -> None:
    truth, _ = scene(1, crowds=False)
    truth[:, 1] = 0
    g = np.random.default_rng(0)
    near = np.repeat(truth[:, :6], 60, 0)
    near[:, 2:] += near[:, [4]] * g.normal(0, 0.1, (len(near), 4))
    detections = np.column_stack([near, g.integers(1, 6, len(near)) / 10])
    assert np.bincount(detections[:, 0].astype(int)).max() > 200
    got, _ = evaluate(truth, detections, NAMES)
    expected = plain(truth, detections)
    assert pytest.approx((expected[0], expected[6]), abs=1e-9) == (got["AP"], got["AR100"])
    assert expected[0] > 0.01
