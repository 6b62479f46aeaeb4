"""Necks by chance; always the same ones here, new ones by `make fuzz`."""

from __future__ import annotations

import pytest

from tests.fuzz import ran, run

EXAMPLES = {"allowed": 25, "broken": 150, "littered": 150}


@pytest.mark.parametrize(("name", "examples"), EXAMPLES.items())
def test_necks_by_chance(name: str, examples: int) -> None:
    """Allowed: builds, promises kept, fused and ONNX agree. Broken: refused. Littered: either."""
    before = ran[name]
    run(name, examples, None)
    assert ran[name] - before >= examples
