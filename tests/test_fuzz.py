"""Necks by chance; always the same ones here, new ones by `make fuzz`."""

from __future__ import annotations

import pytest

from tests.fuzz import ran, run


@pytest.mark.parametrize(("name", "examples"), [("allowed", 10), ("broken", 60), ("littered", 60)])
def test_necks_by_chance(name: str, examples: int) -> None:
    """Allowed: builds, promises kept, fused and ONNX agree. Broken: refused. Littered: either."""
    before = ran[name]
    run(name, examples, None)
    assert ran[name] - before >= examples
