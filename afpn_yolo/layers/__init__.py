"""The layers of AFPN (Yang et al., 2023) that a model YAML names.

Whatever file they are written in, they are `afpn_yolo.layers.X`: that path stands in checkpoints.
"""

from afpn_yolo.layers.align import OPTIONS, align
from afpn_yolo.layers.carafe import Carafe
from afpn_yolo.layers.conv import AFPNConv
from afpn_yolo.layers.fusion import AFPNConcat, AFPNFusion, AFPNSum, LevelFusion
from afpn_yolo.layers.units import AFPNResidual, ResidualUnit
from afpn_yolo.layers.weights import FusionWeights

__all__ = [
    "CHECKPOINT_CLASSES",
    "LAYERS",
    "OPTIONS",
    "AFPNConcat",
    "AFPNConv",
    "AFPNFusion",
    "AFPNResidual",
    "AFPNSum",
    "Carafe",
    "FusionWeights",
    "LevelFusion",
    "ResidualUnit",
    "align",
]

LAYERS: dict[str, type[LevelFusion] | type[AFPNConv] | type[AFPNResidual]] = {
    "AFPNConv": AFPNConv,
    "AFPNFusion": AFPNFusion,
    "AFPNSum": AFPNSum,
    "AFPNConcat": AFPNConcat,
    "AFPNResidual": AFPNResidual,
}
"""Name in a model YAML -> layer. A new layer is a line here."""

CHECKPOINT_CLASSES = (*LAYERS.values(), Carafe, FusionWeights, ResidualUnit)
"""Every class of ours that a checkpoint can hold. Their paths are a file format: never rename."""

for _class in CHECKPOINT_CLASSES:
    _class.__module__ = __name__
