"""Compute surfaces, poses and expression weights of faces from a face model, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tddfa.crop import all_to_crop, squares_of_detections
from tddfa.detector import Detections, HeadPoses
from tddfa.geometry.camera import Camera
from tddfa.geometry.gaze import Gaze
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.six_dof import SixDof
from tddfa.jvcr.landmark_model import landmark_model
from tddfa.model import appearance
from tddfa.model.arkit import UNSEEN
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config, CropRule
from tddfa.model.eyeballs import Eyeballs
from tddfa.model.face_model import FaceModel
from tddfa.surface.texture import vertex_colors
from tddfa.surface.visibility import visible_points
from tddfa.types import Face, Mesh, Params, Roi, unchecked

Floats = NDArray[np.float32]


class Decoder:
    """Computes mesh, landmarks, pose and expression of a `Face` from its numbers, without a network.

    Every aligner has a decoder, `Aligner.decoder`. `Decoder.load` loads a decoder alone, for faces that were aligned
    elsewhere.

    Parameters
    ----------
    face_model : FaceModel
        The face model that the coefficients belong to.
    crop_rule : CropRule
        The crops that the regressor was trained on.
    convention : str or None
        Landmark convention of `Face.landmarks`, a key of `FaceModel.landmark_offsets`. None takes the face model's own.

    Raises
    ------
    ValueError
        If the face model does not have this landmark convention.

    Examples
    --------
    >>> from tddfa import Decoder
    >>> decoder = Decoder.load("open_mb05")
    >>> decoder.convention
    '300w'
    >>> decoder.mesh(face).vertices.shape == decoder.face_model.mean.shape
    True
    """

    def __init__(self, face_model: FaceModel, crop_rule: CropRule, convention: str | None = None) -> None:
        self.face_model = face_model
        self.crop_rule = crop_rule
        self.convention = face_model.convention if convention is None else convention
        # None where the landmarks are those on the surface
        self._offset = None if self.convention == face_model.convention else face_model.landmark_offset(self.convention)

    @cached_property
    def _mean(self) -> Mesh:
        model = self.face_model
        return Mesh(
            model.mean, model.triangles, uv=model.uv, shade=model.shade,
            opacity=appearance.opacity(model), tone=appearance.tone(model), part=model.part,
        )  # fmt: skip

    @cached_property
    def _earless(self) -> Mesh:
        opacity = appearance.opacity(self.face_model, ears=False)
        if opacity is None:
            return self._mean
        triangles = self._mean.triangles
        return replace(self._mean, triangles=triangles[opacity[triangles].max(axis=1) > 0], opacity=opacity)

    @property
    def has_mesh(self) -> bool:
        """Whether faces have a mesh. Faces of `tddfa.jvcr` have only points, unless a mesh is fitted to them."""
        return self.face_model.has_surface

    @property
    def unit(self) -> str:
        """Unit of the face model: "cm" or "um"."""
        return self.face_model.unit

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] = "open_mb05",
        *,
        convention: str | None = None,
        exact_crop: bool = False,
    ) -> Decoder:
        """Load the face model of a shipped or fetched config, or of a ``.yml`` file.

        Parameters
        ----------
        config, convention, exact_crop
            See `Aligner.load`.

        Raises
        ------
        AssetError, ConfigError, FileNotFoundError, ValueError
            If a file is missing, does not match its hash, or has content that is not understood.

        Examples
        --------
        >>> from tddfa import Decoder
        >>> Decoder.load("open_mb05", convention="300w-lp").convention
        '300w-lp'
        """
        return cls.from_config(Config.load(config_path(config)), convention=convention, exact_crop=exact_crop)

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        convention: str | None = None,
        exact_crop: bool = False,
        fit_mesh: bool = False,
    ) -> Decoder:
        """Load the face model of a config that was read already; see `load`, and `Aligner.load` for `fit_mesh`."""
        face_model = FaceModel.load(verified(config.face_model))
        if config.kind == "jvcr" and not fit_mesh:
            face_model = landmark_model(face_model)
        rule = replace(config.crop, rounded=config.crop.rounded and not exact_crop)
        try:
            return cls(face_model, rule, convention)
        except ValueError as error:
            raise ValueError(f"{config.name}: {error}") from error

    def mesh(self, face: Face, image: NDArray[np.uint8] | None = None) -> Mesh:
        """Dense surface of a face.

        Parameters
        ----------
        face : Face
            A face of this model.
        image : ndarray (h, w, 3) uint8, optional
            The image of the face, BGR. If given, each vertex gets a colour from it
            (`tddfa.surface.texture.vertex_colors`).

        Returns
        -------
        Mesh
            In image px; without colours unless an `image` is given.

        Examples
        --------
        >>> mesh = aligner.decoder.mesh(face, image)
        >>> mesh.colors.shape == mesh.vertices.shape
        True
        """
        if not self.has_mesh:
            raise ValueError(
                "expected a model with a mesh, got one of 68 points; "
                "--fit-mesh or Aligner.load(fit_mesh=True) fits a mesh to them"
            )
        params = _checked(face).params
        vertices = self.face_model.vertices(params.shape, params.expression, matrix=face.camera.matrix)
        mesh = self._mean.with_vertices(vertices)
        return mesh if image is None else replace(mesh, colors=vertex_colors(image, mesh))

    def without_ears(self, mesh: Mesh) -> Mesh:
        """Return a mesh without the triangles of the ears, for drawing. The vertices stay the same.

        If the face model has no ears (`FaceModel.regions`), the whole surface is returned.

        Examples
        --------
        >>> earless = aligner.decoder.without_ears(mesh)
        >>> len(earless.triangles) < len(mesh.triangles), len(earless.vertices) == len(mesh.vertices)
        (True, True)
        """
        return self._earless.with_vertices(mesh.vertices)

    def _decoded(self, face: Face) -> Floats:
        return self.face_model.vertices(face.params.shape, face.params.expression)

    def landmarks(self, face: Face, convention: str | None = None) -> Floats:
        """Compute the 68 landmarks of a face in any landmark convention of the face model.

        Parameters
        ----------
        face : Face
            A face of this model.
        convention : str, optional
            A key of `FaceModel.landmark_offsets`. None takes the decoder's convention, which `Face.landmarks` has.

        Returns
        -------
        ndarray (68, 3) float32
            In image px.

        Raises
        ------
        ValueError
            If the face model does not have this landmark convention.

        Examples
        --------
        >>> aligner.decoder.landmarks(face, "300w-lp").shape
        (68, 3)
        """
        if convention is None or convention == self.convention:
            return _checked(face).landmarks
        offset = self.face_model.landmark_offset(convention)
        params = _checked(face).params
        points = self.face_model.landmarks(params.shape, params.expression)
        return face.camera.project(points + offset)

    def points(self, face: Face, name: str) -> Floats:
        """Compute a set of named points on the surface of a face, such as MediaPipe's.

        Parameters
        ----------
        face : Face
            A face of this model.
        name : str
            A point set of the face model. "mediapipe" gives the 478 points of MediaPipe's Face Landmarker, in order.

        Returns
        -------
        ndarray (k, 3) float32
            In image px.

        Raises
        ------
        ValueError
            If the face model does not have this point set.

        Examples
        --------
        >>> aligner.decoder.points(face, "mediapipe").shape
        (478, 3)
        """
        params = _checked(face).params
        return face.camera.project(self.face_model.points(name, params.shape, params.expression))

    def visible(self, face: Face, mesh: Mesh | None = None) -> NDArray[np.bool_]:
        """Compute which landmarks (68,) the camera sees: not hidden by the face itself, and inside the image.

        Pass the `mesh` of the face if it is computed already. The test uses the landmarks on the surface, for any
        landmark convention of `Face.landmarks`. If `Face.image_size` is None, the borders of the image are not tested.

        Examples
        --------
        >>> aligner.decoder.visible(face).shape
        (68,)
        """
        model, size = self.face_model, _checked(face).image_size
        mesh = self.mesh(face) if mesh is None else mesh
        return visible_points(mesh, model.landmark_triangles, model.landmark_weights, size)

    def six_dof(self, face: Face, intrinsics: Intrinsics | None = None) -> SixDof:
        """Pose of the head in the frame of a perspective camera, from the dense surface (`FaceModel.front`).

        Parameters
        ----------
        face : Face
            A face of this model.
        intrinsics : Intrinsics, optional
            The camera; see `Face.six_dof`.

        Returns
        -------
        SixDof
            The translation is in `FaceModel.unit`: cm for the open model. It is correct for a head of average size,
            because a single view cannot distinguish a large head from a near one.

        Raises
        ------
        ValueError
            See `Face.six_dof`.

        Examples
        --------
        >>> from tddfa import Intrinsics
        >>> camera = Intrinsics.from_field_of_view(60, face.image_size)
        >>> 50 < aligner.decoder.six_dof(face, camera).distance < 100  # cm
        True
        """
        return _checked(face).six_dof(intrinsics, points=self._decoded(face)[self.face_model.front])

    @cached_property
    def _head_poses(self) -> HeadPoses:
        return HeadPoses.of_model(self.face_model)

    def posed(self, found: Detections, image_size: tuple[int, int]) -> list[Face]:
        """Place the average face at each detection, from its box and rotation, without the regressor.

        Parameters
        ----------
        found : Detections
            Detections with rotations.
        image_size : (int, int)
            Height and width of the image, px.

        Returns
        -------
        list of Face
            One face per detection, in the same order, with neutral expression. Box and score are the detector's. The
            camera follows from box and rotation. The landmarks are those of the average face.

        Raises
        ------
        ValueError
            If the detector predicts no rotations.

        Examples
        --------
        >>> from tddfa.detector import Detections
        >>> found = Detections([[100, 100, 200, 210]], [0.9], rotations=np.eye(3)[None])
        >>> (posed,) = aligner.decoder.posed(found, (300, 400))
        >>> posed.camera.euler_degrees().yaw
        0.0
        """
        model = self.face_model
        shape, expression = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
        matrices = self._head_poses.cameras(found).astype(np.float32)
        linear, offset = matrices[:, :, :3], matrices[:, None, :, 3]
        landmarks = model.landmarks(shape, expression) @ linear.transpose(0, 2, 1) + offset
        rois = squares_of_detections(found.xyxy, found.points, self.crop_rule)
        cameras = all_to_crop(rois, matrices, self.crop_rule)
        landmarks = self.to_convention(landmarks, matrices)
        return [
            unchecked(
                Face,
                box=found.xyxy[i],
                score=float(found.scores[i]),
                roi=unchecked(Roi, left=left, top=top, side=side, angle=angle),
                params=unchecked(Params, camera=cameras[i], shape=shape, expression=expression),
                camera=unchecked(Camera, matrix=matrices[i]),
                landmarks=landmarks[i],
                track_id=None,
                visible=None,
                image_size=image_size,
                confidence=None,
                detected_points=None if found.points is None else found.points[i],
            )
            for i, (left, top, side, angle) in enumerate(rois.tolist())
        ]

    def expression(self, face: Face) -> dict[str, float]:
        """Expression weights by name, clipped to the face model's range.

        Examples
        --------
        >>> 0 <= aligner.decoder.expression(face)["jawOpen"] <= 1
        True
        """
        weights = _checked(face).params.expression
        if self.face_model.expression_range is not None:
            weights = np.clip(weights, *self.face_model.expression_range)
        return {name: float(w) for name, w in zip(self.face_model.expression_names, weights, strict=True)}

    @cached_property
    def _arkit_table(self) -> Floats:
        model = self.face_model
        if model.arkit_table is None:
            raise ValueError("face_model: expected a face model with Apple's blendshapes, got one without")
        table = model.arkit_table.copy()
        table[[name in UNSEEN for name in model.arkit_names]] = 0
        return table

    def arkit_weights(self, expression: Floats) -> Floats:
        """Weights (..., 52) of Apple's blendshapes from expression coefficients (..., e); see `arkit`."""
        return np.clip(expression @ self._arkit_table.T, 0, 1)

    def arkit(self, face: Face) -> dict[str, float]:
        """Weights of Apple's 52 blendshapes by name, 0..1, in Apple's order.

        They are weighted sums of the face model's expression weights (`FaceModel.arkit_table`). Blendshapes that one
        camera cannot see are 0 (`tddfa.model.arkit.UNSEEN`). The weights of a face at rest are not 0;
        `tddfa.avatar.Blendshapes` subtracts them.

        Raises
        ------
        ValueError
            If the face model has no table of Apple's blendshapes.

        Examples
        --------
        >>> weights = aligner.decoder.arkit(face)
        >>> len(weights), list(weights)[:2], weights["tongueOut"]
        (52, ['eyeBlinkLeft', 'eyeLookDownLeft'], 0.0)
        """
        weights = self.arkit_weights(_checked(face).params.expression)
        return dict(zip(self.face_model.arkit_names, weights.tolist(), strict=True))

    @cached_property
    def _eyeballs(self) -> Eyeballs | None:
        return Eyeballs(self.face_model) if {1, 2} <= set(self.face_model.part.tolist()) else None

    def gaze(self, face: Face) -> Gaze | None:
        """Directions in which the eyes look, relative to the head, from the eyeballs of the mesh.

        Returns
        -------
        Gaze or None
            Yaw and pitch of the left and the right eye, degrees: yaw > 0 looks to the subject's left, pitch > 0 up.
            None if the face model has no eyeballs. ``docs/avatars.md`` gives the accuracy.

        Examples
        --------
        >>> gaze = aligner.decoder.gaze(face)
        >>> all(abs(angle) < 30 for eye in gaze for angle in eye)
        True
        """
        expression = _checked(face).params.expression
        return None if self._eyeballs is None else self._eyeballs.gaze(expression)

    def model_landmarks(self, shape: Floats, expression: Floats) -> Floats:
        """Landmarks (..., 68, 3) in the decoder's convention, in the face model's frame and unit."""
        points = self.face_model.landmarks(shape, expression)
        return points if self._offset is None else points + self._offset

    def to_convention(self, landmarks: Floats, matrix: Floats) -> Floats:
        """Convert landmarks (..., 68, 3) on the surface, in image px, to the decoder's convention.

        `matrix` is the matrix of the camera.
        """
        if self._offset is None:
            return landmarks
        return np.asarray(landmarks + self._offset @ np.swapaxes(matrix[..., :3], -1, -2))

    def rebuild(self, face: Face, *, camera: Camera, shape: Floats, expression: Floats) -> Face:
        """Return the face with another camera, shape and expression, and with parameters and landmarks that match.

        Examples
        --------
        >>> from tddfa import Camera
        >>> moved = Camera(face.camera.matrix + [[0, 0, 0, 5], [0, 0, 0, 0], [0, 0, 0, 0]])
        >>> params = face.params
        >>> again = aligner.decoder.rebuild(face, camera=moved, shape=params.shape, expression=params.expression)
        >>> (again.landmarks - face.landmarks)[0].round(2).tolist()
        [5.0, 0.0, 0.0]
        """
        matrix = camera.matrix[None]
        shapes, expressions = (np.asarray(each, dtype=np.float32)[None] for each in (shape, expression))
        return self.rebuild_all([face], matrix, shapes, expressions)[0]

    def rebuild_all(self, faces: Sequence[Face], matrices: Floats, shapes: Floats, expressions: Floats) -> list[Face]:
        """`rebuild` of n faces, with camera matrices (n, 3, 4), shapes (n, s) and expressions (n, e)."""
        matrices = np.ascontiguousarray(matrices, dtype=np.float32)
        counts = {"matrices": len(matrices), "shapes": len(shapes), "expressions": len(expressions)}
        for name, count in counts.items():
            if count != len(faces):
                raise ValueError(f"{name}: expected one for each of {len(faces)} faces, got {count}")
        on_surface = self.face_model.landmarks(shapes, expressions, matrices=matrices)
        landmarks = self.to_convention(on_surface, matrices)
        rois = np.array([(face.roi.left, face.roi.top, face.roi.side, face.roi.angle) for face in faces])
        crop_cameras = all_to_crop(rois, matrices, self.crop_rule)
        return [
            unchecked(
                Face,
                **face.__dict__
                | {
                    "camera": unchecked(Camera, matrix=matrices[k]),
                    "params": unchecked(Params, camera=crop_cameras[k], shape=shapes[k], expression=expressions[k]),
                    "landmarks": landmarks[k],
                },
            )
            for k, face in enumerate(faces)
        ]


def _checked(face: Face) -> Face:
    """Return `face` if it is one: an `Aligner` returns a list, which is often given by mistake."""
    if not isinstance(face, Face):
        hint = "; call it for each face" if isinstance(face, Sequence) else ""
        raise TypeError(f"face: expected a Face, got {type(face).__name__}{hint}")
    return face
