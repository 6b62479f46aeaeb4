"""Model YAMLs for tests: the stock ones, their rows laid out without values, and one's own."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import ROOT, YAML

from afpn_yolo.graft import Grafted, graft
from afpn_yolo.graft.shapes import laid_out

FAMILIES = re.compile(r"yolo(v5|v6|v8|v9|v10|11|12|26)")
NO_PYRAMID = re.compile(r"-cls|-sem|-rtdetr|-world|yoloe")
"""What of these families can't be grafted."""

Config = dict[str, Any]


def own(**changes: Any) -> Config:
    """A model of one's own: strides 2 to 16, a neck of two levels, and what is to be another."""
    d: Config = {
        "yaml_file": "own.yaml",
        "nc": 3,
        "scales": {"n": [0.5, 0.5, 1024]},
        "backbone": [
            [-1, 1, "Conv", [16, 3, 2]],
            [-1, 1, "Conv", [32, 3, 2]],
            [-1, 2, "C3", [64]],
            [-1, 1, "Conv", [64, 3, 2]],
            [-1, 1, "Conv", [128, 3, 2]],
        ],
        "head": [
            [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
            [[-1, 3], 1, "Concat", [1]],
            [-1, 1, "C3", [48]],
            [-1, 1, "Conv", [80, 3, 2]],
            [[-1, 4], 1, "Concat", [1]],
            [[7, 9], 1, "Detect", ["nc"]],
        ],
    }
    return {**d, **changes}


def stock_names() -> list[str]:
    """Every model YAML that the installed Ultralytics ships, without folder and ending."""
    return sorted(path.stem for path in (ROOT / "cfg" / "models").rglob("*.yaml"))


def graftable() -> list[str]:
    """Those into which a neck can be put."""
    names = stock_names()
    return [n for n in names if FAMILIES.match(n) and not NO_PYRAMID.search(n)]


@cache
def content(name: str) -> dict[str, Any]:
    """What a stock YAML says."""
    return dict(YAML.load(next((ROOT / "cfg" / "models").rglob(f"{name}.yaml"))))


@cache
def grafted(name: str, neck: str) -> Grafted:
    """The graft of a stock YAML."""
    return graft({**content(name), "yaml_file": f"{name}.yaml"}, neck)


@torch.inference_mode()
def operations(d: Config, scale: str | None) -> int:
    """Of backbone and neck at a scale, at 640, in Ultralytics' own forward by torch's counter."""
    model = BaseModel()
    model.model = laid_out({**d, "scale": scale})[:-1]
    model.save = range(len(model.model))
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, d.get("channels", 3), 640, 640))
    return counter.get_total_flops()


def parts(d: dict[str, Any], scale: str | None) -> tuple[int, int, int]:
    """Parameters of backbone, neck and head at a scale."""
    rows = laid_out({**d, "scale": scale})
    first = len(d["backbone"])
    counts = [sum(p.numel() for p in row.parameters()) for row in rows]
    return sum(counts[:first]), sum(counts[first:-1]), counts[-1]
