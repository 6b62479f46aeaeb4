"""Two processes that torchrun starts train one detector, on the CPU. Minutes long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from afpn_yolo.twostage.checkpoint import read
from tests.processes import ROOT
from tests.twostage.test_train import assert_same, words

RANKS = 2


def started(data: Path, out: Path) -> subprocess.Popen[bytes]:
    """A training under torchrun."""
    script = out.parent / "rank.py"
    arguments = words(data, out, "--resume")
    script.write_text(
        f"from tests.twostage.test_train import afpn\nraise SystemExit(afpn(*{arguments}))\n"
    )
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *launch, str(script)], cwd=ROOT, env=environment)


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill torchrun and its ranks, which have sessions of their own, with no time to tidy up."""
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    for one in family:
        one.kill()
    process.wait()
    psutil.wait_procs(family[1:], timeout=60)


@pytest.mark.slow
def test_two_ranks_killed_go_on_as_if_they_had_not_been(small_data: Path, tmp_path: Path) -> None:
    outs = [tmp_path / name / "out" for name in ("whole", "killed")]
    for out in outs:
        out.parent.mkdir()
    assert started(small_data, outs[0]).wait() == 0

    process = started(small_data, outs[1])
    try:
        while not (outs[1] / "last.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        killed(process)
    assert len(read(outs[1] / "last.pt")["lines"]) == 1
    assert started(small_data, outs[1]).wait() == 0

    assert_same(*outs)
