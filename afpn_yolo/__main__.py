"""`python -m afpn_yolo` is the command `afpn`."""

import sys

from afpn_yolo.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
