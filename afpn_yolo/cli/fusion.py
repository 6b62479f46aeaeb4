"""Draw how much each level counts in each fusion of a trained AFPN, as heat maps over images.

One PNG per image: a row for each fusion (AFPNFusion) of the model, in it a map for each level that
it fuses, with the level's mean weight over the image.

    afpn fusion runs/detect/train/weights/best.pt image.jpg photos/ "more/*.png"
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli import add_json, check_least
from afpn_yolo.edge.command import PARTLY, complain

if TYPE_CHECKING:
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("model", metavar="MODEL.pt", help="checkpoint with AFPNFusion rows")
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="image, folder or glob")
    parser.add_argument("--out", type=Path, default=Path("fusion"), help="folder (fusion/)")
    parser.add_argument("--imgsz", type=int, help="longer side (what the model was trained at)")
    parser.add_argument("--device", help="as in yolo device= (chosen by Ultralytics)")
    span = "weights that the colours span (those of each image); 0 1 to compare images"
    parser.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help=span)
    add_json(parser, "the mean weights")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, imgsz=1)
    if args.range and not 0 <= args.range[0] < args.range[1] <= 1:
        low, high = args.range
        raise ValueError(f"--range must be two numbers from 0 to 1, got {low:g} {high:g}")
    from tqdm import tqdm

    from afpn_yolo.edge.sources import find_images
    from afpn_yolo.plots.fusion_maps import open_fusions
    from afpn_yolo.upstream.loading import move

    model = move(open_fusions(args.model), args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    images: dict[Path, None] = {}
    results: list[dict[str, Any]] = []
    failed = 0
    for source in args.source:
        try:
            images |= dict.fromkeys(find_images(source))
        except (OSError, ValueError) as error:
            failed = complain(error)
    for image in tqdm(images, "fusions", disable=len(images) < 2 or None):
        try:
            results.append(draw_one(model, image, args))
        except (OSError, ValueError) as error:
            failed = complain(error)
    if args.json:
        args.json.write({"model": args.model, "images": results})
    for result in results:
        print(result["picture"])
    return PARTLY if failed and results else failed


def draw_one(model: nn.Module, image: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write one picture over no other file; returns its entry in the JSON file."""
    from afpn_yolo.edge.sinks import free_path
    from afpn_yolo.plots.fusion_maps import draw, look

    view = look(model, image, args.imgsz)
    path = free_path(args.out, image.stem, ".png")
    draw(view, image.name, args.range).savefig(path)
    fusions = []
    for item in view.maps:
        means = (round(mean, 4) for mean in item.means().tolist())
        weights = dict(zip(item.levels, means, strict=True))
        fusions.append({"row": item.row, "target": item.levels[item.target], "weights": weights})
    return {"image": str(image), "picture": str(path), "fusions": fusions}
