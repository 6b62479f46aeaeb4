"""Write the tables of docs/targets.md: where a model with AFPN-lite runs, beside its stock model.

    python scripts/targets.py openvino openvino-int8 --models yolov5n=a.pt yolov5n-afpn-lite=b.pt \
        --data my.yaml --work out --json results/targets.json
    python scripts/targets.py --table --json results/targets.json

The interpreter that runs this is the one that converts: give each converter an environment of its
own, and call this once in each. A call replaces the figures of its targets in the JSON and leaves
the others. `web` runs ONNX Runtime's WebAssembly in Node.js, which finds it through NODE_PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from afpn_yolo.base import installed, markdown_table
from afpn_yolo.base.files import write_json
from afpn_yolo.deploy.timing import alternate

Boxes = NDArray[np.float32]  # (n, 6): left, top, right, bottom, score, class
Record = dict[str, Any]

SURE, LEAST = 0.25, 0.2  # scores: a box above the first needs a partner above the second
NEAR = 8.0  # pixels that a box may have moved and still be the same
EQUAL = {"pixels": 0.5, "scores": 0.01}  # up to these, boxes count as equal
ROUNDS = 60  # of timed calls
HEADER = ("target", "model", "versions", "date", "imgsz")


@dataclass(frozen=True)
class Target:
    """A format, and where its file is run; `targets.yaml` explains the fields."""

    title: str
    format: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    run: str = "own"
    timed: bool = False
    int8: bool = False
    packages: Sequence[str] = ()


HERE = Path(__file__).resolve()
LISTED = yaml.safe_load(HERE.with_suffix(".yaml").read_text(encoding="utf-8"))
TARGETS = {key: Target(**fields) for key, fields in LISTED.items()}


class NodeSession:
    """Stands in for onnxruntime.InferenceSession, and runs the model in Node.js."""

    real: Any = None

    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        self._like = NodeSession.real(path, providers=["CPUExecutionProvider"])
        size = self._like.get_inputs()[0].shape[-1]
        command = ["node", str(HERE.with_suffix(".js")), str(path), str(size)]
        node: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._to, self._from = node.stdin, node.stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._like, name)

    def run(self, names: Sequence[str], images: Mapping[str, Any]) -> list[Any]:
        """One image through the network."""
        self._to.write(next(iter(images.values())).tobytes())
        self._to.flush()
        shape = np.frombuffer(self._from.read(12), np.int32)
        values = self._from.read(4 * int(shape.prod()))
        return [np.frombuffer(values, np.float32).reshape(shape).copy()]


def divert(runtime: str) -> None:
    """Let Ultralytics run files by what it has no backend for."""
    if runtime == "web":
        import onnxruntime

        NodeSession.real, onnxruntime.InferenceSession = onnxruntime.InferenceSession, NodeSession
    if runtime == "rknn":  # only the object that has built a model can simulate it
        from rknn.api import RKNN
        from ultralytics.nn.backends.rknn import RKNNBackend

        built, export = [], RKNN.export_rknn

        def keep(self: Any, *args: Any, **kwargs: Any) -> Any:
            built.append(self)
            return export(self, *args, **kwargs)

        def load(self: Any, weight: str) -> None:
            self.model = built[-1]
            self.model.init_runtime()
            self.apply_metadata(self.read_metadata(Path(weight)))

        RKNN.export_rknn, RKNNBackend.load_model = keep, load


def detections(model: Any, photos: Sequence[Path], settings: Record) -> list[Boxes]:
    """Boxes of each photograph."""
    results = [model.predict(str(p), conf=LEAST, verbose=False, **settings)[0] for p in photos]
    return [result.boxes.data.cpu().numpy()[:, :6] for result in results]


def difference(reference: Sequence[Boxes], boxes: Sequence[Boxes]) -> Record:
    """How many boxes have no partner in the other, and the largest distance of those that have."""
    alone, pixels, scores, count = 0, 0.0, 0.0, 0
    for pair in zip(reference, boxes, strict=True):
        for ours, theirs in (pair, pair[::-1]):
            for box in ours[ours[:, 4] >= SURE]:
                count += ours is pair[0]
                same = theirs[theirs[:, 5] == box[5]]
                far = np.abs(same[:, :4] - box[:4]).max(1)
                if not len(same) or far.min() > NEAR:
                    alone += 1
                    continue
                pixels = max(pixels, float(far.min()))
                scores = max(scores, float(abs(same[far.argmin(), 4] - box[4])))
    figures = {"boxes": count, "alone": alone}
    return {**figures, "pixels": round(pixels, 4), "scores": round(scores, 5)}


def one_line(error: BaseException) -> str:
    """Kind and message of an error, without line breaks, colours and folders."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}")
    text = " ".join(re.sub(r"(/[\w.+-]+)+/", "", text).split())
    return text if len(text) <= 300 else f"{text[:150]} … {text[-150:]}"


