"""Draw how much each level counts in each fusion of a trained AFPN, as heat maps over images.

One PNG per image: a row for each fusion (AFPNFusion) of the model, in it a map for each level that
it fuses, with the level's mean weight over the image.

    python scripts/draw_fusion.py runs/detect/train/weights/best.pt image.jpg photos/ "more/*.png"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli.command import command

if TYPE_CHECKING:
    from torch import nn

    from afpn_yolo.views.fusion_maps import FusionMap


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL.pt", help="checkpoint with AFPNFusion rows")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image, folder or glob")
    parser.add_argument("--out", type=Path, default=Path("fusion"), help="folder (fusion/)")
    parser.add_argument("--imgsz", type=int, help="longer side (what the model was trained at)")
    parser.add_argument("--device", help="as in `yolo device=` (chosen by Ultralytics)")
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="weights that the colours span (those of each image); 0 1 to compare images",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the mean weights there")
    args = parser.parse_args(argv)
    if args.imgsz is not None and args.imgsz < 1:
        parser.error(f"--imgsz must be at least 1, got {args.imgsz}")
    if args.range and not 0 <= args.range[0] < args.range[1] <= 1:
        parser.error("--range must be two numbers from 0 to 1, got {:g} {:g}".format(*args.range))
    return args


def collect(sources: list[str]) -> tuple[list[Path], list[Exception]]:
    """The images that were found, and what was wrong with the other sources."""
    from afpn_yolo.upstream.find_images import find_images

    images: list[Path] = []
    errors: list[Exception] = []
    for source in sources:
        try:
            images += find_images(source)
        except OSError as error:
            errors.append(error)
    return images, errors


def draw_one(model: nn.Module, image: Path, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write one picture; returns its entry in the JSON file."""
    from afpn_yolo.views.fusion_figure import draw
    from afpn_yolo.views.fusion_maps import look

    view = look(model, image, args.imgsz)
    draw(view, image.name, args.range).savefig(path)
    return {"image": str(image), "picture": str(path), "fusions": [summary(m) for m in view.maps]}


def summary(item: FusionMap) -> dict[str, Any]:
    means = [round(mean, 4) for mean in item.means().tolist()]
    target = item.levels[item.target]
    weights = dict(zip(item.levels, means, strict=True))
    return {"row": item.row, "target": target, "weights": weights}


@command()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    from afpn_yolo.base.files import write_json
    from afpn_yolo.upstream.find_images import picture_paths
    from afpn_yolo.upstream.models import move  # here, so that --help needs no torch
    from afpn_yolo.upstream.tell import progress
    from afpn_yolo.views.fusion_maps import open_fusions

    model = move(open_fusions(args.model), args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    images, errors = collect(args.images)
    results = []
    for image, path in progress(picture_paths(images, args.out).items(), "fusions"):
        try:
            results.append(draw_one(model, image, path, args))
        except (OSError, ValueError) as error:
            errors.append(error)
    if args.json:
        try:
            write_json(args.json, {"model": args.model, "images": results})
        except OSError as error:
            errors.append(error)
    for result in results:
        print(result["picture"])
    for problem in errors:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
