"""Images to faces: detector, crop, regressor and face model, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from tddfa._shared.arrays import checked_number
from tddfa._shared.image_source import Color, ImageSource, as_bgr, source_name
from tddfa.decoder import Decoder
from tddfa.detector import Detector, Find
from tddfa.geometry.camera import Camera
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config, CropRule
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model, chosen_precision
from tddfa.passes import Image, Passes, Regressor, Targets, joined, next_squares
from tddfa.rotations import (
    ROTATED_DOUBT,
    ROTATIONS,
    merged,
    realigned,
    rotated_targets,
    upright_targets,
    weakly_detected,
)
from tddfa.selection import Aligned, likely, needed_scores, promising, together
from tddfa.targets import detected, given_boxes, given_rois, squares_of
from tddfa.types import Face, Params, Roi, unchecked


class Aligner:
    """Detector, regressor and decoder: finds and aligns the faces of images. Loaded once, called many times.

    Parameters
    ----------
    regressor : callable
        Maps a batch of crops to cameras and coefficients (`Regressor`): an ONNX model, or a function of your own.
    decoder : Decoder
        Interprets the regressor's output: face model, crop rule and landmark convention.
    detector : callable or None
        Finds the faces: a `tddfa.Detector`, or any function from an image to `FaceBoxes.Detections`. None if boxes or
        Rois are always given.
    min_score : float or None
        Minimum face score of the regressor, 0..1. A *detected* face with a lower score is dropped; None keeps all.
        Faces whose box or Roi was given are always kept, so that the results correspond to the input.
    refine : int
        Number of further passes, each on a crop around the landmarks of the previous pass. In these crops, a face that
        is rolled by more than 20 degrees is upright, unless the crop rule rounds. One more pass follows if the last
        crop is rotated by more than 20 degrees against the one before.
    flip : bool
        The first, third, … of these passes use horizontally flipped crops. If the squares of two consecutive passes
        overlap (IoU of at least 0.75), the mean of both results is kept. The errors on a face and on its mirror image
        differ, so the mean is more accurate.
    visibility : bool
        Compute `Face.visible`. For this, the dense mesh of each face is computed and rendered, which takes time.
    rotations : {"auto", "all", "off"}
        How faces of any roll are found. ``off`` tries no rotation. ``all`` tries every rotation on every image.
        ``auto`` tries rotations only where they are needed. A face is *sure* if its face score is at least
        `sure_score`. If a box was detected or given and its face is not sure, ``auto`` aligns the face again in crops
        rotated by 90, 180 and 270 degrees. If no face was found, it tries boxes with lower detection scores, and then
        detects in the image rotated by these angles. If all sure faces of an image are rolled alike, by more than 45
        degrees, it also detects in the image turned upright. In an image with a sure face, faces under `min_score` are
        dropped without another try. Of two faces at one place, the one with the higher score is kept.
    sure_score : float or None
        Face score of the regressor from which a face is sure. A face that was found in a rotated crop needs this score.
        A face with a detection score of 0.3 or less needs it too; up to a detection score of 0.6, the needed score
        falls linearly to `min_score`. A face that was found in a rotated image needs a higher score, which is half as
        far from 1. None, for models without a face score, rotates whole images only.

    Attributes
    ----------
    precision : {"float", "int8"}
        Precision of the networks that `load` chose; "float" for an aligner that was created in another way.

    Notes
    -----
    One aligner may be called from several threads at once, because it keeps no state between calls. Most of the work of
    a call runs without Python's global interpreter lock (GIL).

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
        detector: Find | None = None,
        min_score: float | None = None,
        refine: int = 0,
        flip: bool = False,
        visibility: bool = False,
        rotations: str = "off",
        sure_score: float | None = None,
    ) -> None:
        checked_number("refine", refine, 0, whole=True)
        for name, value in (("min_score", min_score), ("sure_score", sure_score)):
            if value is not None:
                checked_number(name, value, 0, 1)
        if visibility and not decoder.has_mesh:
            raise ValueError("visibility: expected False for a model that predicts points and no mesh, got True")
        if rotations not in ROTATIONS:
            raise ValueError(f"rotations: expected one of {', '.join(ROTATIONS)}, got {rotations!r}")
        self.regressor = regressor
        self.decoder = decoder
        self.detector = detector if detector is None or isinstance(detector, Detector) else Detector(detector)
        self.min_score = min_score
        self.refine = refine
        self.flip = flip
        self.visibility = visibility
        self.rotations = rotations
        self.sure_score = sure_score
        self.precision = "float"

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
        detector: Find | None = None,
        rotations: str | None = None,
        fit_mesh: bool = False,
    ) -> Aligner:
        """Load a shipped or fetched config by its name, or a ``.yml`` file.

        Parameters
        ----------
        config : str or path
            Name or file of the config: ``open_mb05``, a config that ``tddfa fetch`` put into the cache, such as
            ``mb05_120x120``, or a ``.yml`` file. `tddfa.model.config` describes the keys of the file.
        device : {"auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino"}
            Requested device of the networks. The attribute `device` of the result is the device that is used.
        precision : {"float", "int8", "auto"}
            ``int8`` uses the 8-bit networks of the config: about half the time on a CPU with VNNI, with errors that are
            at most 2 % higher (``weights/README.md``). It is an error if the config has no 8-bit regressor. ``auto``
            uses 8-bit networks if the config has them and if they run on a CPU with instructions for them (VNNI, or
            Arm's dot product). So the results of ``auto`` depend on the machine. The attribute `precision` of the
            result is the precision that is used.
        threads : int or None
            CPU threads of one network call; None takes one per core that the process may use.
        refine : int or None
            Number of further passes per face; 0 is the fastest. None takes the config's value: 1 for ``open_mb05``.
        visibility : bool
            Compute `Face.visible` for each face.
        exact_crop : bool
            Crop at the exact edges of the square even if the config says `rounded`, as the configs of 3DDFA_V2 do.
        convention : str or None
            Landmark convention: ``300w``, or ``300w-lp`` for the convention of 3DDFA_V2. None takes the face model's
            own: ``300w`` for ``open_mb05``.
        tiles : {"auto", "off"} or None
            ``auto`` also detects on tiles at native resolution if the image would be shrunk more than twice, and
            otherwise on close-ups of small faces; see `FaceBoxes.Detector`. None takes the config's value: ``auto`` for
            ``open_mb05``.
        min_score : float or None
            Minimum face score of a detected face; 0 keeps every detection. None takes the config's value
            (``docs/thresholds.md``).
        rotations : {"auto", "all", "off"} or None
            How faces of any roll are found; `Aligner` describes the values. None takes the config's value: ``auto`` for
            ``open_mb05``.
        detector : callable or None
            Detector to use instead of the config's detector, whose network is then not loaded. None takes the config's.
        fit_mesh : bool
            For a model that predicts only 68 points (`tddfa.jvcr`): fit the face model to the points, so that faces
            have a mesh. No effect on other models.

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
        settings = Config.load(config_path(config))
        precision = chosen_precision(settings, precision, device)
        settings = settings.with_precision(precision)
        decoder = Decoder.from_config(settings, convention=convention, exact_crop=exact_crop, fit_mesh=fit_mesh)
        if detector is not None and tiles is not None:
            raise ValueError(f"tiles: expected None with a detector of your own, got {tiles!r}")
        if detector is None:
            detector = Detector.from_config(settings.detector, device=device, threads=threads, tiles=tiles)
        network = Model(verified(settings.model), device, threads)
        aligner = cls(
            JvcrRegressor(network, decoder.face_model) if settings.kind == "jvcr" else network,
            decoder,
            detector=detector,
            min_score=settings.min_score if min_score is None else min_score,
            refine=settings.refine if refine is None else refine,
            flip=settings.flip,
            visibility=visibility,
            rotations=settings.rotations if rotations is None else rotations,
            sure_score=settings.sure_score,
        )
        aligner.precision = precision
        return aligner

    @property
    def device(self) -> str:
        """Device that the regressor uses, such as "cpu" or "cuda". It may differ from the requested device."""
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
        name: str | os.PathLike[str] | None = None,
    ) -> list[Face]:
        """Find and align the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8, path, bytes, or PIL.Image.Image
            The image, in any form that `tddfa.read_image` accepts. All coordinates refer to the image that `read_image`
            returns, which has the EXIF orientation applied.
        boxes : array_like (n, 4 or 5), optional
            Boxes of the faces, instead of those of the detector: x1, y1, x2, y2 in px. An optional fifth column has
            detection scores, 0 to 1. A box with a score under 0.5 gets fewer passes if its alignment is not sure. A box
            may be partly outside the image.
        rois : sequence of Roi, optional
            Squares to crop, instead of boxes.
        color : {"bgr", "rgb"}
            Order of the channels of an array: OpenCV reads BGR, Pillow and imageio read RGB.
        name : path or None
            Name of the image, needed only by a detector that reads boxes from a file. None takes the name of the image
            file.

        Returns
        -------
        list of Face
            Sorted by the detector's score, highest first, or in the order of `boxes` or `rois`. Empty if there is no
            face.

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
        names = [source_name(image) if name is None else name]
        return self._align([pixels], None if boxes is None else [boxes], None if rois is None else [rois], names)[0]

    def batch(
        self,
        images: Iterable[ImageSource],
        *,
        boxes: Sequence[ArrayLike] | None = None,
        rois: Sequence[Sequence[Roi]] | None = None,
        color: Color = "bgr",
    ) -> list[list[Face]]:
        """Find and align the faces of several images. All faces go through the regressor together.

        Parameters
        ----------
        images : iterable of ndarray (h, w, 3) uint8, path, bytes, or PIL.Image.Image
            The images, in any form that `__call__` accepts. Their sizes may differ.
        boxes : sequence of array_like (n, 4 or 5), optional
            The boxes of each image, as in `__call__`.
        rois : sequence of sequence of Roi, optional
            The squares of each image, as in `__call__`.
        color : {"bgr", "rgb"}
            Order of the channels of arrays.

        Returns
        -------
        list of list of Face
            The faces of each image, as `__call__` returns them.

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
        # an iterator gives its entries once
        images = list(images)
        boxes = None if boxes is None else list(boxes)
        rois = None if rois is None else list(rois)
        pixels = [as_bgr(f"images[{i}]", image, color) for i, image in enumerate(images)]
        for name, value in (("boxes", boxes), ("rois", rois)):
            if value is not None and len(value) != len(images):
                raise ValueError(f"{name}: expected one entry for each of {len(images)} images, got {len(value)}")
        return self._align(pixels, boxes, rois, [source_name(image) for image in images])

    def _align(
        self,
        images: Sequence[Image],
        boxes: Sequence[ArrayLike] | None,
        rois: Sequence[Sequence[Roi]] | None,
        names: Sequence[str | os.PathLike[str] | None],
    ) -> list[list[Face]]:
        if boxes is not None and rois is not None:
            raise ValueError("boxes, rois: expected at most one of them, got both")
        if boxes is None and rois is None and self.detector is None:
            raise ValueError("boxes, rois: expected one of them, because this aligner has no detector; got neither")
        parts = []
        for i, image in enumerate(images):
            if rois is not None:
                parts.append(given_rois(i, rois[i]))
            elif boxes is not None:
                parts.append(given_boxes(i, image, boxes[i], self.crop))
            else:
                assert self.detector is not None
                parts.append(detected(self.detector(image, name=names[i]), i, self.crop))
        if not parts:
            return []
        passes = Passes(self.regressor, self.decoder, refine=self.refine, flip=self.flip)
        targets = joined(parts)
        # with a least score of 0, every detection is reported
        chosen = boxes is None and rois is None and self.rotations != "all" and bool(self.min_score)
        sure = self.sure_score if chosen else None
        if sure is not None:
            targets = promising(targets)
        first = Aligned(targets, passes.first(images, targets))
        if sure is not None:
            first = likely(first, sure, self.min_score or 0.0)
        aligned = first._replace(predicted=passes.further(images, *first))
        if rois is None and self.rotations != "off" and self.sure_score is not None:
            ignored_below = self.min_score if boxes is None and self.rotations == "auto" else None
            aligned = realigned(passes, images, aligned, self.sure_score, ignored_below=ignored_below)
        if boxes is None and rois is None:
            aligned = self._chosen(passes, images, aligned)
        return self._faces(aligned, images)

    def _chosen(self, passes: Passes, images: Sequence[Image], aligned: Aligned) -> Aligned:
        """Choose the detected faces that are reported, and find those of any roll."""
        assert self.detector is not None
        sure, limit = self.sure_score, 0.0 if self.min_score is None else self.min_score
        if self.min_score is not None:
            needed = needed_scores(aligned.targets.score, limit, sure)
            aligned = aligned.rows(aligned.predicted.score >= needed)
        if self.rotations == "off":
            return aligned
        counts = np.bincount(aligned.targets.image, minlength=len(images))
        again: list[Targets] = []
        parts = [aligned]
        for i, image in enumerate(images):
            # a detector that reads boxes from a file knows no rotated images
            if self.detector.needs_name:
                continue
            if not counts[i] and sure is not None:
                weak = weakly_detected(passes, images, i, self.detector, max(sure, limit))
                parts += [] if weak is None else [weak]
                counts[i] = 0 if weak is None else len(weak.targets.score)
            if self.rotations == "all" or not counts[i]:
                again += rotated_targets(self.detector, image, i, self.crop)
            elif sure is not None:
                faces = aligned.rows(aligned.targets.image == i)
                again += upright_targets(self.detector, image, i, self.crop, faces, sure)
        if again:
            targets = joined(again)
            more = Aligned(targets, passes(images, targets))
            if sure is not None:
                more = more.rows(more.predicted.score >= 1 - ROTATED_DOUBT * (1 - max(sure, limit)))
            parts.append(more)
        aligned = together(parts)
        return together([merged(aligned.rows(aligned.targets.image == i)) for i in range(len(images))])

    def _faces(self, aligned: Aligned, images: Sequence[Image]) -> list[list[Face]]:
        """Faces by image. The tables were checked as a whole, so that their rows are not checked again."""
        targets, predicted = aligned
        landmarks = self.decoder.to_convention(predicted.landmarks, predicted.camera)
        points = np.isfinite(targets.points[:, 0, 0]).tolist()
        sure = np.isfinite(predicted.confidence[:, 0]).tolist()
        rois, scores = predicted.roi.tolist(), predicted.score.tolist()
        faces: list[list[Face]] = [[] for _ in images]
        for k, i in enumerate(targets.image.tolist()):
            left, top, side, angle = rois[k]
            face = unchecked(
                Face,
                box=targets.box[k],
                score=scores[k],
                roi=unchecked(Roi, left=left, top=top, side=side, angle=angle),
                params=unchecked(
                    Params,
                    camera=predicted.crop_camera[k],
                    shape=predicted.shape[k],
                    expression=predicted.expression[k],
                ),
                camera=unchecked(Camera, matrix=predicted.camera[k]),
                landmarks=landmarks[k],
                track_id=None,
                visible=None,
                image_size=images[i].shape[:2],
                confidence=predicted.confidence[k] if sure[k] else None,
                detected_points=targets.points[k] if points[k] else None,
            )
            faces[i].append(replace(face, visible=self.decoder.visible(face)) if self.visibility else face)
        return faces

    def detect_poses(self, image: ImageSource, *, color: Color = "bgr", min_score: float = 0.5) -> list[Face]:
        """Estimate head poses with the detector alone, without the regressor.

        All faces have the average shape. The method works down to the smallest faces of a crowd. The angles are less
        accurate than those of `__call__`: their mean error on AFLW2000-3D is 10.0 degrees instead of 3.7 (``tddfa
        evaluate detector-pose aflw2000-3d``).

        Parameters
        ----------
        image, color
            See `__call__`.
        min_score : float
            Detections with a lower score are dropped.

        Returns
        -------
        list of Face
            Faces as from `Decoder.posed`, sorted by score, highest first.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or dtype, or if the detector predicts no rotations.
        tddfa.TddfaError
            If a file cannot be read as an image.
        """
        if self.detector is None:
            raise ValueError("detector: expected one, because poses come from it; got an aligner without one")
        checked_number("min_score", min_score, 0, 1)
        pixels = as_bgr("image", image, color)
        found = self.detector.posed(pixels, name=source_name(image))
        return self.decoder.posed(found[found.scores >= min_score], pixels.shape[:2])

    def roi(self, face: Face) -> Roi:
        """Square around a face's landmarks, rotated with the face: the crop for another pass, or for the next frame.

        It depends on the landmarks on the surface, not on the landmark convention of `Face.landmarks`.

        Examples
        --------
        >>> roi = aligner.roi(face)
        >>> roi.side > face.roi.side / 2
        True
        """
        return self.rois([face])[0]

    def rois(self, faces: Sequence[Face]) -> list[Roi]:
        """`roi` of several faces.

        Examples
        --------
        >>> aligner.rois([face]) == [aligner.roi(face)]
        True
        """
        if not faces:
            return []
        decoder = self.decoder
        landmarks = np.array([decoder.landmarks(face, decoder.face_model.convention) for face in faces])
        cameras = np.array([face.camera.matrix for face in faces])
        squares = next_squares(self.crop, landmarks, cameras, squares_of([face.roi for face in faces]))
        return [unchecked(Roi, left=x, top=y, side=side, angle=angle) for x, y, side, angle in squares.tolist()]
