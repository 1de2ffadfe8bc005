"""Images to faces: detector, crop, regressor and face model, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes import Detector
from tddfa._shared.arrays import checked
from tddfa._shared.image_source import Color, ImageSource, as_bgr
from tddfa.crop import crop_image, roi_from_box, roi_from_landmarks, to_crop, to_image
from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config, CropRule
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror, mirrored_camera
from tddfa.model.runtime import Model
from tddfa.types import Face, Params, Roi

Regressor = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``crops (n, size, size, 3) uint8`` BGR -> ``camera (n, 3, 4)``, ``shape (n, s)``, ``expression (n, e)`` and, where
the model has one, ``score (n,)``."""

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Crops per call of a regressor that has no limit of its own: bounds the memory of an image with hundreds of faces.
_MAX_CROPS = 64
# Two passes are averaged if the IoU of their squares is at least this. Chosen on the photos behind RESULTS.md, where
# 0.7 and 0.8 give the same but for a few wrong boxes of profiles.
_MIN_PASS_IOU = 0.75


class _Target(NamedTuple):
    """A face to align: index of its image, box, score of the detector, and square."""

    image: int
    box: Floats
    score: float
    roi: Roi


class _Prediction(NamedTuple):
    """What a pass gives for a face. Landmarks are those on the surface, in image px."""

    roi: Roi
    score: float
    crop_camera: Floats
    shape: Floats
    expression: Floats
    camera: Camera
    landmarks: Floats


