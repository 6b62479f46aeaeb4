"""The layers of AFPN (Yang et al., 2023). Checkpoints hold them as `afpn_yolo.layers.X`."""

from afpn_yolo.layers.align import OPTIONS, align
from afpn_yolo.layers.carafe import Carafe
from afpn_yolo.layers.fusion import AFPNConcat, AFPNFusion, AFPNSum, LevelFusion
from afpn_yolo.layers.units import AFPNConv, AFPNResidual, ResidualUnit
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
    "Layer",
    "LevelFusion",
    "ResidualUnit",
    "align",
]

Layer = type[LevelFusion] | type[AFPNConv] | type[AFPNResidual]

LAYERS: dict[str, Layer] = {
    layer.__name__: layer for layer in (AFPNConv, AFPNFusion, AFPNSum, AFPNConcat, AFPNResidual)
}
"""Name in a model YAML -> layer. A new layer is added here; its `ROW` names the arguments of a row.

`ROW` maps each number that a row gives to its default, or to None where it must be given.
"""

CHECKPOINT_CLASSES = (*LAYERS.values(), Carafe, FusionWeights, ResidualUnit)
"""Every class of ours that a checkpoint can hold. Their paths are a file format: never rename."""

for _class in CHECKPOINT_CLASSES:
    _class.__module__ = __name__
