"""The second stage of Dynamic R-CNN (Zhang et al., 2020) on torchvision's own.

Proposals get better during training. So the IoU from which a proposal counts as an object, and the
error below which a box's loss is quadratic, follow the proposals of the last iterations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou

Target = dict[str, Tensor]
NO_MEDIAN = 1e-15  # below it a median is no beta to divide by


class DynamicRoIHeads(RoIHeads):  # type: ignore[misc]
    """Faster R-CNN's box head with dynamic label assignment and dynamic SmoothL1.

    Its statistics of the proposals are buffers, so a checkpoint has them. In distributed training
    all processes take those of the first.

    Args:
        iou_topk: Each image contributes its k-th largest proposal IoU (K_I in the paper).
        beta_topk: A batch of n images contributes its (n k)-th smallest error of a positive
            (K_beta in the paper).
        update_iter_interval: Iterations after which threshold and beta are updated.
        initial_iou: Threshold at the start, and the lowest ever.
        initial_beta: Beta at the start, and the highest ever.
        settings: Those of torchvision's `RoIHeads`, without masks and keypoints.
    """

    iou_threshold: Tensor
    beta: Tensor
    iteration: Tensor
    iou_history: Tensor
    beta_history: Tensor

    def __init__(
        self,
        *,
        iou_topk: int = 75,
        beta_topk: int = 10,
        update_iter_interval: int = 100,
        initial_iou: float = 0.4,
        initial_beta: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(fg_iou_thresh=initial_iou, bg_iou_thresh=initial_iou, **settings)
        self.iou_topk, self.beta_topk = iou_topk, beta_topk
        self.update_iter_interval = update_iter_interval
        self.initial_iou, self.initial_beta = initial_iou, initial_beta
        self.register_buffer("iou_threshold", torch.tensor(initial_iou))
        self.register_buffer("beta", torch.tensor(initial_beta))
        self.register_buffer("iteration", torch.tensor(0))  # since the last update
        # NaN where an iteration has no value.
        self.register_buffer("iou_history", torch.full((update_iter_interval,), torch.nan))
        self.register_buffer("beta_history", torch.full((update_iter_interval,), torch.nan))

    @classmethod
    def in_place_of(cls, heads: RoIHeads, **options: Any) -> DynamicRoIHeads:
        """Take over the layers and settings of a `FasterRCNN`'s `roi_heads`; `options` are ours."""
        return cls(
            box_roi_pool=heads.box_roi_pool,
            box_head=heads.box_head,
            box_predictor=heads.box_predictor,
            batch_size_per_image=heads.fg_bg_sampler.batch_size_per_image,
            positive_fraction=heads.fg_bg_sampler.positive_fraction,
            bbox_reg_weights=heads.box_coder.weights,
            score_thresh=heads.score_thresh,
            nms_thresh=heads.nms_thresh,
            detections_per_img=heads.detections_per_img,
            **options,
        )

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Record the IoU of the proposals, then label them by the current threshold.

        Args:
            proposals: (N, 4) left, top, right, bottom in pixels, of each image; ground truth is
                among them.
            gt_boxes: (M, 4) of each image.
            gt_labels: (M,) of each image.

        Returns:
            Of each image: (N,) the object that each proposal is for, and (N,) its label.
        """
        if self.training:
            ious = [self._kth_iou(*pair) for pair in zip(proposals, gt_boxes, strict=True)]
            self.iou_history[self.iteration] = torch.stack(ious).mean()
        threshold = float(self.iou_threshold)
        self.proposal_matcher.high_threshold = self.proposal_matcher.low_threshold = threshold
        return super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)

    def _kth_iou(self, proposals: Tensor, boxes: Tensor) -> Tensor:
        """The `iou_topk`-th largest of the proposals' best IoU with an object."""
        if not len(boxes):
            return proposals.new_zeros(())
        best = box_iou(boxes, proposals).amax(0)
        return best.topk(min(self.iou_topk, len(best))).values[-1]

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """As torchvision's; in training the losses, and an update after each interval."""
        if not self.training:
            return super().forward(features, proposals, image_shapes, targets)
        images = len(proposals)
        proposals, _, labels, wanted = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        logits, deltas = self.box_predictor(self.box_head(pooled))
        losses = self.losses(logits, deltas, torch.cat(labels), torch.cat(wanted), images)
        self._count()
        return [], losses

    def losses(
        self, logits: Tensor, deltas: Tensor, labels: Tensor, wanted: Tensor, images: int
    ) -> dict[str, Tensor]:
        """The losses of N proposals sampled from `images`; SmoothL1 has the current beta.

        Args:
            logits, deltas: (N, classes) and (N, 4 * classes), the background first.
            labels, wanted: (N,), 0 is background, and (N, 4), what the deltas should be.
            images: How many images.
        """
        positive = labels.nonzero().squeeze(1)
        goal = wanted[positive]
        if len(positive):
            errors = goal[:, :2].abs().mean(1)
            place = min(self.beta_topk * images, len(positive))
            self.beta_history[self.iteration] = errors.kthvalue(place).values
        chosen = deltas.reshape(len(labels), -1, 4)[positive, labels[positive]]
        box = functional.smooth_l1_loss(chosen, goal, reduction="sum", beta=float(self.beta))
        return {
            "loss_classifier": functional.cross_entropy(logits, labels),
            "loss_box_reg": box / labels.numel(),
        }

    def _count(self) -> None:
        """Count an iteration; after the last of an interval, update threshold and beta."""
        self.iteration += 1
        if int(self.iteration) < self.update_iter_interval:
            return
        self.iou_threshold.copy_(self.iou_history.nanmean().clamp(min=self.initial_iou))
        median = self.beta_history.nanquantile(0.5)
        if median > NO_MEDIAN:  # false for NaN, too
            self.beta.copy_(median.clamp(max=self.initial_beta))
        self.iteration.zero_()
        self.iou_history.fill_(torch.nan)
        self.beta_history.fill_(torch.nan)
