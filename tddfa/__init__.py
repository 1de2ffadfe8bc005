"""Dense 3D face alignment: landmarks, mesh, head pose and expression for every face in a picture.

>>> from tddfa import Aligner, export
>>> from tddfa import draw
>>> aligner = Aligner.load("open_mb05")
>>> faces = aligner(image)                  # [] when nobody is there
>>> mesh = aligner.mesh(faces[0])
>>> picture = draw.mesh(image, [mesh])
>>> export.save("face.obj", mesh)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tddfa._shared.errors import TddfaError
    from tddfa.aligner import Aligner
    from tddfa.geometry.camera import Camera
    from tddfa.geometry.rotation import Euler
    from tddfa.model.config import Config, CropRule
    from tddfa.model.face_model import FaceModel
    from tddfa.tracking.settings import TrackerSettings
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face, Mesh, Params, Roi

__version__ = "0.1.0.dev0"

_HOMES = {
    "Aligner": "aligner",
    "Camera": "geometry.camera",
    "Config": "model.config",
    "CropRule": "model.config",
    "Euler": "geometry.rotation",
    "Face": "types",
    "FaceModel": "model.face_model",
    "Mesh": "types",
    "Params": "types",
    "Roi": "types",
    "TddfaError": "_shared.errors",
    "Tracker": "tracking.tracker",
    "TrackerSettings": "tracking.settings",
}
__all__ = [
    "Aligner", "Camera", "Config", "CropRule", "Euler", "Face", "FaceModel", "Mesh", "Params", "Roi", "TddfaError",
    "Tracker", "TrackerSettings",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # loaded when first asked for, so that `import tddfa` (and `tddfa --help`) loads none of OpenCV
    if name in _HOMES:
        return getattr(import_module(f"tddfa.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tddfa' has no attribute {name!r}")
