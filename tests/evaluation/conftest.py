"""A model and a data set that the tests of evaluation share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.evaluation_data import COCO_IDS, SIDE, Case, cut, found_by, write_coco, write_yolo
from tests.lively import save_lively


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("evaluation")
    model = save_lively("", folder / "model.pt", modest=True)
    root = folder / "set"
    images = cut(root / "images" / "val")
    truth = found_by(model, images, SIDE)
    path = root / "annotations" / "instances_val.json"
    return Case(model, write_yolo(root, images, truth), write_coco(path, images, truth, COCO_IDS))


@pytest.fixture
def copy(case: Case, tmp_path: Path) -> Case:
    """The case with a data set of its own, to be spoilt."""
    root = tmp_path / "set"
    shutil.copytree(case.yaml.parent, root, ignore=shutil.ignore_patterns("*.cache"))
    yaml = root / "data.yaml"
    yaml.write_text(yaml.read_text().replace(str(case.yaml.parent), str(root)))
    return Case(case.model, yaml, root / "annotations" / case.json.name)
