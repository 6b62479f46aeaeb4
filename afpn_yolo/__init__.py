"""AFPN, the asymptotic feature pyramid network, as layers for Ultralytics model YAMLs.

Importing this package imports neither torch nor ultralytics. It installs the start-up hook (see
`afpn_yolo.startup`), which an installed package has already done when the interpreter started;
the import is needed only where Python processes no `.pth` file (`-S`, `pip install --target`).
"""

from afpn_yolo import startup

__version__ = "0.1.0"

startup.install()
