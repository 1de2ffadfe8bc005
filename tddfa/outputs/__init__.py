"""Outputs of the faces of one image: drawings, mesh files and numbers. `KINDS` is the table of all kinds."""

from tddfa.outputs.images import DEPTH_STEPS_PER_PX
from tddfa.outputs.kinds import ExtraFile, ImageKind, Kind, MeshKind
from tddfa.outputs.options import Options
from tddfa.outputs.saving import Outputs
from tddfa.outputs.table import KINDS, image_kinds

__all__ = [
    "DEPTH_STEPS_PER_PX", "KINDS", "ExtraFile", "ImageKind", "Kind", "MeshKind", "Options", "Outputs",
    "image_kinds",
]  # fmt: skip
