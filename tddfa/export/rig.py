"""Faces that can be posed: a surface at rest, Apple's blendshapes as displacements, and the pose in the photo."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.decoder import Decoder
from tddfa.geometry.rotation import VIEW_TO_IMAGE
from tddfa.geometry.six_dof import UNITS_PER_CM
from tddfa.model.face_model import FaceModel
from tddfa.types import Face, Mesh

Floats = NDArray[np.float32]
Space = Literal["image", "head"]

SPACES: tuple[Space, ...] = ("image", "head")

METRES_PER_PX = 0.001
"""Length of a px in a .glb that lies in the image: a face of 200 px is 20 cm high in a viewer."""

# The displacements are 16-bit fractions of a metre: steps of 0.03 mm.
_STEPS = 32767
# Displacements under 0.1 mm are left out; that halves the file, and no screen shows them.
_LEAST_MOVE = 1e-4
_LEAST_SCALE = 1e-6  # px per unit of the face model: of a camera that shows a point, heads are at one place


class MorphTargets:
    """Displacements of vertices by name, as a file stores them: only where a vertex moves, in whole steps.

    Parameters
    ----------
    names : sequence of str
        A name per displacement.
    offsets : ndarray (k, n, 3)
        Displacement of each vertex at weight 1, metres, under 1 m.

    Attributes
    ----------
    names : tuple of str
        A name per displacement.
    indices : list of ndarray (m,) uint16 or uint32
        The vertices that move.
    steps : list of ndarray (m, 3) int16
        Their displacements, in fractions of a metre: 32767 is 1 m.
    bounds : list of tuple of ndarray (3,) int16
        The smallest and the largest displacement of all vertices, by axis.
    """

    def __init__(self, names: Sequence[str], offsets: NDArray[np.floating]) -> None:
        self.names = tuple(names)
        furthest = float(np.abs(offsets).max(initial=0))
        if not furthest * _STEPS <= np.iinfo(np.int16).max:
            raise ValueError(f"offsets: expected displacements of at most 1 m, got {furthest:g}")
        kind = np.uint16 if offsets.shape[1] <= 1 << 16 else np.uint32
        steps = np.rint(offsets * _STEPS).astype(np.int16)
        steps[np.linalg.norm(offsets, axis=-1) < _LEAST_MOVE] = 0
        moved = [np.flatnonzero(step.any(axis=-1)) for step in steps]
        self.indices = [index.astype(kind) for index in moved]
        self.steps = [step[index] for step, index in zip(steps, moved, strict=True)]
        self.bounds = [(step.min(axis=0), step.max(axis=0)) for step in steps]
        self._offsets = (steps.reshape(len(steps), 3 * steps.shape[1]) / _STEPS).astype(np.float32)

    def displacement(self, weights: Floats) -> Floats:
        """Sum (n, 3) of the displacements by weights (k,), metres."""
        return (weights @ self._offsets).reshape(-1, 3)


@functools.lru_cache(maxsize=4)
def morph_targets(model: FaceModel) -> MorphTargets:
    """Apple's blendshapes as displacements of a face model's vertices; none if it has no table of them.

    A shape that is a sum of expressions (`FaceModel.arkit_table`) moves them all equally.
    """
    if model.arkit_table is None:
        return MorphTargets((), np.zeros((0, *model.mean.shape)))
    inverse = np.linalg.pinv(model.arkit_table.astype(np.float64))
    expression = model.basis[model.shape_count :]
    offsets = np.tensordot(inverse.T.astype(np.float32), expression, axes=1) * metres_per_unit(model)
    return MorphTargets(model.arkit_names, offsets)


def metres_per_unit(model: FaceModel) -> float:
    """Length of a unit of a face model, m; one whose unit is no length is taken for centimetres."""
    return 0.01 / UNITS_PER_CM.get(model.unit, 1.0)


@dataclass(frozen=True, eq=False)
class Motion:
    """Keyframes of a rig.

    Attributes
    ----------
    times : ndarray (f,) float32
        s, ascending.
    rotations : ndarray (f, 4) float32
        Unit quaternions x, y, z, w; neighbours are in one hemisphere.
    translations : ndarray (f, 3) float32
        m.
    weights : ndarray (f, k) float32
        Of the morph targets.
    shown : sequence of (float, bool)
        Times from which on the face is shown, or not, ascending, s.
    """

    times: Floats
    rotations: Floats
    translations: Floats
    weights: Floats
    shown: Sequence[tuple[float, bool]]


@dataclass(frozen=True, eq=False)
class Rig:
    """A face that can be posed, in a right-handed frame with y up. `rigs` makes one from a `Face`.

    A vertex is at ``scale * rotation @ (vertex + sum of weights * displacements) + translation``.

    Attributes
    ----------
    vertices : ndarray (n, 3) float32
        The surface at rest, m, upright, from the head's centre: x to the subject's left, y up, z out of the face.
    triangles : ndarray (m, 3) int32
        Vertex indices, counter-clockwise as seen from outside.
    targets : MorphTargets
        The displacements.
    weights : ndarray (k,) float32
        Weights of the displacements in the photo.
    rotation : ndarray (3, 3) float64
        The head pose.
    translation : ndarray (3,) float64
        Position of the head's centre, m.
    scale : float
        Scale of the vertices; 1 for a rig in metres.
    uv : ndarray (n, 2) float32 or None
        Texture coordinates in 0..1, v up.
    colors : ndarray (n, 3) float32 or None
        RGB in 0..1.
    motion : Motion or None
        Keyframes, for an animation.
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    targets: MorphTargets
    weights: Floats
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    scale: float = 1.0
    uv: Floats | None = None
    colors: Floats | None = None
    motion: Motion | None = None

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        count = len(checked("Rig.vertices", self.vertices, (None, 3)))
        for name, shape, dtype in (
            ("vertices", (count, 3), np.float32),
            ("triangles", (None, 3), np.int32),
            ("weights", (len(self.targets.names),), np.float32),
            ("rotation", (3, 3), np.float64),
            ("translation", (3,), np.float64),
            ("uv", (count, 2), np.float32),
            ("colors", (count, 3), np.float32),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(f"Rig.{name}", value, shape, dtype))
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Rig.scale: expected a number over 0, got {self.scale}")
        if not (
            np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(self.rotation) > 0
        ):
            raise ValueError(f"Rig.rotation: expected a rotation, got {self.rotation.tolist()}")

    def posed(self) -> NDArray[np.float64]:
        """Vertices (n, 3) as the photo shows them, in the frame of the file.

        Examples
        --------
        >>> from tddfa.export import rigs
        >>> (rig,) = rigs([face], aligner.decoder)
        >>> rig.posed().shape == rig.vertices.shape
        True
        """
        local = self.vertices + self.targets.displacement(self.weights).astype(np.float64)
        return np.asarray(self.scale * local @ self.rotation.T + self.translation)


