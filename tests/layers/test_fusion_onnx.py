"""A fusion of four levels with every option, in ONNX Runtime at two sizes."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from afpn_yolo.layers import AFPNFusion, LevelFusion
from tests.layers.test_layers import pyramid
from tests.neck import randomise


class Listed(nn.Module):
    """A fusion whose levels are arguments, as exporters want them."""

    def __init__(self, fusion: LevelFusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, *levels: Tensor) -> Tensor:
        return self.fusion([*levels])


@pytest.mark.parametrize("dynamic", [False, True])
def test_padded_and_carafe_up_to_8x(dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    channels = [8, 16, 32, 64]
    names = [f"level{i}" for i in range(4)]
    axes = {name: {0: "batch", 2: f"h{name}", 3: f"w{name}"} for name in names}
    sizes = [(16, 1), (24, 2)][: 1 + dynamic]
    for target in (0, 1, 3):
        model = Listed(randomise(AFPNFusion(channels, target, options=("padded", "carafe"))))
        torch.onnx.export(
            model.eval(),
            tuple(pyramid(channels, *sizes[0])),
            str(tmp_path / "fusion.onnx"),
            opset_version=17,
            input_names=names,
            dynamic_axes=axes if dynamic else None,
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(
            tmp_path / "fusion.onnx", providers=["CPUExecutionProvider"]
        )
        for side, batch in sizes:
            levels = pyramid(channels, side, batch)
            with torch.no_grad():
                expected = model(*levels)
            (got,) = session.run(None, {n: x.numpy() for n, x in zip(names, levels, strict=True)})
            assert (torch.from_numpy(got) - expected).abs().max() <= 1e-4 * expected.abs().max()
