"""Dynamic R-CNN's two rules, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from afpn_yolo.twostage.roi_heads import DynamicRoIHeads


def heads(**options: Any) -> DynamicRoIHeads:
    pool, head = MultiScaleRoIAlign(["0"], 2, 2), TwoMLPHead(4 * 2 * 2, 8)
    numbers = (0.5, 0.5, 16, 0.5, (10.0, 10.0, 5.0, 5.0), 0.05, 0.5, 10)
    plain = RoIHeads(pool, head, FastRCNNPredictor(8, 3), *numbers)
    return DynamicRoIHeads.in_place_of(plain, **options)


def squares(*widths: float) -> Tensor:
    """Boxes of height 10 from the origin: of widths a < b, the IoU is a / b."""
    return torch.tensor([[0, 0, width, 10] for width in widths], dtype=torch.float)


def assign(module: DynamicRoIHeads, proposals: list[Tensor], objects: list[Tensor]) -> list[Tensor]:
    labels = [torch.full((len(boxes),), 2) for boxes in objects]
    return module.assign_targets_to_proposals(proposals, objects, labels)[1]


def test_starts_as_the_original() -> None:
    module = heads()
    assert (module.iou_topk, module.beta_topk, module.update_iter_interval) == (75, 10, 100)
    assert module.iou_threshold.item() == pytest.approx(0.4)
    assert module.beta.item() == 1
    # IoU 0.3, 0.4, 0.5 with the object: no gap between positives and negatives.
    assert assign(module, [squares(3, 4, 5)], [squares(10)])[0].tolist() == [0, 2, 2]


def test_threshold_is_the_mean_of_the_interval() -> None:
    module = heads(iou_topk=2, update_iter_interval=2).train()
    # Second largest IoU of each image: 0.6 and 0.8, mean 0.7.
    assign(module, [squares(3, 6, 9), squares(8, 9, 1)], [squares(10), squares(10)])
    assert module.iou_history[0].item() == pytest.approx(0.7)
    module._count()
    assert module.iou_threshold.item() == pytest.approx(0.4)  # not yet
    # Fewer proposals than iou_topk: the smallest of them; an image without objects counts 0.
    assign(module, [squares(9), squares(9, 9)], [squares(10), torch.zeros(0, 4)])
    assert module.iou_history[1].item() == pytest.approx(0.45)
    module._count()
    assert module.iou_threshold.item() == pytest.approx((0.7 + 0.45) / 2)
    labels = assign(module, [squares(5.7, 5.8)], [squares(10)])[0]
    assert labels.tolist() == [0, 2]


def test_threshold_never_falls_below_the_first() -> None:
    module = heads(update_iter_interval=1).train()
    assign(module, [squares(1, 2)], [squares(10)])
    module._count()
    assert module.iou_threshold.item() == pytest.approx(0.4)
    assign(module.eval(), [squares(5)], [squares(10)])
    assert module.iou_history.isnan().all(), "evaluation learns nothing"


def losses(module: DynamicRoIHeads, errors: list[float], images: int = 1) -> dict[str, Tensor]:
    """Losses of a background and a positive for every error of x and y; predictions are 0."""
    wanted = torch.tensor([[0.0, 0, 0, 0], *([e, e, 0, 0] for e in errors)])
    labels = torch.tensor([0, *(1 for _ in errors)])
    n = len(labels)
    return module.losses(torch.zeros(n, 3), torch.zeros(n, 12), labels, wanted, images)


def test_beta_is_the_median_of_the_interval() -> None:
    module = heads(beta_topk=1, update_iter_interval=3).train()
    for errors, images, kept in (
        ([0.5, 0.2, 0.3], 1, 0.2),  # the smallest
        ([0.5, 0.2, 0.3], 2, 0.3),  # two images: the second smallest
        ([0.9], 4, 0.9),  # fewer than asked for: the largest
    ):
        place = int(module.iteration)
        losses(module, errors, images)
        assert module.beta_history[place].item() == pytest.approx(kept)
        module._count()
    assert module.beta.item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("iterations", "beta"),
    [
        # Of an even number, between the two; an iteration without positives has nothing to say.
        ([[0.2], [], [0.4]], 0.3),
        ([[5.0]], 1.0),  # at most 1
        ([[0.0]], 1.0),  # never 0
    ],
)
def test_beta_of(iterations: list[list[float]], beta: float) -> None:
    module = heads(beta_topk=1, update_iter_interval=len(iterations)).train()
    for errors in iterations:
        losses(module, errors)
        module._count()
    assert module.beta.item() == pytest.approx(beta)


def test_loss_by_hand() -> None:
    module = heads().train()
    module.beta.fill_(0.4)
    found = losses(module, [0.2, 0.6])
    # Quadratic below beta: 0.5 * 0.2**2 / 0.4 = 0.05; linear above: 0.6 - 0.2 = 0.4; x and y, of
    # three proposals.
    assert found["loss_box_reg"].item() == pytest.approx(2 * (0.05 + 0.4) / 3)
    assert found["loss_classifier"].item() == pytest.approx(torch.tensor(3.0).log().item())
