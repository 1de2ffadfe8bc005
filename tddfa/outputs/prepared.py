"""`Prepared`: the faces of one image, and the data that several kinds of output share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa.aligner import Aligner
from tddfa.face_crops.aligned import five_points
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.six_dof import SixDof
from tddfa.outputs.options import Options
from tddfa.surface.texture import Texture, unwrap
from tddfa.types import Face, Mesh

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prepared:
    """The faces of one image. Data that several kinds of output need are computed once.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : sequence of Face
        In px of the image.
    aligner : Aligner
        The aligner that made the faces.
    options : Options
        Settings of the outputs.
    """

    image: Image
    faces: Sequence[Face]
    aligner: Aligner
    options: Options = field(default_factory=Options)

    @cached_property
    def meshes(self) -> list[Mesh]:
        """A dense mesh per face."""
        return [self.aligner.decoder.mesh(face) for face in self.faces]

    @cached_property
    def drawn_meshes(self) -> list[Mesh]:
        """The meshes, with their ears or without."""
        return self.meshes if self.options.ears else [self.aligner.decoder.without_ears(mesh) for mesh in self.meshes]

    @cached_property
    def faces_with_visibility(self) -> list[Face]:
        """The faces, with `Face.visible`, computed where an aligner did not (``visibility=True``)."""
        if not self.aligner.decoder.has_mesh or all(face.visible is not None for face in self.faces):
            return list(self.faces)
        decoder = self.aligner.decoder
        return [
            face if face.visible is not None else replace(face, visible=decoder.visible(face, mesh))
            for face, mesh in zip(self.faces, self.meshes, strict=True)
        ]

    @property
    def names(self) -> list[str]:
        """What names each face in images: the id of its track, or its number from 0 where there are several faces."""
        several = len(self.faces) > 1
        return [
            str(face.track_id) if face.track_id is not None else str(number) if several else ""
            for number, face in enumerate(self.faces)
        ]

    @cached_property
    def detections(self) -> Detections:
        """Boxes and scores of the faces, and five points: the detector's, or else those of the landmarks."""
        points = [five_points(face) if face.detected_points is None else face.detected_points for face in self.faces]
        return Detections(
            np.reshape([face.box for face in self.faces], (-1, 4)),
            np.array([face.score for face in self.faces], dtype=np.float32),
            np.reshape(np.array(points, dtype=np.float32), (-1, 5, 2)),
        )

    @cached_property
    def textures(self) -> list[Texture]:
        """A UV texture per face."""
        meshes = self.meshes
        return [unwrap(self.image, mesh, size=self.options.uv_size, others=meshes) for mesh in meshes]

    @cached_property
    def poses(self) -> list[SixDof | None]:
        """Pose of each head in the camera frame; None where no pose before this camera fits."""
        return [_pose(face, self.aligner, self._intrinsics) for face in self.faces]

    @property
    def _intrinsics(self) -> Intrinsics:
        return self.options.intrinsics or Intrinsics.assumed(self.image.shape[:2])


def _pose(face: Face, aligner: Aligner, intrinsics: Intrinsics) -> SixDof | None:
    if not aligner.decoder.has_mesh:
        return None
    try:
        return aligner.decoder.six_dof(face, intrinsics)
    except ValueError:
        # a very wide lens: the face would be nearer to the camera than its own size
        return None
