"""Equal forms of a trained fusion that runtimes compute faster: what `fuse()` of a layer builds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _filled(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 1x1 convolution with these tensors."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device=weight.device, dtype=weight.dtype)
    conv.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return conv


def block_diagonal(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """One 1x1 convolution over concatenated inputs in the place of one for each input.

    Dense, with zeros off the diagonal: a grouped one has fewer multiplications, but runtimes are
    slow at groups of a few channels.

    Args:
        convs: 1x1 convolutions with bias, from C_i to D_i channels.

    Returns:
        One from the sum of the C_i to the sum of the D_i channels.
    """
    weights = [conv.weight for conv in convs]
    outputs, inputs = (sum(w.shape[axis] for w in weights) for axis in (0, 1))
    whole = weights[0].new_zeros(outputs, inputs, 1, 1)
    row = column = 0
    for w in weights:
        whole[row : row + w.shape[0], column : column + w.shape[1]] = w.detach()
        row, column = row + w.shape[0], column + w.shape[1]
    return _filled(whole, torch.cat([_bias(conv) for conv in convs]))


def difference(score: nn.Conv2d) -> nn.Conv2d:
    """Of a 1x1 convolution to two channels: one that gives the second less the first.

    The softmax over two scores is the sigmoid of their difference.
    """
    weight, bias = score.weight, _bias(score)
    return _filled(weight[1:] - weight[:1], bias[1:] - bias[:1])


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None, "BatchNorm folded into it gives a convolution its bias"
    return conv.bias


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the channels of (B, N, H, W), in steps.

    ONNX Runtime's own Softmax turns the tensor around twice for it, and takes as long as a 3x3
    convolution of 16 channels.
    """
    powers = torch.exp(scores - scores.amax(1, keepdim=True))
    return powers / powers.sum(1, keepdim=True)