def examine(args: argparse.Namespace, target: Target, name: str, folder: Path) -> None:
    """Convert one model, and compare what it detects; `examine.json` grows with each step."""
    from ultralytics import YOLO
    from ultralytics.engine.exporter import export_formats

    record: Record = {"stage": "convert"}
    weights = folder / "model.pt"  # "yolov5n.pt" would be another file to Ultralytics
    shutil.copyfile(args.models[name], weights)
    size: Record = {"imgsz": args.imgsz, "device": "cpu"}
    try:
        divert(target.run)
        exported, start = str(weights), time.perf_counter()
        if target.format:
            options: Record = {"format": target.format, **size, **target.options}
            if target.int8:
                formats = export_formats()
                known = formats["Arguments"][formats["Argument"].index(target.format)]
                calibration = {"data": str(args.data), "fraction": args.fraction}
                options |= {k: v for k, v in calibration.items() if k in known}
                options["split"] = "train"
            exported = str(YOLO(weights).export(**options))
        record |= {"seconds": round(time.perf_counter() - start, 1), "exported": exported}
        record["stage"] = "converted" if target.run == "no" else "run"
        write_json(folder / "examine.json", record)
        if target.run != "no":
            settings = {**size, "dnn": target.run == "dnn", "rect": False}
            photos = sorted(args.photos.glob("*.jpg"))[:: args.every]
            model = YOLO(exported, task="detect")
            boxes = detections(model, photos, settings)
            record |= difference(detections(YOLO(weights), photos, settings), boxes)
            if not target.format or target.int8 or not is_equal(record):
                settings |= {"data": str(args.data), "batch": 1, "workers": 0, "plots": False}
                metrics = model.val(project=str(folder), name="val", exist_ok=True, **settings)
                record["ap"] = round(100 * float(metrics.box.map), 2)
            record["stage"] = "done"
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        record["error"] = one_line(error)
    write_json(folder / "examine.json", record)


def take_times(args: argparse.Namespace, target: Target, name: str, folder: Path) -> None:
    """Time a model and its stock model in turn."""
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    divert(target.run)
    records = [folder.parent / n / "examine.json" for n in (stock(name), name)]
    files = [json.loads(r.read_text(encoding="utf-8"))["exported"] for r in records]
    backends = [AutoBackend(f, dnn=target.run == "dnn", verbose=False) for f in files]
    image = torch.rand(1, 3, args.imgsz, args.imgsz)
    with torch.inference_mode():
        times = alternate([partial(b, image) for b in backends], ROUNDS, 10)
    first, second = (float(np.median(t)) for t in times)
    figures = {"stock_ms": round(first, 2), "ms": round(second, 2)}
    write_json(folder / "time.json", {**figures, "share": round(second / first, 3)})


def stock(name: str) -> str:
    """The stock model that a model is compared with."""
    return name.removesuffix("-afpn-lite")


def child(args: argparse.Namespace, step: str, key: str, name: str) -> Record:
    """What a step finds out in a process of its own, which may crash."""
    folder = args.work / key / name
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{step}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, str(HERE), *sys.argv[1:], "--child", step, key, name]
    with (folder / f"{step}.log").open("w") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=log, timeout=args.timeout).returncode
            failure = {"error": f"the process ended with code {code}"} if code else {}
        except subprocess.TimeoutExpired:
            failure = {"error": f"took longer than {args.timeout} seconds"}
    figures = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    return figures if step == "time" else {"stage": "convert", **figures, **failure}


def is_equal(row: Record) -> bool:
    """Whether a model detects what PyTorch does."""
    return not row["alone"] and all(row[k] <= limit for k, limit in EQUAL.items())


