"""The notebook runs from top to bottom in an empty folder. Minutes long: `make test-slow`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="pip install '.[dev]'")
nbclient = pytest.importorskip("nbclient", reason="pip install '.[dev]'")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def test_its_outputs_hold_no_path_of_a_machine() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    texts = [str(output.get("text", "")) for output in outputs]
    assert not [text for text in texts if re.search(r"(^|[\s'\"=:])/\w", text)]


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
