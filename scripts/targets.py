"""Write the table of docs/targets.md: where a model with AFPN-lite runs, beside its stock model.

    python scripts/targets.py openvino openvino-int8 --models yolov5n=a.pt yolov5n-afpn-lite=b.pt \
        --data my.yaml --photos my/images/val --work out
    python scripts/targets.py    # prints the table

The interpreter that runs this converts: give each converter an environment of its own. A call
replaces the rows of its targets and models in the JSON and leaves the others.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
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
EQUAL = 0.5, 0.01  # pixels and score, up to which boxes count as equal


@dataclass(frozen=True)
class Target:
    """A format, and where its file is run; `targets.yaml` explains the fields."""

    title: str
    format: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    run: str = "own"
    int8: bool = False
    packages: Sequence[str] = ()


HERE = Path(__file__).resolve()
LISTED = yaml.safe_load(HERE.with_suffix(".yaml").read_text(encoding="utf-8"))
TARGETS = {key: Target(**fields) for key, fields in LISTED.items()}


def divert(runtime: str) -> None:
    """Let Ultralytics run files by what it has no backend for."""
    if runtime == "web":
        import onnxruntime

        session = onnxruntime.InferenceSession

        def in_node(path: str, *_: Any, **__: Any) -> Any:
            like = session(path, providers=["CPUExecutionProvider"])
            size = like.get_inputs()[0].shape[-1]
            command = ["node", str(HERE.with_suffix(".js")), str(path), str(size)]
            node: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

            def run(_: Sequence[str], images: Mapping[str, Any]) -> list[Any]:
                node.stdin.write(next(iter(images.values())).tobytes())
                node.stdin.flush()
                shape = np.frombuffer(node.stdout.read(12), np.int32)
                values = node.stdout.read(4 * int(shape.prod()))
                return [np.frombuffer(values, np.float32).reshape(shape).copy()]

            shapes = {name: getattr(like, name) for name in ("get_inputs", "get_outputs")}
            return SimpleNamespace(run=run, get_providers=lambda: ["Node.js"], **shapes)

        onnxruntime.InferenceSession = in_node
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
    """How many boxes of both sets have no equal in the other, and how far the nearest ones are."""
    differ, pixels, scores, count = 0, 0.0, 0.0, 0
    for pair in zip(reference, boxes, strict=True):
        for ours, others in (pair, pair[::-1]):
            for box in ours[ours[:, 4] >= SURE]:
                count += 1
                same = others[others[:, 5] == box[5]]
                far = np.abs(same[:, :4] - box[:4]).max(1, initial=0)
                nearest = far.argmin() if len(same) else None
                if nearest is None or far[nearest] > NEAR:
                    differ += 1
                    continue
                score = abs(float(same[nearest, 4] - box[4]))
                differ += bool(far[nearest] > EQUAL[0] or score > EQUAL[1])
                pixels, scores = max(pixels, float(far[nearest])), max(scores, score)
    largest = {"pixels": round(pixels, 4), "scores": round(scores, 5)}
    return {"equal": not differ, "boxes": count, "differ": differ, **largest}


def one_line(error: BaseException) -> str:
    """Kind and message of an error, without line breaks and folders."""
    words = re.sub(r"(?<![\w/:])(/[\w.+-]+)+/", "", f"{type(error).__name__}: {error}").split()
    return " ".join(words) if len(words) <= 25 else " ".join([*words[:12], "…", *words[-12:]])


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
                images = {"data": str(args.data), "fraction": 0.25}  # they calibrate
                options |= {"split": "train", **{k: v for k, v in images.items() if k in known}}
            exported = str(YOLO(weights).export(**options))
        record |= {"seconds": round(time.perf_counter() - start, 1), "file": Path(exported).name}
        record["stage"] = "converted" if target.run == "no" else "run"
        write_json(folder / "examine.json", record)
        if target.run != "no":
            settings = {**size, "dnn": target.run == "dnn", "rect": False}
            photos = sorted(args.photos.glob("*.jpg"))[::8]
            model = YOLO(exported, task="detect")
            boxes = detections(model, photos, settings)
            record |= difference(detections(YOLO(weights), photos, settings), boxes)
            if not target.format or target.int8 or not record["equal"]:
                settings |= {"data": str(args.data), "batch": 1, "workers": 0, "plots": False}
                metrics = model.val(project=str(folder), name="val", exist_ok=True, **settings)
                record["ap"] = round(100 * float(metrics.box.map), 2)
            record["stage"] = "done"
    except (Exception, SystemExit) as error:
        record["error"] = one_line(error)
    write_json(folder / "examine.json", record)


def take_times(args: argparse.Namespace, target: Target, name: str, folder: Path) -> None:
    """Time a model and its stock model in turn."""
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    divert(target.run)
    rows, place = read(args.json), folder.parent
    files = [place / n / rows[place.name, n]["file"] for n in (stock(name), name)]
    backends = [AutoBackend(str(f), dnn=target.run == "dnn", verbose=False) for f in files]
    image = torch.rand(1, 3, args.imgsz, args.imgsz)
    with torch.inference_mode():
        times = alternate([partial(b, image) for b in backends], 60, 10)
    first, second = (round(float(np.median(t)), 2) for t in times)
    figures = {"stock_ms": first, "ms": second, "share": round(second / first, 3)}
    write_json(folder / "time.json", figures)


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
            code = subprocess.run(command, stdout=log, stderr=log, timeout=900).returncode
            failure = {"error": f"the process ended with code {code}"} if code else {}
        except subprocess.TimeoutExpired:
            failure = {"error": "took longer than 15 minutes"}
    figures = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    return figures if step == "time" else {"stage": "convert"} | figures | failure


def cell(row: Record, ap: float) -> str:
    """What a model, which has this AP in PyTorch, does on a target."""
    stages = {"": "-", "convert": "fails", "converted": "converts", "run": "converts, doesn't run"}
    if (stage := row.get("stage", "")) in stages:
        return stages[stage]
    if row["equal"]:
        return "=" if row["file"] != "model.pt" else f"AP {ap:.1f}"
    int8 = TARGETS[row["target"]].int8
    boxes = "" if int8 else f", {row['differ']} of {row['boxes']} boxes differ"
    return f"AP {row['ap'] - ap:+.1f}{boxes}"


def table(rows: Mapping[tuple[str, str], Record]) -> str:
    """What works, and errors, as Markdown; opsets with the same line share it."""
    names = list(dict.fromkeys(name for _, name in rows))
    forms = [name for name in names if name != stock(name)]
    lines: dict[tuple[str, ...], list[str]] = {}
    errors = []
    for key, target in TARGETS.items():
        here = {name: rows.get((key, name), {}) for name in names}
        cells = [cell(row, rows["pytorch", name]["ap"]) for name, row in here.items()]
        cells += [f"{here[n]['share']:.2f}" if "share" in here[n] else "-" for n in forms]
        family = "opset" if "opset" in target.title else key
        lines.setdefault((family, *cells), []).append(target.title)
        for error in dict.fromkeys(row["error"] for row in here.values() if "error" in row):
            models = [name for name, row in here.items() if row.get("error") == error]
            errors.append(f"- {target.title}: {', '.join(models)}: `{error}`")
    merged = [
        [titles[0] + f" to {titles[-1].split()[-1]}" * (len(titles) > 1), *cells]
        for (_, *cells), titles in lines.items()
        if set(cells) != {"-"}
    ]
    head = ["target", *names, *(f"time, {name}" for name in forms)]
    return "\n".join([*markdown_table(head, merged), "", *errors])


def read(path: Path) -> dict[tuple[str, str], Record]:
    """The rows of a JSON, by target and model."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {(row["target"], row["model"]): row for row in rows}


