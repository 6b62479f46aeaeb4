"""What stands beside the code agrees with it: citation, workflow, issue template."""

from __future__ import annotations

import re

import yaml

from afpn_yolo import __version__
from afpn_yolo.cli.__main__ import COMMANDS
from tests.processes import ROOT


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["authors"][0]["family-names"] == "Yang"


def test_the_workflow_runs_the_core_tests_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^CORE := (\S+) \$\(patsubst %,(\S+),(.*)\)$", makefile, re.MULTILINE)
    assert found
    core = {found[1], *(found[2].replace("%", name) for name in found[3].split())}
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(workflow)["jobs"]
    command = jobs["core"]["steps"][-1]["run"]
    assert core | {"tests/cli/test_command.py"} == set(re.findall(r"tests/\S+", command))
    assert any(step.get("run") == ".ci/run" for step in jobs["everything"]["steps"])


def test_a_bug_report_asks_for_the_environment() -> None:
    template = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    labels = [field["attributes"]["label"] for field in template["body"]]
    assert any("`afpn env`" in label for label in labels)
    assert "env" in COMMANDS
