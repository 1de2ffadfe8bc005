"""The face model: computes points of the surface from coefficients, by one matrix product."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked, checked_number, make_constant
from tddfa._shared.errors import reason
from tddfa._shared.npz import read_npz
from tddfa.model._basis import combine, combine_halves, reads_halves

MAX_BYTES = 2 << 30
"""Limit of all arrays of a face model together; a larger file is refused before it is read."""

OFFSET_PREFIX = "landmark_offset_"
"""Prefix of the names of `FaceModel.landmark_offsets` in a file, before the landmark convention."""

FACE, LEFT_EYE, RIGHT_EYE, INNER_MOUTH = 0, 1, 2, 3
"""Values of `FaceModel.part` and `tddfa.Mesh.part`; left and right are the subject's."""

_MAX_NUMBER = 1e9
_MAX_BASES = 1 << 22  # offsets of points that the vertices of a small file could make


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points at fixed places of a face model's surface.

    Attributes
    ----------
    triangles : ndarray (k, 3) int32
        Vertices around each point.
    weights : ndarray (k, 3) float32
        Barycentric weights of these vertices.
    licence : str
        Terms of use of the places.
    """

    triangles: NDArray[np.int32]
    weights: NDArray[np.float32]
    licence: str = ""

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        triangles = checked("PointSet.triangles", self.triangles, (None, 3), np.int32)
        object.__setattr__(self, "triangles", triangles)
        object.__setattr__(self, "weights", checked("PointSet.weights", self.weights, (len(triangles), 3)))


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Linear face model: ``vertices = mean + shape @ shape_basis + expression @ expression_basis``.

    Attributes
    ----------
    mean : ndarray (n, 3) float32
        The mean face, in `unit`; x to the subject's left, y up, z out of the face.
    basis : ndarray (s + e, n, 3) float32
        Shape and expression offsets, in that order.
    shape_count : int
        s: number of shape offsets in `basis`.
    triangles : ndarray (m, 3) int32
        Counter-clockwise as seen from outside.
    landmark_triangles : ndarray (68, 3) int32
        Vertices around each landmark.
    landmark_weights : ndarray (68, 3) float32
        Barycentric weights of these vertices; 1, 0, 0 for a landmark at a vertex.
    uv : ndarray (n, 2) float32 or None
        Texture coordinates in 0..1, v up; the UV map is symmetric about u = 0.5.
    part : ndarray (n,) uint8
        0 face, 1 left eyeball, 2 right eyeball, 3 inside of the mouth.
    regions : dict of str to ndarray (k,) int32
        Vertices by part of the face: eyes, lips, nose, brows, ears, jaw; and, where the model has them, eyeballs,
        irises, pupils, sockets, the inside of the mouth, and rings along the rim (``rim_forehead_0`` is the outermost).
    expression_names : tuple of str
        Names of the expression offsets (ARKit's where the model has them).
    expression_range : tuple of float or None
        Lower and upper limit of an expression weight; None for no limits.
    unit : str
        "cm" or "um".
    licence : str
        Terms of use.
    convention : str
        Landmark convention of `landmarks`, the points on the surface at `landmark_triangles`. All landmark conventions
        number the same 68 points, at slightly different positions. "300w" has the inner landmarks where the annotators
        of 300-W placed them. "300w-lp" has all landmarks where 300W-LP, AFLW2000-3D and 3DDFA_V2 have them.
    landmark_offsets : dict of str to ndarray (68, 3) float32
        Landmark convention -> vectors from the landmarks on the surface to the landmarks of this convention, in the
        model's frame and unit. They are medians over many faces (`tddfa.train.labels.convention`), and zeros for
        `convention`.
    shade : ndarray (n,) float32 or None
        Factor of a vertex's brightness, 0..1: dark inside the mouth.
    feather : ndarray (n,) float32 or None
        Opacity, 0..1: 0 on the rim (forehead, neck, behind the ears), 1 from a short way inwards on.
    material : ndarray (n,) uint8 or None
        Index into `material_names`.
    material_names : tuple of str
        Skin, lip, sclera, iris, pupil, inside of the mouth, socket.
    eye_centres, gaze_axes : ndarray (2, 3) float32 or None
        Centres of rotation of the left and the right eyeball of the mean face, and the directions in which they look.
        The eyeLook expressions rotate the eyeballs about the centres (`tddfa.modelling.gaze`).
    arkit_names : tuple of str
        Apple's 52 blendshapes.
    arkit_table : ndarray (52, e) float32 or None
        ``arkit = clip(arkit_table @ expression, 0, 1)`` (`tddfa.modelling.arkit`).
    point_sets : dict of str to PointSet
        Further points on the surface, such as "mediapipe".
    mirror_shape, mirror_expression : ndarray (s, s), (e, e) float32 or None
        Stored maps of `tddfa.model.mirror.Mirror`. If they are None, `Mirror` computes them.

    Examples
    --------
    >>> from tddfa import FaceModel
    >>> from tddfa.model.assets import config_path
    >>> model = FaceModel.load(config_path("open_mb05").with_name("open_face.npz"))
    >>> model.unit, model.convention, sorted(model.landmark_offsets)
    ('cm', '300w', ['300w', '300w-lp'])
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    shape_count: int
    triangles: NDArray[np.int32]
    landmark_triangles: NDArray[np.int32]
    landmark_weights: NDArray[np.float32]
    uv: NDArray[np.float32] | None
    part: NDArray[np.uint8]
    regions: dict[str, NDArray[np.int32]]
    expression_names: tuple[str, ...]
    expression_range: tuple[float, float] | None
    unit: str
    licence: str
    convention: str = "300w"
    landmark_offsets: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    shade: NDArray[np.float32] | None = None
    feather: NDArray[np.float32] | None = None
    material: NDArray[np.uint8] | None = None
    material_names: tuple[str, ...] = ()
    eye_centres: NDArray[np.float32] | None = None
    gaze_axes: NDArray[np.float32] | None = None
    arkit_names: tuple[str, ...] = ()
    arkit_table: NDArray[np.float32] | None = None
    point_sets: dict[str, PointSet] = field(default_factory=dict)
    mirror_shape: NDArray[np.float32] | None = None
    mirror_expression: NDArray[np.float32] | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NDArray[np.float32]:
            """Make `basis` when it is first read, if `_offsets` is float16: meshes and landmarks do without it."""
            if name != "basis" or "_halves" not in self.__dict__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            basis = self._offsets.astype(np.float32)
            make_constant(basis)  # a change of it would not reach `_offsets`
            self.__dict__["basis"] = basis
            return basis

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = len(checked("FaceModel.mean", self.mean, (None, 3)))
        # float16 as in our own file: half as many bytes have to be read for each dense mesh
        kept = np.float16 if reads_halves() and getattr(self.basis, "dtype", None) == np.float16 else np.float32
        count = len(checked("FaceModel.basis", self.basis, (None, n, 3), kept, finite=False))
        # first: the shapes of other arrays follow from it
        checked_number("FaceModel.shape_count", self.shape_count, 0, count, whole=True)
        for name, shape, dtype in (
            ("mean", (n, 3), np.float32),
            ("basis", (None, n, 3), kept),
            ("triangles", (None, 3), np.int32),
            ("landmark_triangles", (68, 3), np.int32),
            ("landmark_weights", (68, 3), np.float32),
            ("uv", (n, 2), np.float32),
            ("part", (n,), np.uint8),
            ("shade", (n,), np.float32),
            ("feather", (n,), np.float32),
            ("material", (n,), np.uint8),
            ("eye_centres", (2, 3), np.float32),
            ("gaze_axes", (2, 3), np.float32),
            ("arkit_table", (len(self.arkit_names), count - self.shape_count), np.float32),
            ("mirror_shape", (self.shape_count,) * 2, np.float32),
            ("mirror_expression", (count - self.shape_count,) * 2, np.float32),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(f"FaceModel.{name}", value, shape, dtype))
        if kept is np.float16:
            self.__dict__["_halves"] = self.__dict__.pop("basis")  # see __getattr__
        for name in ("mean", "landmark_weights"):
            largest = np.abs(getattr(self, name)).max(initial=0)
            if largest > _MAX_NUMBER:  # float32 overflows in products of such
                raise ValueError(f"FaceModel.{name}: expected numbers of at most {_MAX_NUMBER:g}, got {largest:g}")
        regions = {
            name: checked(f"FaceModel.regions[{name!r}]", index, (None,), np.int32)
            for name, index in self.regions.items()
        }
        object.__setattr__(self, "regions", regions)
        for name, index in (
            ("triangles", self.triangles),
            ("landmark_triangles", self.landmark_triangles),
            *((f"regions[{name!r}]", index) for name, index in self.regions.items()),
            *((f"point_sets[{name!r}].triangles", points.triangles) for name, points in self.point_sets.items()),
        ):
            if index.size and (index.min() < 0 or index.max() >= n):
                raise ValueError(f"FaceModel.{name}: expected indices 0..{n - 1}, got {index.min()}..{index.max()}")
        points = 68 + sum(len(points.triangles) for points in self.point_sets.values())
        if count * points > _MAX_BASES:
            raise ValueError(
                f"FaceModel: expected at most {_MAX_BASES} offsets in all, got {count} for each of {points} points"
            )
        offsets = {self.convention: np.zeros((68, 3), dtype=np.float32)} | self.landmark_offsets
        offsets = {
            name: checked(f"FaceModel.landmark_offsets[{name!r}]", value, (68, 3)) for name, value in offsets.items()
        }
        if offsets[self.convention].any():
            raise ValueError(
                f"FaceModel.landmark_offsets: expected zeros for {self.convention!r}, the convention of the surface"
            )
        object.__setattr__(self, "landmark_offsets", offsets)
        if self.expression_range is not None:
            low, high = checked("FaceModel.expression_range", self.expression_range, (2,), np.float64).tolist()
            if low >= high:
                raise ValueError(f"FaceModel.expression_range: expected low < high, got {(low, high)}")
            object.__setattr__(self, "expression_range", (low, high))
        if len(self.expression_names) != self.expression_count:
            raise ValueError(
                f"FaceModel.expression_names: expected {self.expression_count} names, got {len(self.expression_names)}"
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FaceModel:
        """Read a ``.npz`` file: the attributes above, with `shape_basis` and `expression_basis` in place of `basis`.

        The arrays of the result are read-only. To change one, give a copy to `dataclasses.replace`.

        Optional are `uv`, `part`, `region_<name>`, `rim_<name>` (a region too), `expression_names`,
        `expression_range`, `unit`, `licence`, `convention`, `landmark_offset_<convention>`, `shade`, `feather`,
        `material`, `material_names`, `eye_centres`, `gaze_axes`, `arkit_names`, `arkit_table`, `mirror_shape`,
        `mirror_expression`, and
        `points_<name>_triangles`, `points_<name>_weights` and `points_<name>_licence`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not a face model, or if an array is missing or does not fit; the message names both.
        """
        path = Path(path)
        arrays = _read_npz(path)
        for name in (
            "mean", "shape_basis", "expression_basis", "triangles", "landmark_triangles", "landmark_weights",
        ):  # fmt: skip
            if name not in arrays:
                raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(sorted(arrays))}")
        shape, expression, mean = arrays["shape_basis"], arrays["expression_basis"], arrays["mean"]
        for name, array in (("shape_basis", shape), ("expression_basis", expression), ("mean", mean[None])):
            if array.ndim != 3 or array.shape[1:] != (*mean.shape[:1], 3):
                raise ValueError(f"{path}: {name}: expected shape (k, n, 3) for n vertices, got {array.shape}")
            if array.dtype.kind not in "iuf":
                raise ValueError(f"{path}: {name}: expected numbers, got dtype {array.dtype}")
        halves = shape.dtype == expression.dtype == np.float16
        basis = np.empty((len(shape) + len(expression), *mean.shape), dtype=np.float16 if halves else np.float32)
        with np.errstate(over="ignore"):  # a value that does not fit becomes infinite, which is checked below
            basis[: len(shape)], basis[len(shape) :] = shape, expression
        # older files of the Basel Face Model, the only one in um, do not name their convention
        convention = str(arrays.get("convention", "300w-lp" if str(arrays.get("unit")) == "um" else "300w"))
        offsets = {
            name.removeprefix(OFFSET_PREFIX): array for name, array in arrays.items() if name.startswith(OFFSET_PREFIX)
        }  # fmt: skip
        try:
            names = _names(arrays, "expression_names")
            bounds = (
                checked("expression_range", arrays["expression_range"], (2,)) if "expression_range" in arrays else None
            )
            model = cls(
                mean=mean,
                basis=basis,
                shape_count=len(shape),
                triangles=arrays["triangles"],
                landmark_triangles=arrays["landmark_triangles"],
                landmark_weights=arrays["landmark_weights"],
                uv=arrays.get("uv"),
                part=arrays.get("part", np.zeros(len(mean), dtype=np.uint8)),
                regions={
                    name.removeprefix("region_"): checked(name, array, (None,), np.int32)
                    for name, array in arrays.items()
                    if name.startswith(("region_", "rim_"))
                },
                expression_names=names or tuple(f"expression_{i}" for i in range(len(expression))),
                expression_range=None if bounds is None else (float(bounds[0]), float(bounds[1])),
                unit=str(arrays.get("unit", "")),
                licence=str(arrays.get("licence", "")),
                convention=convention,
                landmark_offsets=offsets,
                material_names=_names(arrays, "material_names"),
                arkit_names=_names(arrays, "arkit_names"),
                point_sets=_point_sets(arrays),
                **{
                    name: arrays.get(name)
                    for name in (
                        "shade",
                        "feather",
                        "material",
                        "eye_centres",
                        "gaze_axes",
                        "arkit_table",
                        "mirror_shape",
                        "mirror_expression",
                    )
                },
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {reason(error)}") from error
        for value in vars(model).values():
            # every face and mesh refers to them, and so do caches
            if isinstance(value, np.ndarray):
                make_constant(value)
        return model

    def landmark_offset(self, convention: str) -> NDArray[np.float32]:
        """Return the vectors (68, 3) from `landmarks` to those of another convention, in the model's frame and unit.

        Raises
        ------
        ValueError
            If the model does not have it.
        """
        if convention not in self.landmark_offsets:
            raise ValueError(f"convention: expected one of {', '.join(self.landmark_offsets)}, got {convention!r}")
        return self.landmark_offsets[convention]

    @property
    def is_closed(self) -> bool:
        """Whether the surface includes the inside of the mouth, so that eyes and mouth show no hole."""
        return bool((self.part == INNER_MOUTH).any())

    @property
    def _offsets(self) -> NDArray[np.floating[Any]]:
        """`basis`, or the same numbers in float16."""
        halves: NDArray[np.float16] | None = self.__dict__.get("_halves")
        return self.basis if halves is None else halves

    @property
    def expression_count(self) -> int:
        """Number of expression offsets."""
        return len(self._offsets) - self.shape_count

    @cached_property
    def _landmark_mean(self) -> NDArray[np.float32]:
        return _at(self.mean, self._landmark_set)

    @cached_property
    def _landmark_basis(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(_at(self._offsets, self._landmark_set))

    @property
    def _landmark_set(self) -> PointSet:
        return PointSet(self.landmark_triangles, self.landmark_weights)

    @property
    def has_surface(self) -> bool:
        """Whether the vertices are those of a mesh, and not the landmarks alone (`tddfa.jvcr.landmark_model`)."""
        return len(self.triangles) > 0

    @cached_property
    def front(self) -> NDArray[np.bool_]:
        """Mask (n,) of the vertices at the front of the face: no farther back than the landmarks.

        It leaves out ears and neck, which the regressor predicts poorly, and the vertices behind the visible surface:
        the eye sockets and the inside of the mouth.
        """
        front = self.mean[:, 2] >= self._landmark_mean[:, 2].min()
        return np.asarray(front if self.shade is None else front & (self.shade == 1))

    @cached_property
    def normalized_coordinates(self) -> NDArray[np.float32]:
        """Colours (n, 3) of PNCC: the mean face's coordinates, each axis scaled to 0..1 (Zhu et al., CVPR 2016).

        They are 0 on an axis along which the model has no extent.
        """
        low, high = self.mean.min(axis=0), self.mean.max(axis=0)
        extent = high - low
        return np.asarray((self.mean - low) / np.where(extent > 0, extent, 1), dtype=np.float32)

    def _coefficients(self, shape: NDArray[np.float32], expression: NDArray[np.float32]) -> NDArray[np.float32]:
        for name, value, count in (
            ("shape", shape, self.shape_count),
            ("expression", expression, self.expression_count),
        ):
            if value.shape[-1] != count:
                raise ValueError(f"{name}: expected {count} coefficients, got {value.shape[-1]}")
        return np.concatenate([shape, expression], axis=-1, dtype=np.float32, casting="same_kind")

    def vertices(
        self,
        shape: NDArray[np.float32],
        expression: NDArray[np.float32],
        *,
        matrix: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Compute all vertices.

        Parameters
        ----------
        shape : ndarray (..., s)
            Shape coefficients.
        expression : ndarray (..., e)
            Expression weights.
        matrix : ndarray (3, 4) float32, optional
            Matrix of a `Camera`. If given, the vertices are projected to the image.

        Returns
        -------
        ndarray (..., n, 3) float32
            In the model's frame and unit; with `matrix`, in image px.

        Raises
        ------
        ValueError
            If the number of coefficients is not the model's.

        Examples
        --------
        >>> model = aligner.decoder.face_model
        >>> vertices = model.vertices(face.params.shape, face.params.expression)
        >>> vertices.shape == model.mean.shape
        True
        """
        return self._linear(self.mean, self._offsets, shape, expression, None if matrix is None else matrix[None])

    def landmarks(
        self,
        shape: NDArray[np.float32],
        expression: NDArray[np.float32],
        *,
        matrices: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Compute the landmarks (..., 68, 3) on the surface, without the other vertices.

        `shape` and `expression` are those of `vertices`. With camera matrices (n, 3, 4), one for each of n faces, the
        landmarks are projected to image px.
        """
        return self._linear(self._landmark_mean, self._landmark_basis, shape, expression, matrices)

    def points(self, name: str, shape: NDArray[np.float32], expression: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the points (..., k, 3) of a point set, in the model's frame; other arguments as in `vertices`.

        Raises
        ------
        ValueError
            If the model does not have this point set.

        Examples
        --------
        >>> model = aligner.decoder.face_model
        >>> model.points("mediapipe", face.params.shape, face.params.expression).shape
        (478, 3)
        """
        if name not in self.point_sets:
            raise ValueError(f"name: expected one of {', '.join(self.point_sets) or 'none'}, got {name!r}")
        return self._linear(*self._point_bases[name], shape, expression)

    @cached_property
    def _point_bases(self) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        return {
            name: (_at(self.mean, points), np.ascontiguousarray(_at(self._offsets, points)))
            for name, points in self.point_sets.items()
        }

    def _linear(
        self,
        mean: NDArray[np.float32],
        basis: NDArray[np.floating[Any]],
        shape: NDArray[np.float32],
        expression: NDArray[np.float32],
        matrices: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        coefficients = self._coefficients(shape, expression)
        rows = coefficients.reshape(-1, len(basis))
        points = np.empty((len(rows), *mean.shape), dtype=np.float32)
        if basis.dtype == np.float16:
            combine_halves(mean, basis.view(np.uint16), rows, points, matrices)
        else:
            combine(mean, basis, rows, points, matrices)
        return points.reshape(*coefficients.shape[:-1], *mean.shape)


def _at(values: NDArray[np.floating[Any]], points: PointSet) -> NDArray[np.float32]:
    """Values (..., n, 3) of the vertices, at points (..., k, 3)."""
    # corner by corner: all three together take three times the memory
    first, second, third = (
        values[..., points.triangles[:, corner], :] * points.weights[:, corner, None] for corner in range(3)
    )
    return np.asarray(first + second + third, dtype=np.float32)


def _names(arrays: dict[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    array = arrays.get(name, np.zeros(0))
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a list of names, got an array of shape {array.shape}")
    return tuple(str(entry) for entry in array)


def _point_sets(arrays: dict[str, NDArray[Any]]) -> dict[str, PointSet]:
    start, end = "points_", "_triangles"
    names = [name[len(start) : -len(end)] for name in arrays if name.startswith(start) and name.endswith(end)]
    return {
        name: PointSet(
            arrays[f"{start}{name}{end}"],
            arrays.get(f"{start}{name}_weights", np.zeros((0, 3), dtype=np.float32)),
            str(arrays.get(f"{start}{name}_licence", "")),
        )
        for name in names
    }


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such face model")
    try:
        return read_npz(path, MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"{path}: not a face model (.npz) that can be read: {reason(error)}") from error
