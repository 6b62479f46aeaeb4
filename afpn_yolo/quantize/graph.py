"""Which nodes of a detector's ONNX graph should stay in float, found by how they are connected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import onnx
from onnx import NodeProto

Shape = tuple[int | None, ...]
PLAIN = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that only lay numbers out anew."""


class Graph:
    """An ONNX graph that can be walked from its outputs to its inputs.

    Args:
        model: The model; every node must have a name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        known = onnx.shape_inference.infer_shapes(model).graph
        self.nodes = [*model.graph.node]
        self.outputs = [output.name for output in model.graph.output]
        self._made_by = {name: node for node in self.nodes for name in node.output if name}
        values = (*known.value_info, *known.input, *known.output)
        self._shapes = {value.name: _shape(value) for value in values}

    def maker(self, tensor: str) -> NodeProto | None:
        """The node that a tensor comes out of; None for inputs and constants."""
        return self._made_by.get(tensor)

    def shape(self, tensor: str) -> Shape:
        """A tensor's shape, None where a size is free; empty where nothing is known."""
        return self._shapes.get(tensor, ())

    def upstream(
        self,
        tensors: Iterable[str],
        convolutions: int,
        free: Callable[[NodeProto], bool] = lambda node: False,
    ) -> set[str]:
        """Names of the nodes that tensors depend on, back to a number of convolutions.

        Args:
            tensors: Where to start.
            convolutions: On each path, the walk ends with the so-many-th convolution, included.
            free: Convolutions that are not counted.
        """
        found: dict[str, int] = {}
        todo = [(tensor, convolutions) for tensor in tensors]
        while todo:
            tensor, left = todo.pop()
            node = self.maker(tensor)
            if node is None:
                continue
            left -= node.op_type == "Conv" and not free(node)
            if found.get(node.name, -1) >= left:
                continue  # another path came this far
            found[node.name] = left
            if left > 0:
                todo += [(name, left) for name in node.input]
        return set(found)


def _shape(value: onnx.ValueInfoProto) -> Shape:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in sizes)


def fusion_weights(graph: Graph) -> set[str]:
    """The nodes that predict a fusion's weights: from the squeezing convolutions to the maps.

    A weight map has one channel and is multiplied with features of several: (B, 1, H, W) with
    (B, C, H, W). It is made by two convolutions in a row, one that squeezes a level and one that
    compares the levels.
    """
    maps = [name for node in graph.nodes if node.op_type == "Mul" for name in _maps(graph, node)]
    return graph.upstream(maps, convolutions=2)


def _maps(graph: Graph, node: NodeProto) -> list[str]:
    shapes = [graph.shape(name) for name in node.input]
    if any(len(shape) != 4 for shape in shapes) or all(shape[1] == 1 for shape in shapes):
        return []
    pairs = zip(node.input, shapes, strict=True)
    return [name for name, shape in pairs if shape[1] == 1 and graph.maker(name)]


def decoding(graph: Graph) -> set[str]:
    """The last convolution of each branch of the detection head, and all behind them.

    Scores from 0 to 1 and box sides of hundreds of pixels leave in one tensor: 256 steps can't tell
    scores apart there.
    """
    return graph.upstream(
        graph.outputs, convolutions=1, free=lambda node: _expects(graph, node.input[0])
    )


def _expects(graph: Graph, tensor: str) -> bool:
    """Whether a tensor holds a softmax: a convolution of it is its mean, a part of the decoding."""
    node = graph.maker(tensor)
    while node is not None and node.op_type in PLAIN:
        node = graph.maker(node.input[0])
    return node is not None and node.op_type == "Softmax"


def matching(graph: Graph, patterns: Iterable[str]) -> set[str]:
    """Names of the nodes that shell patterns match: `/model.9/*`.

    Raises:
        ValueError: When a pattern matches none.
    """
    names: set[str] = set()
    for pattern in patterns:
        found = {node.name for node in graph.nodes if fnmatchcase(node.name, pattern)}
        if not found:
            raise ValueError(f"--keep {pattern!r} matches no node, such as {graph.nodes[0].name!r}")
        names |= found
    return names
