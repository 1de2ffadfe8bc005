"""Pictures to faces: detector, crop, regressor and face model, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes import Detector
from tddfa._shared.arrays import checked, checked_image
from tddfa.crop import cut, roi_from_box, roi_from_landmarks, to_crop, to_image
from tddfa.geometry.camera import Camera
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.six_dof import SixDof
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config, CropRule
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror, mirrored_camera
from tddfa.model.runtime import Model
from tddfa.surface.texture import vertex_colors
from tddfa.surface.visibility import visible_points
from tddfa.types import Face, Mesh, Params, Roi

Regressor = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``crops (n, size, size, 3) uint8`` BGR -> ``camera (n, 3, 4)``, ``shape (n, s)``, ``expression (n, e)`` and, where
the model has one, ``score (n,)``."""

Image = NDArray[np.uint8]

# Crops that go through a regressor at once that has no limit of its own: bounds the memory of a picture with hundreds
# of faces.
_MAX_CROPS = 64
# Overlap of two looks' squares from which their mean is better than the later of them: chosen on the photos behind
# RESULTS.md, where 0.7 and 0.8 do alike but for a few wrong boxes of profiles.
_SAME_LOOK = 0.75


class Aligner:
    """Everything that is needed to find and align faces; loaded once, called often.

    Parameters
    ----------
    regressor : callable
        See `Regressor`: an ONNX model, or any function in a test.
    face_model : FaceModel
        What the regressor's coefficients mean.
    crop : CropRule
        What it was trained to see.
    detector : callable or None
        Picture to `FaceBoxes.Detections`. None if boxes or Rois are always given.
    min_score : float or None
        A *detected* face whose score by the regressor is lower is dropped. Faces whose box or Roi was given stay, so
        that they correspond.
    refine : int
        How many more times to cut around the landmarks found, and align again.
    mirrored : bool
        The first, third, … of these passes see their crops turned over left to right. A network does not see quite the
        same in a face and in its mirror image, so where the squares nearly agree, each pass gives the mean of what it
        saw and what was seen before it.
    visibility : bool
        Tell which landmarks are seen (`Face.visible`): takes the dense mesh of each face, and a rendering of it.
    """

    def __init__(
        self,
        regressor: Regressor,
        face_model: FaceModel,
        crop: CropRule,
        detector: Detector | None = None,
        min_score: float | None = None,
        refine: int = 0,
        visibility: bool = False,
        mirrored: bool = False,
    ) -> None:
        if refine < 0:
            raise ValueError(f"refine: expected 0 or more, got {refine}")
        self.regressor = regressor
        self.face_model = face_model
        self.crop = crop
        self.detector = detector
        self.min_score = min_score
        self.refine = refine
        self.visibility = visibility
        self.mirrored = mirrored

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] = "open_mb05",
        *,
        device: str = "auto",
        precision: str = "float",
        threads: int | None = None,
        refine: int | None = None,
        exact_crop: bool = False,
        visibility: bool = False,
        convention: str | None = None,
    ) -> Aligner:
        """Load by the name of a shipped or fetched config, or by a ``.yml`` file.

        Parameters
        ----------
        config : str or path
            ``open_mb05``, what ``tddfa fetch`` put into the cache (``mb05_120x120``), or a file; its keys are in
            `tddfa.model.config`.
        device : {"auto", "cpu", "cuda", "tensorrt"}
            Where the networks run; `device` of the result says where they really do.
        precision : {"float", "int8"}
            ``int8`` takes the networks in 8 bits, where the config has them: about half the time on a CPU, for errors
            that are larger by a hundredth or less (``weights/README.md``).
        threads : int or None
            Threads of one network call on the CPU; None is one a core.
        refine : int or None
            See `Aligner`; None is as often as the config says: once for ``open_mb05``, and 0 is the fastest.
        visibility : bool
            See `Aligner`.
        exact_crop : bool
            Cut at the true edges, and map back by them, where the config says `rounded` (3DDFA_V2's do).
        convention : str or None
            Where the 68 landmarks lie, see `FaceModel.convention`: ``300w-lp`` is as 3DDFA_V2 has them. None leaves them
            where the face model says: ``300w`` for ``open_mb05``.

        Raises
        ------
        AssetError, ConfigError, FileNotFoundError, ValueError
            If a file is missing, is not what was released, or says something that is not understood.
        """
        settings = Config.load(config_path(config)).with_precision(precision)
        detector = settings.detector
        face_model = FaceModel.load(verified(settings.face_model))
        if convention is not None:
            try:
                face_model = face_model.with_convention(convention)
            except ValueError as error:
                raise ValueError(f"{settings.name}: {error}") from error
        return cls(
            regressor=Model(verified(settings.model), device, threads),
            face_model=face_model,
            crop=replace(settings.crop, rounded=settings.crop.rounded and not exact_crop),
            detector=Detector(
                Model(verified(detector.model), device, threads),
                max_height=detector.max_height,
                max_width=detector.max_width,
                score=detector.score,
                iou=detector.iou,
                max_candidates=detector.max_candidates,
                max_faces=detector.max_faces,
            ),
            min_score=settings.min_score,
            refine=settings.refine if refine is None else refine,
            visibility=visibility,
            mirrored=settings.flip,
        )

    @property
    def device(self) -> str:
        """Where the regressor really runs: "cpu", "cuda" or "tensorrt"."""
        return str(getattr(self.regressor, "device", "cpu"))

    @overload
    def __call__(
        self, image: Image, *, boxes: ArrayLike | None = None, rois: Sequence[Roi] | None = None
    ) -> list[Face]: ...
    @overload
    def __call__(
        self,
        image: Sequence[Image],
        *,
        boxes: Sequence[ArrayLike] | None = None,
        rois: Sequence[Sequence[Roi]] | None = None,
    ) -> list[list[Face]]: ...
    def __call__(self, image: Any, *, boxes: Any = None, rois: Any = None) -> Any:
        """Find and align the faces of a picture, or of several.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8, or a sequence of such
            BGR, as OpenCV gives it. All faces of all pictures go through the regressor together.
        boxes : array_like (n, 4 or 5), optional
            x1, y1, x2, y2 in px, and a score where there is a fifth column: the faces, in place of the detector.
            A sequence of such for a sequence of pictures.
        rois : sequence of Roi, optional
            The squares to cut, in place of boxes. A sequence of such for a sequence of pictures.

        Returns
        -------
        list of Face, or a list of such lists
            Best first as the detector has them, or in the order of `boxes` or `rois`. Empty where nobody is there.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or shape; the message names it.
        """
        if isinstance(image, np.ndarray) or not isinstance(image, Sequence):
            return self._align(
                [image], None if boxes is None else [boxes], None if rois is None else [rois], ["image"]
            )[0]
        for name, value in (("boxes", boxes), ("rois", rois)):
            if value is not None and len(value) != len(image):
                raise ValueError(f"{name}: expected one entry for each of {len(image)} pictures, got {len(value)}")
        return self._align(image, boxes, rois, [f"image[{i}]" for i in range(len(image))])

    def _align(
        self,
        images: Sequence[Image],
        boxes: Sequence[ArrayLike] | None,
        rois: Sequence[Sequence[Roi]] | None,
        names: Sequence[str],
    ) -> list[list[Face]]:
        if boxes is not None and rois is not None:
            raise ValueError("boxes, rois: expected one of them at most, got both")
        if boxes is None and rois is None and self.detector is None:
            raise ValueError("boxes: expected boxes or rois, for this aligner has no detector")
        for name, image in zip(names, images, strict=True):
            checked_image(name, image)
        where: list[int] = []  # which picture a face belongs to
        found: list[tuple[NDArray[np.float32], float, Roi]] = []
        for i, image in enumerate(images):
            if rois is not None:
                for roi in rois[i]:
                    if not isinstance(roi, Roi):
                        raise TypeError(f"rois: expected Roi, got {type(roi).__name__}")
                    edges = (roi.left, roi.top, roi.left + roi.side, roi.top + roi.side)
                    found.append((np.array(edges, dtype=np.float32), 1.0, roi))
            elif boxes is not None:
                for row in _box_rows(boxes[i]):
                    score = float(row[4]) if len(row) == 5 else 1.0
                    found.append((row[:4].copy(), score, roi_from_box(row[:4], self.crop)))
            else:
                assert self.detector is not None
                detections = self.detector(image)
                for box, score in zip(detections.xyxy, detections.scores, strict=True):
                    # an offset of the network may turn a box over; it is no face then
                    if box[0] < box[2] and box[1] < box[3]:
                        found.append((box, float(score), roi_from_box(box, self.crop)))
            where += [i] * (len(found) - len(where))

        faces = self._regress(images, where, found)
        for turn in range(self.refine):
            again = [(face.box, found[k][1], self.roi(face)) for k, face in enumerate(faces)]
            seen = self._regress(images, where, again, self.mirrored and turn % 2 == 0)
            faces = self._agreed(faces, seen) if self.mirrored else seen
        result: list[list[Face]] = [[] for _ in images]
        given = boxes is not None or rois is not None
        for i, face in zip(where, faces, strict=True):
            if given or self.min_score is None or face.score >= self.min_score:
                result[i].append(replace(face, visible=self.visible(face)) if self.visibility else face)
        return result

    def _regress(
        self,
        images: Sequence[Image],
        where: Sequence[int],
        found: Sequence[tuple[NDArray[np.float32], float, Roi]],
        mirrored: bool = False,
    ) -> list[Face]:
        faces: list[Face] = []
        most = int(getattr(self.regressor, "max_batch", _MAX_CROPS)) if found else 1
        for start in range(0, len(found), most):
            part = found[start : start + most]
            indices = where[start : start + most]
            crops = np.empty((len(part), self.crop.size, self.crop.size, 3), dtype=np.uint8)
            for k, (i, (_, _, roi)) in enumerate(zip(indices, part, strict=True)):
                cut(images[i], roi, crops[k], self.crop.rounded)
            outputs = self.regressor(np.ascontiguousarray(crops[:, :, ::-1]) if mirrored else crops)
            camera, shape, expression = (
                _output(outputs, name, len(part)) for name in ("camera", "shape", "expression")
            )
            scores = _output(outputs, "score", len(part)) if "score" in outputs else None
            if mirrored:
                camera = mirrored_camera(camera, self.crop.size)
                shape, expression = self._mirror.coefficients(shape, expression)
            landmarks = self.face_model.landmarks(shape, expression)
            for k, (box, score, roi) in enumerate(part):
                params = Params(camera[k], shape[k], expression[k])
                in_image = to_image(roi, params.camera, self.crop)
                faces.append(
                    Face(
                        box=box,
                        score=score if scores is None else float(scores[k]),
                        roi=roi,
                        params=params,
                        camera=in_image,
                        landmarks=in_image.project(landmarks[k]),
                        image_size=images[indices[k]].shape[:2],
                    )
                )
        return faces

    @cached_property
    def _mirror(self) -> Mirror:
        # some hundredths of a second, for those alone who look at mirror images
        return Mirror.of(self.face_model)

    def _agreed(self, before: Sequence[Face], after: Sequence[Face]) -> list[Face]:
        """Of each face the mean of two looks whose squares nearly agree, else the later, whose square is the better."""
        faces = list(after)
        for k, (first, second) in enumerate(zip(before, after, strict=True)):
            if first.roi.iou(second.roi) < _SAME_LOOK:
                continue
            camera = Camera(_mean(first.camera.matrix, second.camera.matrix))
            params = Params(
                to_crop(second.roi, camera, self.crop),
                _mean(first.params.shape, second.params.shape),
                _mean(first.params.expression, second.params.expression),
            )
            landmarks = self.face_model.landmarks(params.shape, params.expression)
            faces[k] = replace(
                second,
                score=(first.score + second.score) / 2,
                params=params,
                camera=camera,
                landmarks=camera.project(landmarks),
            )
        return faces

    def roi(self, face: Face) -> Roi:
        """The square in which to look at a face again, in this picture or in the next frame.

        It is around the landmarks on the surface, whatever landmark convention `Face.landmarks` is by.
        """
        return roi_from_landmarks(self.landmarks(face, self.face_model.surface_convention), self.crop)

    def landmarks(self, face: Face, convention: str | None = None) -> NDArray[np.float32]:
        """The 68 landmarks of a face by any landmark convention of the face model.

        Parameters
        ----------
        face : Face
            What this aligner found.
        convention : str, optional
            See `FaceModel.convention`; None is the aligner's own, by which `Face.landmarks` are.

        Returns
        -------
        ndarray (68, 3) float32
            In image px.

        Raises
        ------
        ValueError
            If the face model does not have this landmark convention.
        """
        model = self.face_model
        if convention is None or convention == model.convention:
            return face.landmarks
        return np.asarray(face.landmarks + model.landmark_offset(convention) @ face.camera.matrix[:, :3].T)

    def mesh(self, face: Face, image: Image | None = None) -> Mesh:
        """Dense surface of a face.

        Parameters
        ----------
        face : Face
            What this aligner, or one with the same face model, found.
        image : ndarray (h, w, 3) uint8, optional
            The picture, to give each vertex its colour there (`tddfa.surface.texture.vertex_colors`).

        Returns
        -------
        Mesh
            In image px; without colours where no `image` is given.
        """
        model = self.face_model
        vertices = face.camera.project(self._decoded(face))
        mesh = Mesh(vertices, model.triangles, None, model.uv)
        return mesh if image is None else replace(mesh, colors=vertex_colors(image, mesh))

    def _decoded(self, face: Face) -> NDArray[np.float32]:
        return self.face_model.vertices(face.params.shape, face.params.expression)

    def visible(self, face: Face) -> NDArray[np.bool_]:
        """Which of a face's landmarks (68,) the camera sees: not hidden by the face's own surface, and in the picture.

        Asked of the points on the surface, whatever landmark convention `Face.landmarks` is by. Where the size of the picture is
        not known (`Face.image_size`), only the surface counts.
        """
        model = self.face_model
        return visible_points(self.mesh(face), model.landmark_triangles, model.landmark_weights, face.image_size)

    def six_dof(self, face: Face, intrinsics: Intrinsics | None = None) -> SixDof:
        """Where a head is before a perspective camera, and how it is turned, from its surface (`FaceModel.front`).

        Parameters
        ----------
        face : Face
            What this aligner, or one with the same face model, found.
        intrinsics : Intrinsics, optional
            The camera; see `Face.six_dof`.

        Returns
        -------
        SixDof
            Its translation is in `FaceModel.unit`: cm for the open model. That is true of a head of average size; one
            view does not tell a large head from a near one.
        """
        return face.six_dof(intrinsics, points=self._decoded(face)[self.face_model.front])

    def expression(self, face: Face) -> dict[str, float]:
        """Expression weights by name, within the face model's range."""
        weights = face.params.expression
        if self.face_model.expression_range is not None:
            weights = np.clip(weights, *self.face_model.expression_range)
        return {name: float(w) for name, w in zip(self.face_model.expression_names, weights, strict=True)}


def _mean(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.mean((a, b), axis=0, dtype=np.float32)


def _box_rows(boxes: ArrayLike) -> NDArray[np.float32]:
    rows = np.asarray(boxes)
    if rows.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    width = 5 if rows.ndim == 2 and rows.shape[1] == 5 else 4
    return checked("boxes", rows, (None, width))


def _output(outputs: Mapping[str, NDArray[np.float32]], name: str, count: int) -> NDArray[np.float32]:
    if name not in outputs:
        raise ValueError(f"regressor: expected an output {name!r}, got {', '.join(outputs)}")
    value = np.asarray(outputs[name])
    if value.shape[:1] != (count,):
        raise ValueError(f"regressor: {name}: expected {count} rows, got shape {value.shape}")
    return value
