"""A two-stage detector as ONNX, in the form that `afpn detect` and Ultralytics read."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from afpn_yolo.base.files import written_whole

STRIDE = 32
OPSET = 17


class Exportable(nn.Module):
    """A detector that takes a letterboxed picture and gives one table, as Ultralytics' do with NMS.

    Args:
        model: The detector.
    """

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W), red first, from 0 to 1, H and W multiples of 32, to (1, N, 6).

        A row is left, top, right, bottom in pixels of the input, score, and class from 0 on; best
        first.
        """
        model = self.model
        size = (int(image.shape[2]), int(image.shape[3]))
        batch = ImageList(model.transform.normalize(image), [size])
        maps = model.backbone(batch.tensors)
        proposals, _ = model.rpn(batch, maps)
        outputs = model.roi_heads(maps, proposals, [size])[0][0]
        scores, labels = outputs["scores"][:, None], outputs["labels"][:, None].float()
        return torch.cat((outputs["boxes"], scores, labels - 1), 1)[None]


def export(
    model: FasterRCNN, names: dict[int, str], target: Path, size: tuple[int, int] = (800, 1344)
) -> None:
    """Write an ONNX file for pictures of one size.

    Args:
        model: The detector.
        names: Its classes from 0 on.
        target: The `.onnx` to write, whole or not at all.
        size: Height and width that pictures are fitted into; multiples of 32.

    Raises:
        ValueError: On other sizes.
    """
    if any(side < STRIDE or side % STRIDE for side in size):
        raise ValueError(f"--imgsz: sides must be multiples of {STRIDE}, got {size[0]}x{size[1]}")
    picture = torch.rand(1, 3, *size, device=next(model.parameters()).device)
    with written_whole(target) as part:
        with warnings.catch_warnings():
            # torch's newer exporter can't export torchvision's NMS.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Exportable(model),
                (picture,),
                str(part),
                input_names=["images"],
                output_names=["output0"],
                dynamic_axes={"output0": {1: "detections"}},
                opset_version=OPSET,
                dynamo=False,
            )
        graph = onnx.load(part)
        onnx.helper.set_model_props(
            graph,
            {
                "task": "detect",
                "names": str(names),
                "stride": str(STRIDE),
                "imgsz": str([*size]),
                "batch": "1",
                "args": str({"nms": True}),
            },
        )
        onnx.save(graph, part)
