"""Distributed training, spawned data-loader workers, searches with Ray."""

from __future__ import annotations

import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from afpn_yolo.upstream.train import resumable
from tests.plugin.test_runs import last, results
from tests.processes import TINY, forked, python, run


def test_two_nodes_train_in_ultralytics_own_loop(small_data: Path, tmp_path: Path) -> None:
    """As the README launches it, a process a node. Replaced is only what names a GPU.

    Without DDP's search, the second step fails if a parameter had no gradient in the first.
    """
    (tmp_path / "script.py").write_text(f"""
import os, torch, torch.distributed as dist
from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import RANK
DDP = torch.nn.parallel.DistributedDataParallel
def on_cpu(model, device_ids, find_unused_parameters, **rest):
    return DDP(model, find_unused_parameters=False, **rest)
engine.nn.parallel.DistributedDataParallel = on_cpu
class Trainer(DetectionTrainer):
    def _setup_ddp(self):
        dist.init_process_group("gloo", rank=RANK, world_size=self.world_size)
    def final_eval(self):
        pass  # asks for the current GPU
trainer = Trainer(overrides=dict(model={str(TINY)!r}, data={str(small_data)!r}, epochs=2, imgsz=64,
    batch=4, device="cpu", plots=False, project={str(tmp_path)!r}, name="run",
    exist_ok=True))
trainer.world_size = 2  # two devices in `device=`
trainer.train()
weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
both = [torch.zeros_like(weights) for _ in range(2)]
dist.all_gather(both, weights)
assert torch.equal(*both)
images = [*trainer.train_loader.sampler]
batch = trainer.train_loader.batch_size
print("RANK", RANK, "IMAGES", *sorted(images), "BATCH", batch, flush=True)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # gloo's threads may end the process with SIGABRT otherwise
""")
    options = ("--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = "from torch.distributed.run import main; main()"
    words = (*options, f"--master_port={port}")
    with ThreadPoolExecutor(2) as pool:
        nodes = pool.map(
            lambda n: (
                forked(torchrun, *words, f"--node_rank={n}", "script.py", cwd=tmp_path).stdout
            ),
            (0, 1),
        )
    found = re.findall(r"RANK (\d) IMAGES ([\d ]+) BATCH (\d)", "\n".join(nodes))
    assert sorted(rank for rank, _, _ in found) == ["0", "1"]
    assert sorted(" ".join(images for _, images, _ in found).split()) == [*"01234567"]
    assert {batch for _, _, batch in found} == {"2"}
    assert resumable(last(tmp_path).parent)[0] == last(tmp_path)
    assert [row["epoch"] for row in results(tmp_path)] == [1, 2]


def test_spawned_data_loader_workers_know_the_layers(small_data: Path, tmp_path: Path) -> None:
    """Ultralytics' own loader. Trainings on a CPU have no workers, those on a GPU do."""
    (tmp_path / "script.py").write_text(f"""
import multiprocessing, os
def where_and_what(batch):
    from ultralytics.nn import tasks
    known = hasattr(tasks, "AFPN_LAYERS")
    return os.getpid(), known, len(batch)
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from ultralytics.cfg import get_cfg
    from ultralytics.data.build import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset
    data = check_det_dataset({str(small_data)!r})
    cfg = get_cfg(overrides=dict(imgsz=64, task="detect"))
    dataset = build_yolo_dataset(cfg, data["train"], 2, data, mode="train", stride=32)
    dataset.collate_fn = where_and_what
    found = list(build_dataloader(dataset, 2, workers=2))
    assert len(found) == 4 and all(known and size == 2 for _, known, size in found), found
    pids = {{pid for pid, _, _ in found}}
    assert os.getpid() not in pids
    print("WORKERS", len(pids))
    os._exit(0)  # Ultralytics' workers outlive their loader
""")
    assert "WORKERS 2" in run(sys.executable, "script.py", cwd=tmp_path).stdout


def test_a_search_with_ray(small_data: Path, tmp_path: Path) -> None:
    """`make test-ray` installs Ray, which nothing else here needs, and runs this."""
    pytest.importorskip("ray")
    code = f"""
from ultralytics import YOLO
found = YOLO({str(TINY)!r}).tune(data={str(small_data)!r}, use_ray=True, iterations=2,
    epochs=1, imgsz=64, batch=4, workers=0, plots=False, project={str(tmp_path)!r}, name="search")
assert found.num_errors == 0, found.errors
print("TRIALS", len(found), [sorted(result.metrics["config"])[:2] for result in found])
print("SCORES", [result.metrics["metrics/mAP50-95(B)"] for result in found])
"""
    output = python(code, cwd=tmp_path, env={"RAY_USAGE_STATS_ENABLED": "0"})
    assert "TRIALS 2" in output
    # A trial's trainer starts without the user's callbacks, but with ours.
    assert len(list(tmp_path.glob("search_*/weights/last.pt"))) == 2
