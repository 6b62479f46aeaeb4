"""The notebook runs from top to bottom in an empty folder. Minutes long: `make test-slow`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="pip install '.[dev]'")
nbclient = pytest.importorskip("nbclient", reason="pip install '.[dev]'")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def test_it_is_kept_without_outputs() -> None:
    """They would hold paths of the machine that it was run on."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(
        notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = "\n".join(
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    boxes = re.search(r"(\d+) boxes without torch, (\d+) by predict", printed)
    assert boxes
    assert boxes[1] == boxes[2]
    assert re.search(r"^PAFPN .* AP \d", printed, re.MULTILINE)
    assert re.search(r"^all +\d+", printed, re.MULTILINE)
