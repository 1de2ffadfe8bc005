"""Dense 3D face alignment: landmarks, mesh, head pose and expression for every face in an image.

>>> from tddfa import Aligner, draw, export
>>> aligner = Aligner.load("open_mb05", device="cpu")
>>> faces = aligner(image)  # [] if there is no face
>>> mesh = aligner.decoder.mesh(faces[0])
>>> drawn = draw.mesh(image, [mesh])
>>> path, *_ = export.save(tmp / "face.ply", mesh)
"""

from __future__ import annotations

from importlib import import_module

# `typing` would be most of the time of this import, in which Ctrl-C still gives Python's traceback
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tddfa._shared.errors import TddfaError
    from tddfa._shared.image_source import read_image
    from tddfa.aligner import Aligner
    from tddfa.decoder import Decoder
    from tddfa.detector import Detections, Detector
    from tddfa.geometry.camera import Camera
    from tddfa.geometry.intrinsics import Intrinsics
    from tddfa.geometry.rotation import Euler
    from tddfa.geometry.six_dof import SixDof
    from tddfa.model.config import Config, CropRule
    from tddfa.model.face_model import FaceModel
    from tddfa.tracking.settings import TrackerSettings
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face, Mesh, Params, Roi

__version__ = "0.1.0"

_HOMES = {
    "Aligner": "tddfa.aligner",
    "Camera": "tddfa.geometry.camera",
    "Config": "tddfa.model.config",
    "CropRule": "tddfa.model.config",
    "Decoder": "tddfa.decoder",
    "Detections": "tddfa.detector",
    "Detector": "tddfa.detector",
    "Euler": "tddfa.geometry.rotation",
    "Face": "tddfa.types",
    "FaceModel": "tddfa.model.face_model",
    "Intrinsics": "tddfa.geometry.intrinsics",
    "Mesh": "tddfa.types",
    "Params": "tddfa.types",
    "Roi": "tddfa.types",
    "SixDof": "tddfa.geometry.six_dof",
    "TddfaError": "tddfa._shared.errors",
    "Tracker": "tddfa.tracking.tracker",
    "TrackerSettings": "tddfa.tracking.settings",
    "read_image": "tddfa._shared.image_source",
}
__all__ = [
    "Aligner", "Camera", "Config", "CropRule", "Decoder", "Detections", "Detector", "Euler", "Face", "FaceModel",
    "Intrinsics", "Mesh", "Params", "Roi", "SixDof", "TddfaError", "Tracker", "TrackerSettings",
    "read_image",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # loaded on first use, so that `import tddfa` (and `tddfa --help`) does not load OpenCV
    if name in _HOMES:
        try:
            return getattr(import_module(_HOMES[name]), name)
        except ImportError as error:
            error.msg = import_module("tddfa._shared.packages").reason(error)  # names the package that is missing
            raise
    raise AttributeError(f"module 'tddfa' has no attribute {name!r}")
