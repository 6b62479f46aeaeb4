"""What stands beside the code agrees with it."""

from __future__ import annotations

import yaml

from afpn_yolo import __version__
from scripts.targets import read, table
from tests.processes import ROOT


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["authors"][0]["family-names"] == "Yang"


def test_the_page_of_targets_has_the_tables_of_its_json() -> None:
    rows = read(ROOT / "results" / "targets.json")
    assert table(rows) in (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