def whole(name: str) -> Path:
    """A path that is valid in every folder."""
    return Path(name).resolve()


def main() -> None:
    """Measure targets, or print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "targets", nargs="*", help=f"of {', '.join(TARGETS)}; without any, the table is printed"
    )
    parser.add_argument("--json", type=whole, default=whole("results/targets.json"))
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--data", type=whole, help="data YAML: training images calibrate")
    parser.add_argument("--photos", type=whole, help="folder of photographs to compare boxes on")
    parser.add_argument("--imgsz", type=int, default=224)
    parser.add_argument("--work", type=whole, help="folder for exports and logs")
    parser.add_argument("--times", action="store_true", help="take times, after all else")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.models = {n: whole(f) for n, f in (words.split("=", 1) for words in args.models)}
    if args.child:
        step, key, name = args.child
        os.chdir(args.work / key / name)  # converters litter
        run = examine if step == "examine" else take_times
        run(args, TARGETS[key], name, Path.cwd())
        return
    for key, name in product(args.targets, args.models):
        if args.times:
            row = read(args.json)[key, name] | child(args, "time", key, name)
        else:
            packages = installed(("ultralytics", "torch", *TARGETS[key].packages))
            row = {"target": key, "model": name, "date": str(date.today()), "imgsz": args.imgsz}
            row |= {"versions": packages, **child(args, "examine", key, name)}
        rows = read(args.json) | {(key, name): row}  # another call may have written meanwhile
        order = product(TARGETS, sorted({model for _, model in rows}))
        write_json(args.json, [rows[place] for place in order if place in rows])
        print(row)
    if not args.targets:
        print(table(read(args.json)))


if __name__ == "__main__":
    main()
