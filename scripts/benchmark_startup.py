"""Measure what this package costs where it isn't used, and what its model costs to build.

    python scripts/benchmark_startup.py --repeats 20 --json startup.json --markdown startup.md

Times the start of Python, two imports of Ultralytics and the building of a model, each in a process
of its own: without our start-up hook and with it, in turn. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from afpn_yolo.command import command


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--repeats", type=int, default=20, help="pairs of processes for each line (20)")
    add("--json", type=Path, metavar="FILE", help="write every time, with machine and versions")
    add("--markdown", type=Path, metavar="FILE", help="write the table that is printed")
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {args.repeats}")
    return args


@command(stopped="stopped; nothing was written", failures=(RuntimeError,))
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    # Here, so that --help needs no torch.
    from ultralytics.utils import TQDM

    from afpn_yolo.files import write_json, written_whole
    from afpn_yolo.startup_cost import CASES, markdown, measure

    bar = TQDM(total=(args.repeats + 1) * len(CASES), desc="Timing", unit=" pairs", file=sys.stderr)
    with bar, tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), args.repeats, progress=lambda: bar.update(1))
    table = markdown(report)
    if args.json:
        write_json(args.json, report)
    if args.markdown:
        with written_whole(args.markdown) as part:
            part.write_text(f"{table}\n", encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
