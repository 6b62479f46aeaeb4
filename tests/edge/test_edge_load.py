"""One `Detector` under load: many images, many threads, one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lively import PHOTOGRAPHS, export
from tests.processes import python

THREADS = 8
GROWTH = 0.05
"""How much more memory may be resident at the end than after the warm-up, as a share of that."""

# Images of several sizes; the model's size follows them, so buffers do, too.
LOAD = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import cv2, numpy, psutil
from afpn_yolo.edge import Detector
process = psutil.Process()
detect = Detector({model!r}, conf=0.1, threads=1)
photographs = [cv2.imread(path) for path in {photographs!r}]
images = [cv2.resize(p, (96 + 32 * i, 160)) for i in range(4) for p in photographs]
def facts(found):
    return found.xyxy.tobytes(), found.scores.tobytes(), found.class_ids.tobytes()
alone = [facts(detect(image)) for image in images]
def wrong(number):
    which = number % len(images)
    return facts(detect(images[which])) != alone[which]
with ThreadPoolExecutor({threads}) as pool:
    sum(pool.map(wrong, range({warm_up})))
    before = process.memory_info().rss
    bad = sum(pool.map(wrong, range({count})))
    after = process.memory_info().rss
print(json.dumps(dict(bad=bad, before=before, after=after, different=len(set(alone)),
                      found=sum(map(len, alone)), torch="torch" in sys.modules)))
"""


@pytest.mark.parametrize(
    ("warm_up", "count"), [(80, 160), pytest.param(200, 2000, marks=pytest.mark.slow)]
)
def test_memory_stays_flat_and_results_right(
    warm_up: int, count: int, lively: Path, tmp_path: Path
) -> None:
    model = export(lively, "imgsz=160", "dynamic=True")
    values = {"model": str(model), "threads": THREADS, "warm_up": warm_up, "count": count}
    code = LOAD.format(photographs=[str(path) for path in PHOTOGRAPHS], **values)
    facts = json.loads(python(code, tmp_path, env={"OMP_NUM_THREADS": "1"}))
    print(facts)
    assert facts["different"] == 8
    assert facts["found"] > 0
    assert not facts["torch"]
    assert facts["bad"] == 0
    assert facts["after"] <= (1 + GROWTH) * facts["before"]
