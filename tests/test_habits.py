"""What stands beside the code agrees with it."""

from __future__ import annotations

import yaml

from afpn_yolo import __version__
from tests.processes import ROOT


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["authors"][0]["family-names"] == "Yang"
