"""Build models that Ultralytics ships and print what came of them; run in a process of its own.

Arguments: names of model YAMLs, or none for every one that is shipped at every scale that it names.
Scales l and x of a full run are laid out without weights.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torchvision.models import get_model
from ultralytics import RTDETR, YOLO
from ultralytics.nn import tasks
from ultralytics.utils import LOGGER, ROOT, YAML

LARGE = "lx"


def shipped_names() -> Iterator[tuple[str, str]]:
    """Every name under which a shipped YAML is asked for, and its scale ("" where it has none)."""
    for path in sorted((ROOT / "cfg" / "models").rglob("*.yaml")):
        scaled = re.search(r"yolov?\d+([a-z])", path.stem)  # yolov10n.yaml, yolov9t.yaml
        scales = YAML.load(path).get("scales") or ()
        if scaled or not scales or not path.stem.startswith("yolo"):  # RT-DETR's aren't in names
            yield path.name, scaled[1] if scaled else ""
        else:
            yield from ((re.sub(r"(\d+)", rf"\g<1>{s}", path.name, count=1), s) for s in scales)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in an output, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from tensors(value[key])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def rows(layers: Any) -> list[list[Any]]:
    """What the parser says of each row: index, sources, type, parameters."""
    return [[m.i, m.f, m.type, m.np] for m in layers]


def digest(tensors: Iterator[torch.Tensor]) -> str:
    """One number for the exact values of many tensors."""
    sha = hashlib.sha256()
    for x in tensors:
        sha.update(f"{tuple(x.shape)} {x.dtype}".encode())
        sha.update(x.detach().contiguous().view(torch.uint8).numpy().tobytes() if x.ndim else b"")
    return sha.hexdigest()


def laid_out(name: str) -> dict[str, Any]:
    """A large model's rows, from the parser alone, with no memory for weights."""
    config = tasks.yaml_model_load(name)
    with torch.device("meta"):
        layers, saved = tasks.parse_model(config, ch=config.get("channels", 3), verbose=False)
    return {"rows": rows(layers), "saved": saved}


def built(name: str) -> dict[str, Any]:
    """A model's rows, the values that it starts with, and its answer to one image."""
    torch.manual_seed(0)
    model: Any = (RTDETR if "rtdetr" in name else YOLO)(name).model
    side = 160 if "rtdetr" in name else max(64, 2 * int(max(model.stride)))  # queries need room
    with torch.no_grad():
        answer = [*tensors(model.eval()(torch.rand(1, model.yaml.get("channels", 3), side, side)))]
    assert answer
    return {
        "class": type(model).__name__,
        "rows": rows(model.model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "start": digest(iter(model.state_dict().values())),
        "answer": digest(iter(answer)),
    }


def without_weights(name: str, **kwargs: Any) -> torch.nn.Module:
    """A network of torchvision's as a row of TorchVision asks for it, but nothing is downloaded."""
    return get_model(name, **{**kwargs, "weights": None})


if __name__ == "__main__":
    LOGGER.setLevel("ERROR")
    torchvision.models.get_model = without_weights
    names = [(name, "") for name in sys.argv[1:]] or [*shipped_names()]
    found = {n: laid_out(n) if scale and scale in LARGE else built(n) for n, scale in names}
    print(json.dumps(found))
