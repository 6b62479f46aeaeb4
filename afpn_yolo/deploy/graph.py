"""Which nodes of a detector's ONNX graph should stay in float, found by how they are connected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from onnx import GraphProto, NodeProto

PLAIN = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that only lay numbers out anew."""


def decoding(graph: GraphProto) -> set[str]:
    """Names of the last convolution of each branch of the head, and of all nodes behind them.

    Scores from 0 to 1 and box sides of hundreds of pixels leave in one tensor: 256 steps can't tell
    scores apart there.

    Args:
        graph: Every node must have a name.
    """
    made_by = {tensor: node for node in graph.node for tensor in node.output}
    found: set[str] = set()
    todo = [output.name for output in graph.output]
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        last = node.op_type == "Conv" and not _averages(node, made_by)
        if not last and node.op_type != "Shape":  # a size is no value of the features
            todo += node.input
    return found


def _averages(convolution: NodeProto, made_by: Mapping[str, NodeProto]) -> bool:
    """Whether a convolution takes the mean of a softmax, which is a part of the decoding."""
    node = made_by.get(convolution.input[0])
    while node is not None and node.op_type in PLAIN:
        node = made_by.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def matching(graph: GraphProto, patterns: Iterable[str]) -> set[str]:
    """Names of the nodes that shell patterns match: `/model.9/*`.

    A pattern may come from a shell of Windows: with its backslashes, and in quotes.

    Raises:
        ValueError: When a pattern matches none.
    """
    names: set[str] = set()
    for pattern in patterns:
        plain = pattern.strip("'\"").replace("\\", "/")
        found = {node.name for node in graph.node if fnmatchcase(node.name, plain)}
        if not found:
            raise ValueError(f"--keep {pattern!r} matches no node, such as {graph.node[0].name!r}")
        names |= found
    return names
