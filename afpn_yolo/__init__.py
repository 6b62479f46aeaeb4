"""AFPN, the asymptotic feature pyramid network, as layers for Ultralytics model YAMLs.

Importing this package imports neither torch nor ultralytics. It installs the start-up hook
of `afpn_yolo.plugin.startup`, as an installed package has done when the interpreter started; the
import is needed only where Python processes no `.pth` file (`-S`, `pip install --target`).
"""

from afpn_yolo.plugin import startup

__version__ = "0.1.0"

startup.install()