class Aligner:
    """Detector, regressor and decoder: finds and aligns the faces of images. Loaded once, called many times.

    Parameters
    ----------
    regressor : callable
        See `Regressor`: an ONNX model, or any function in a test.
    decoder : Decoder
        Meaning of the regressor's output: face model, crop rule, landmark convention.
    detector : callable or None
        Image to `FaceBoxes.Detections`. None if boxes or Rois are always given.
    min_score : float or None
        A *detected* face with a lower face score of the regressor, 0..1, is dropped; None keeps all. Faces whose box or
        Roi was given are kept, so that the results correspond to the input.
    refine : int
        Number of further passes, each on a crop around the landmarks of the pass before.
    flip : bool
        The first, third, … of these passes take horizontally flipped crops, and where the squares of two consecutive
        passes overlap (IoU of at least 0.75), their mean is kept. The errors on a face and on its mirror image
        differ, so the mean is more accurate.
    visibility : bool
        Compute `Face.visible`. It takes the dense mesh of each face, and a rendering of it.

    Examples
    --------
    >>> from tddfa import Aligner
    >>> aligner = Aligner.load("open_mb05", device="cpu")
    >>> [face.landmarks.shape for face in aligner(image)]
    [(68, 3)]
    """

    def __init__(
        self,
        regressor: Regressor,
        decoder: Decoder,
        *,
        detector: Detector | None = None,
        min_score: float | None = None,
        refine: int = 0,
        flip: bool = False,
        visibility: bool = False,
    ) -> None:
        if refine < 0:
            raise ValueError(f"refine: expected 0 or more, got {refine}")
        if min_score is not None and not 0 <= min_score <= 1:
            raise ValueError(f"min_score: expected a number from 0 to 1, got {min_score}")
        self.regressor = regressor
        self.decoder = decoder
        self.detector = detector
        self.min_score = min_score
        self.refine = refine
        self.flip = flip
        self.visibility = visibility

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
        tiles: str | None = None,
        min_score: float | None = None,
    ) -> Aligner:
        """Load a shipped or fetched config by its name, or a ``.yml`` file.

        Parameters
        ----------
        config : str or path
            ``open_mb05``, a config that ``tddfa fetch`` put into the cache (``mb05_120x120``), or a file; its keys are
            in `tddfa.model.config`.
        device : {"auto", "cpu", "cuda", "tensorrt"}
            Device of the networks; the attribute `device` of the result is the one that is really used.
        precision : {"float", "int8"}
            ``int8`` takes the networks in 8 bits, where the config has them: about half the time on a CPU, with errors
            that are at most 1 % higher (``weights/README.md``).
        threads : int or None
            CPU threads of one network call; None takes one per core.
        refine : int or None
            See `Aligner`. None takes the config's number: 1 for ``open_mb05``; 0 is the fastest.
        visibility : bool
            See `Aligner`.
        exact_crop : bool
            Crop at the exact edges of the square, where the config says `rounded` (3DDFA_V2's do).
        convention : str or None
            Landmark convention: ``300w``, or ``300w-lp`` for the convention of 3DDFA_V2. None takes the face model's
            own: ``300w`` for ``open_mb05``.
        tiles : {"auto", "off"} or None
            ``auto`` also detects on tiles at native resolution if the image would be shrunk more than twice, see
            `FaceBoxes.Detector`. None takes the config's value: ``auto`` for ``open_mb05``.
        min_score : float or None
            See `Aligner`; 0 keeps every detection. None takes the config's value (``docs/thresholds.md``).

        Raises
        ------
        AssetError, ConfigError, FileNotFoundError, ValueError
            If a file is missing, does not match its hash, or has content that is not understood.

        Examples
        --------
        >>> from tddfa import Aligner
        >>> fast = Aligner.load("open_mb05", device="cpu", refine=0)
        >>> fast.device, fast.refine
        ('cpu', 0)
        """
        settings = Config.load(config_path(config)).with_precision(precision)
        detector = settings.detector
        decoder = Decoder.from_config(settings, convention=convention, exact_crop=exact_crop)
        return cls(
            Model(verified(settings.model), device, threads),
            decoder,
            detector=Detector(
                Model(verified(detector.model), device, threads),
                max_height=detector.max_height,
                max_width=detector.max_width,
                max_area=detector.max_area,
                small_area=detector.small_area,
                tiles=detector.tiles if tiles is None else tiles,
                score=detector.score,
                iou=detector.iou,
                max_candidates=detector.max_candidates,
                max_faces=detector.max_faces,
            ),
            min_score=settings.min_score if min_score is None else min_score,
            refine=settings.refine if refine is None else refine,
            flip=settings.flip,
            visibility=visibility,
        )

    @property
    def device(self) -> str:
        """Device that the regressor really uses: "cpu", "cuda" or "tensorrt"."""
        return str(getattr(self.regressor, "device", "cpu"))

    @property
    def face_model(self) -> FaceModel:
        """The decoder's face model."""
        return self.decoder.face_model

    @property
    def crop(self) -> CropRule:
        """The decoder's crop rule."""
        return self.decoder.crop_rule

    def __call__(
        self,
        image: ImageSource,
        *,
        boxes: ArrayLike | None = None,
        rois: Sequence[Roi] | None = None,
        color: Color = "bgr",
    ) -> list[Face]:
        """Find and align the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8, path, or PIL.Image.Image
            What `tddfa.read_image` takes. All coordinates refer to the image that it returns: upright, if EXIF data
            tell the orientation.
        boxes : array_like (n, 4 or 5), optional
            x1, y1, x2, y2 in px and, in a fifth column, a score: the faces, in place of the detector. A box may leave
            the image, but not wholly.
        rois : sequence of Roi, optional
            The squares to crop, in place of boxes.
        color : {"bgr", "rgb"}
            Order of the channels of an array: OpenCV reads BGR, Pillow and imageio read RGB.

        Returns
        -------
        list of Face
            By falling score of the detector, or in the order of `boxes` or `rois`. Empty if there is no face.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or dtype; the message names it.
        tddfa.TddfaError
            If a file cannot be read as an image.

        Examples
        --------
        >>> (face,) = aligner("examples/inputs/astronaut.jpg")
        >>> (same,) = aligner(image[..., ::-1], color="rgb")
        >>> bool((face.landmarks == same.landmarks).all())
        True
        >>> (again,) = aligner(image, boxes=[face.box])
        >>> bool(abs(again.landmarks - face.landmarks).max() < 0.1)
        True
        """
        if isinstance(image, list | tuple):
            kind = type(image).__name__
            raise TypeError(f"image: expected one image (height, width, 3) uint8, got a {kind}; batch() takes several")
        pixels = as_bgr("image", image, color)
        return self._align([pixels], None if boxes is None else [boxes], None if rois is None else [rois])[0]

    def batch(
        self,
        images: Sequence[ImageSource],
        *,
        boxes: Sequence[ArrayLike] | None = None,
        rois: Sequence[Sequence[Roi]] | None = None,
        color: Color = "bgr",
    ) -> list[list[Face]]:
        """Find and align the faces of several images: all of them go through the regressor together.

        Parameters
        ----------
        images : sequence of ndarray (h, w, 3) uint8, path, or PIL.Image.Image
            For each, see `__call__`; their sizes may differ.
        boxes : sequence of array_like (n, 4 or 5), optional
            For each image, see `__call__`.
        rois : sequence of sequence of Roi, optional
            For each image, see `__call__`.
        color : {"bgr", "rgb"}
            Of the arrays, see `__call__`.

        Returns
        -------
        list of list of Face
            For each image, as `__call__` gives them.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or dtype; the message names it.

        Examples
        --------
        >>> import numpy as np
        >>> [len(faces) for faces in aligner.batch([image, np.zeros((64, 64, 3), np.uint8)])]
        [1, 0]
        """
        if isinstance(images, str | os.PathLike):
            raise TypeError(f"images: expected a sequence of images, got one path, {os.fspath(images)}")
        pixels = [as_bgr(f"images[{i}]", image, color) for i, image in enumerate(images)]
        for name, value in (("boxes", boxes), ("rois", rois)):
            if value is not None and len(value) != len(images):
                raise ValueError(f"{name}: expected one entry for each of {len(images)} images, got {len(value)}")
        return self._align(pixels, boxes, rois)

    def _align(
        self,
        images: Sequence[Image],
        boxes: Sequence[ArrayLike] | None,
        rois: Sequence[Sequence[Roi]] | None,
    ) -> list[list[Face]]:
        if boxes is not None and rois is not None:
            raise ValueError("boxes, rois: expected one of them at most, got both")
        if boxes is None and rois is None and self.detector is None:
            raise ValueError("boxes: expected boxes or rois, for this aligner has no detector")
        targets: list[_Target] = []
        for i, image in enumerate(images):
            if rois is not None:
                targets += _given_rois(i, rois[i])
            elif boxes is not None:
                targets += self._given_boxes(i, image, boxes[i])
            else:
                targets += self._detected(i, image)
        predictions = self._predict(images, targets)
        limit = self.min_score if boxes is None and rois is None else None
        result: list[list[Face]] = [[] for _ in images]
        for target, predicted in zip(targets, predictions, strict=True):
            if limit is None or predicted.score >= limit:
                result[target.image].append(self._face(target, predicted, images[target.image]))
        return result

    def _given_boxes(self, index: int, image: Image, boxes: ArrayLike) -> Iterator[_Target]:
        for row in _box_rows(boxes):
            _check_box(row[:4], image)
            score = float(row[4]) if len(row) == 5 else 1.0
            yield _Target(index, row[:4].copy(), score, roi_from_box(row[:4], self.crop))

    def _detected(self, index: int, image: Image) -> Iterator[_Target]:
        assert self.detector is not None
        detections = self.detector(image)
        for box, score in zip(detections.xyxy, detections.scores, strict=True):
            # the network's offsets may swap the edges of a box: it is no face then
            if box[0] < box[2] and box[1] < box[3]:
                yield _Target(index, box, float(score), roi_from_box(box, self.crop))

    def _predict(self, images: Sequence[Image], targets: Sequence[_Target]) -> list[_Prediction]:
        """All passes."""
        predictions = self._regress(images, targets)
        for turn in range(self.refine):
            again = [
                _Target(target.image, target.box, target.score, roi_from_landmarks(predicted.landmarks, self.crop))
                for target, predicted in zip(targets, predictions, strict=True)
            ]
            later = self._regress(images, again, flip=self.flip and turn % 2 == 0)
            if self.flip:
                later = [self._combined(*pair) for pair in zip(predictions, later, strict=True)]
            predictions = later
        return predictions

    def _regress(self, images: Sequence[Image], targets: Sequence[_Target], *, flip: bool = False) -> list[_Prediction]:
        """One pass."""
        predictions: list[_Prediction] = []
        rule, model = self.crop, self.face_model
        most = int(getattr(self.regressor, "max_batch", _MAX_CROPS)) if targets else 1
        for start in range(0, len(targets), most):
            part = targets[start : start + most]
            crops = np.empty((len(part), rule.size, rule.size, 3), dtype=np.uint8)
            for crop, target in zip(crops, part, strict=True):
                crop_image(images[target.image], target.roi, crop, rounded=rule.rounded)
            outputs = self.regressor(np.ascontiguousarray(crops[:, :, ::-1]) if flip else crops)
            camera, shape, expression = (
                _output(outputs, name, len(part)) for name in ("camera", "shape", "expression")
            )
            scores = _output(outputs, "score", len(part)) if "score" in outputs else None
            if flip:
                camera = mirrored_camera(camera, rule.size)
                shape, expression = self._mirror.coefficients(shape, expression)
            points = model.landmarks(shape, expression)
            for k, target in enumerate(part):
                in_image = to_image(target.roi, camera[k], rule)
                score = target.score if scores is None else float(scores[k])
                landmarks = in_image.project(points[k])
                predictions.append(
                    _Prediction(target.roi, score, camera[k], shape[k], expression[k], in_image, landmarks)
                )
        return predictions

    @cached_property
    def _mirror(self) -> Mirror:
        # takes some hundredths of a second, and only flipped passes need it
        return Mirror.of(self.face_model)

    def _combined(self, first: _Prediction, second: _Prediction) -> _Prediction:
        """Mean of two passes whose squares nearly agree, else the later one, whose square is the better."""
        if first.roi.iou(second.roi) < _MIN_PASS_IOU:
            return second
        camera = Camera(_mean(first.camera.matrix, second.camera.matrix))
        shape, expression = _mean(first.shape, second.shape), _mean(first.expression, second.expression)
        return _Prediction(
            second.roi,
            (first.score + second.score) / 2,
            to_crop(second.roi, camera, self.crop),
            shape,
            expression,
            camera,
            camera.project(self.face_model.landmarks(shape, expression)),
        )

    def _face(self, target: _Target, predicted: _Prediction, image: Image) -> Face:
        face = Face(
            box=target.box,
            score=predicted.score,
            roi=predicted.roi,
            params=Params(predicted.crop_camera, predicted.shape, predicted.expression),
            camera=predicted.camera,
            landmarks=self.decoder.to_convention(predicted.landmarks, predicted.camera),
            image_size=image.shape[:2],
        )
        return replace(face, visible=self.decoder.visible(face)) if self.visibility else face

    def roi(self, face: Face) -> Roi:
        """Square around a face's landmarks: the crop for another pass on this image, or on the next frame.

        It depends on the landmarks on the surface, not on the landmark convention of `Face.landmarks`.

        Examples
        --------
        >>> roi = aligner.roi(face)
        >>> roi.side > face.roi.side / 2
        True
        """
        return roi_from_landmarks(self.decoder.landmarks(face, self.face_model.convention), self.crop)


