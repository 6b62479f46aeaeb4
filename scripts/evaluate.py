"""`afpn evaluate`, from a checkout."""

import sys

from afpn_yolo.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