def rigs(faces: Sequence[Face], decoder: Decoder, *, space: Space = "head", image_height: float = 0.0) -> list[Rig]:
    """Make rigs of the faces of one photo.

    In the pose of the photo, the rigs are equal to the meshes of `Decoder.mesh`. What the blendshapes cannot express is
    part of the surface at rest.

    Parameters
    ----------
    faces : sequence of Face
        Faces of the decoder's model.
    decoder : Decoder
        Their decoder.
    space : {"head", "image"}
        ``head``: metres, with the origin at the centre of the head. Several heads are beside each other as in the
        photo, with the origin between their centres. ``image``: the position in the image, with `METRES_PER_PX` metres
        per px.
    image_height : float
        Height of the image, px. It is used for ``image`` only: y becomes ``image_height - y``.

    Returns
    -------
    list of Rig
        One per face, with the texture coordinates of the face model. They have no morph targets if the face model has
        no table of Apple's blendshapes.

    Examples
    --------
    >>> from tddfa import export
    >>> (rig,) = export.rigs([face], aligner.decoder)
    >>> len(rig.targets.names), float(rig.scale)
    (52, 1.0)
    """
    if space not in SPACES:
        raise ValueError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    model = decoder.face_model
    metres, targets = metres_per_unit(model), morph_targets(model)
    made = []
    for face, place in zip(faces, _beside_each_other(faces, metres), strict=True):
        params, camera = face.params, face.camera
        shown = model.vertices(params.shape, params.expression) * np.float64(metres)
        if space == "image":
            # a camera is only nearly a similarity; what it is beyond that goes into the surface
            shown = shown @ (VIEW_TO_IMAGE @ camera.matrix[:, :3] / camera.scale).T @ camera.rotation
            scale = METRES_PER_PX * camera.scale / metres
            x, y, z = camera.matrix[:, 3]
            translation = METRES_PER_PX * np.array([x, image_height - y, z])
        else:
            scale, translation = 1.0, place
        weights = decoder.arkit_weights(params.expression) if targets.names else np.zeros(0, dtype=np.float32)
        rest = shown - targets.displacement(weights)
        surface = (rest.astype(np.float32), model.triangles, targets, weights)
        made.append(Rig(*surface, camera.rotation, translation, scale, uv=model.uv))
    return made


def upright(meshes: Sequence[Mesh], faces: Sequence[Face], decoder: Decoder) -> list[Mesh]:
    """Place the meshes of a photo's faces upright at the origin, in cm, for a PLY or OBJ file.

    Parameters
    ----------
    meshes : sequence of Mesh
        Meshes of the faces, such as those of `Decoder.mesh`.
    faces : sequence of Face
        Faces of the decoder's model.
    decoder : Decoder
        Their decoder.

    Returns
    -------
    list of Mesh
        Meshes with y down, like all meshes; the files have y up. The origin is the centre of a single head. Several
        heads are around the origin, beside each other as in the photo.

    Examples
    --------
    >>> from tddfa import export
    >>> (head,) = export.upright([mesh], [face], aligner.decoder)
    >>> bool(15 < np.ptp(head.vertices[:, 1]) < 22)  # cm
    True
    """
    model = decoder.face_model
    metres = metres_per_unit(model)
    made = []
    for mesh, face, place in zip(meshes, faces, _beside_each_other(faces, metres), strict=True):
        vertices = metres * model.vertices(face.params.shape, face.params.expression) + place
        made.append(mesh.with_vertices((vertices * (100, -100, 100)).astype(np.float32)))
    return made


def _beside_each_other(faces: Sequence[Face], metres: float) -> NDArray[np.float64]:
    """Centres (n, 3) of the heads of a photo, m: beside each other as in the photo, around the origin; y up."""
    if not len(faces):
        return np.zeros((0, 3))
    centres = np.array([face.camera.matrix[:, 3] for face in faces], dtype=np.float64)
    scale = max(float(np.mean([face.camera.scale for face in faces])), _LEAST_SCALE)
    return np.asarray(((centres - centres.mean(axis=0)) * (1, 1, 0)) @ VIEW_TO_IMAGE.T * (metres / scale))