def cell(row: Record | None) -> str:
    """What a model does on a target."""
    if row is None:
        return "-"
    if row["stage"] == "convert":
        return "fails"
    if row["stage"] != "done":
        return "converts" if row["stage"] == "converted" else "converts, doesn't run"
    lost = f", {row['alone']} of {row['boxes']} boxes differ" if row["alone"] else ""
    return "=" if is_equal(row) else f"{row['pixels']:.1f} px, {row['scores']:.3f}{lost}"


def table(rows: Sequence[Record]) -> str:
    """What works, APs, and errors, as Markdown; targets with the same lines share one."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    lines: dict[tuple[str, ...], list[str]] = {}
    precisions, errors = [], []
    for key, target in TARGETS.items():
        here = {row["model"]: row for row in rows if row["target"] == key}
        if not here:
            continue
        shares = [number(here.get(n), "share", 2) for n in names if n != stock(n)]
        family = target.title.partition(", opset")[0] if "opset" in target.title else key
        what = (family, *(cell(here.get(name)) for name in names), *shares)
        lines.setdefault(what, []).append(target.title)
        aps = [number(here.get(name), "ap", 1) for name in names]
        if set(aps) != {"-"}:
            precisions.append([target.title, *aps])
        for error in dict.fromkeys(row["error"] for row in here.values() if "error" in row):
            models = [name for name, row in here.items() if row.get("error") == error]
            errors.append(f"- {target.title}: {', '.join(models)}: `{error}`")
    merged = [
        [titles[0] + f" to {titles[-1].split()[-1]}" * (len(titles) > 1), *cells]
        for (_, *cells), titles in lines.items()
    ]
    head = ["target", *names, *(f"time, {name}" for name in names if name != stock(name))]
    tables = [*markdown_table(head, merged), "", *markdown_table(["AP", *names], precisions)]
    return "\n".join([*tables, "", *errors])


def number(row: Record | None, key: str, digits: int) -> str:
    """A figure as it stands in a table."""
    return f"{row[key]:.{digits}f}" if row and key in row else "-"


def measure(args: argparse.Namespace, key: str, name: str) -> Record:
    """All that is in the JSON about a model on a target, but for the time."""
    packages = installed(("ultralytics", "torch", *TARGETS[key].packages))
    row = {"target": key, "model": name, "date": str(date.today()), "imgsz": args.imgsz}
    row |= {"versions": packages, **child(args, "examine", key, name)}
    row.pop("exported", None)
    return row


def read(path: Path) -> dict[tuple[str, str], Record]:
    """The rows of a JSON, by target and model."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {(row["target"], row["model"]): row for row in rows}


def whole(name: str) -> Path:
    """A path that is valid in every folder."""
    return Path(name).resolve()


def main() -> int:
    """Measure targets, or print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--json", type=Path, default=Path("results/targets.json"))
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--data", type=whole, help="data YAML: training images calibrate")
    parser.add_argument("--photos", type=whole, help="folder of photographs to compare boxes on")
    parser.add_argument("--every", type=int, default=8, help="take each N-th photograph")
    parser.add_argument("--imgsz", type=int, default=224)
    parser.add_argument("--fraction", type=float, default=0.25, help="of images that calibrate")
    parser.add_argument("--timeout", type=int, default=900, help="seconds of a conversion")
    parser.add_argument("--work", type=whole, help="folder for exports and logs")
    parser.add_argument("--times", action="store_true", help="take times of what is in --work")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    pairs = [words.split("=", 1) for words in args.models]
    args.models = {name: whole(file) for name, file in pairs}
    if args.child:
        step, key, name = args.child
        os.chdir(args.work / key / name)  # converters litter
        run = {"examine": examine, "time": take_times}[step]
        run(args, TARGETS[key], name, Path.cwd())
        return 0
    for key, name in product(args.targets, args.models):
        if not args.times:
            row = measure(args, key, name)
        elif TARGETS[key].timed and name != stock(name):
            row = read(args.json)[key, name] | child(args, "time", key, name)
        else:
            continue
        rows = read(args.json) | {(key, name): row}  # another call may have written meanwhile
        order = product(TARGETS, sorted({model for _, model in rows}))
        write_json(args.json, [rows[place] for place in order if place in rows])
        print(key, name, {k: v for k, v in row.items() if k not in HEADER}, flush=True)
    if args.table:
        print(table(list(read(args.json).values())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