def _given_rois(image: int, rois: Sequence[Roi]) -> Iterator[_Target]:
    for roi in rois:
        if not isinstance(roi, Roi):
            raise TypeError(f"rois: expected Roi, got {type(roi).__name__}")
        edges = (roi.left, roi.top, roi.left + roi.side, roi.top + roi.side)
        yield _Target(image, np.array(edges, dtype=np.float32), 1.0, roi)


def _mean(a: Floats, b: Floats) -> Floats:
    return np.mean((a, b), axis=0, dtype=np.float32)


def _box_rows(boxes: ArrayLike) -> Floats:
    rows = np.asarray(boxes)
    if rows.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    width = 5 if rows.ndim == 2 and rows.shape[1] == 5 else 4
    return checked("boxes", rows, (None, width))


def _check_box(box: Floats, image: Image) -> None:
    """Refuse a box of fractions of the image, and one that does not overlap it."""
    height, width = image.shape[:2]
    numbers = " ".join(f"{edge:g}" for edge in box)
    if box.min() >= 0 and box.max() <= 1 and max(height, width) > 1:
        raise ValueError(f"boxes: expected px, got {numbers}, fractions: multiply x by {width} and y by {height}")
    if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
        raise ValueError(f"boxes: expected a part of the image of {width} x {height} px, got {numbers}")


def _output(outputs: Mapping[str, Floats], name: str, count: int) -> Floats:
    if name not in outputs:
        raise ValueError(f"regressor: expected an output {name!r}, got {', '.join(outputs)}")
    value = np.asarray(outputs[name])
    if value.shape[:1] != (count,):
        raise ValueError(f"regressor: {name}: expected {count} rows, got shape {value.shape}")
    return value
