"""Labels of real photos that show what other data lack: turned faces of known persons (CFP), closed eyes (CEW).

Half of a face in 2D leaves its yaw nearly free, and a fit to it turns faces back. So the pose is that of the network,
within a few degrees, and the landmarks decide on shape and expression. All photos of a person get one shape. On frontal
photos, the 478 points of MediaPipe's Face Landmarker are fitted too; they weigh less than the points that people
placed, and its outline of the face, which is not accurate, does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.bench.face_landmarker import COUNT, FaceLandmarker
from tddfa.crop import roi_from_landmarks
from tddfa.datasets.cfp import POINTS_68, CfpPhoto, point_error
from tddfa.evaluate.metrics import box_length
from tddfa.fitting.landmarks import Fit, Guess, Prior, VertexMap, fit
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import JAW
from tddfa.model.face_model import FaceModel
from tddfa.train.data.samples import Sample, crop_face
from tddfa.types import Face, Roi

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

POINT_SET = "mediapipe"

# Pairs of the 478 points on opposite lids and lips whose difference is fitted too.
_LIDS = ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373))
_LIPS = ((13, 14), (82, 87), (312, 317))
# All points of each upper lid, and the points of the lower lid opposite: where lids meet, both lie at the lower lid.
_UPPER = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
_LOWER = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_IRISES = range(468, 478)
# The lower right lid among the 30 points: swapped in some photos.
_LOWER_LID = [16, 17]
# Weight of a point of the Face Landmarker beside one that a person placed.
_TEACHER_WEIGHT = 0.03
# Degrees: photos that are turned farther are labelled without the Face Landmarker.
_MAX_TEACHER_YAW = 25.0
# A network that is off by more than this, %, saw another pose: the landmarks alone are kept.
_MAX_NETWORK_ERROR = 12.0
_BORDER = 0.4


@dataclass(frozen=True)
class Labelled:
    """Result of the labelling.

    Attributes
    ----------
    samples : list of Sample
    error : float
        Mean distance of fitted points and landmarks, % of the face's size.
    yaw_before, yaw_after : ndarray (n,)
        Yaw of the network and of the fit, degrees, of the turned faces.
    left_out : int
        Photos without labels.
    """

    samples: list[Sample]
    error: float
    yaw_before: Floats
    yaw_after: Floats
    left_out: int


@dataclass(frozen=True)
class FitSettings:
    """How far a fit may leave the network's prediction.

    Attributes
    ----------
    pose : float
        Standard deviation of the rotation about each axis, degrees.
    shape, expression : float
        Standard deviations of the coefficients about those of the network.
    max_error : float
        Fits that are off by more, % of the face's size, keep their landmarks alone.
    """

    pose: float = 2.0
    shape: float = 0.7
    expression: float = 0.25
    max_error: float = 4.0

    @property
    def prior(self) -> Prior:
        """Prior of the coefficients."""
        return Prior(shape=self.shape, expression=self.expression)


CFP_SETTINGS, CLOSED_SETTINGS = FitSettings(), FitSettings(pose=4.0, shape=1.0, expression=0.3)
"""How far fits of turned faces and of closed eyes may leave the network."""


def label_people(
    photos: Sequence[CfpPhoto],
    aligner: Aligner,
    teacher: FaceLandmarker | None = None,
    settings: FitSettings = CFP_SETTINGS,
    validation: range = range(0),
) -> Labelled:
    """Label photos of CFP: one shape per person, pose by the network, landmarks by people.

    Parameters
    ----------
    photos : sequence of CfpPhoto
        All photos of the persons.
    aligner : Aligner
        Its network predicts the pose.
    teacher : FaceLandmarker, optional
        For frontal photos.
    settings : FitSettings, optional
    validation : range
        Persons whose crops are marked for validation.
    """
    model = aligner.face_model
    points, weights, faces = [], [], []
    for photo in photos:
        image, given = photo.read()
        (face,) = aligner(image, rois=[roi_from_landmarks(given, aligner.crop)])
        given = _unswapped(given, face)
        count = 0 if teacher is None else COUNT
        other, other_weights = np.full((count, 2), np.nan), np.zeros(count)
        found = None
        if teacher is not None and abs(face.camera.euler_degrees().yaw) < _MAX_TEACHER_YAW:
            found = teacher(image)
        if found is not None and _near(found.points[:, :2], face):
            other, other_weights = found.points[:, :2], _teacher_weights()
        points.append(np.concatenate([given, other]))
        weights.append(np.concatenate([np.ones(len(given)), other_weights]))
        faces.append(face)
    fits = fit(
        np.array(points),
        model,
        _map_of_people(model) if teacher is None else _map_of_both(model),
        settings.prior,
        np.array(weights),
        guess=_guess(faces, settings.pose),
        persons=np.array([photo.person for photo in photos]),
    )
    samples = []
    trusted = _trusted(fits, faces, np.array(points)[:, : len(POINTS_68)], settings)
    for i, photo in enumerate(photos):
        # read again: all photos together would take gigabytes
        sample = _sample(photo.read()[0], fits, i, model, points[i][: len(POINTS_68)])
        if not trusted[i]:
            sample = replace(sample, camera=None, shape=None, expression=None)
        samples.append(
            replace(
                sample,
                source="cfp" if photo.profile else "cfp-frontal",
                person=f"cfp-{photo.person:03d}",
                validation=photo.person in validation,
            )
        )
    profile = np.array([photo.profile for photo in photos]) & trusted
    return Labelled(
        samples,
        float(fits.error.mean()),
        np.abs([faces[i].camera.euler_degrees().yaw for i in np.flatnonzero(profile)]),
        np.abs([Camera(fits.camera[i]).euler_degrees().yaw for i in np.flatnonzero(profile)]),
        int((~trusted).sum()),
    )


def label_closed_eyes(
    photos: Sequence[Path],
    aligner: Aligner,
    teacher: FaceLandmarker,
    settings: FitSettings = CLOSED_SETTINGS,
    validation: int = 0,
) -> Labelled:
    """Label photos of faces with both eyes closed, such as CEW's.

    The points of each upper lid are moved to those of the lower lid, and the weights of a blink are 1: a fit alone
    shares the closing of an eye among all expressions that move a lid, and leaves a gap. Photos on which the teacher
    finds no face, or another one than the network, are left out.

    Parameters
    ----------
    photos : sequence of Path
        Crops of one face each.
    aligner : Aligner
    teacher : FaceLandmarker
    settings : FitSettings, optional
    validation : int
        The last of the photos, which are marked for validation.
    """
    model = aligner.face_model
    images, points, faces, kept = [], [], [], []
    for number, path in enumerate(photos):
        image = image_io.read(path)
        side, border = max(image.shape[:2]), round(_BORDER * max(image.shape[:2]))
        height, width = image.shape[:2]
        image = np.asarray(cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE))
        roi = Roi.around((width - 1) / 2 + border, (height - 1) / 2 + border, side)
        (face,) = aligner(image, rois=[roi])
        found = teacher(image)
        if found is None or not _near(found.points[:, :2], face):
            continue
        images.append(image)
        points.append(_with_closed_lids(found.points[:, :2]))
        faces.append(face)
        kept.append(number)
    if not kept:
        raise ValueError(f"photos: expected some with a face that MediaPipe finds, got none of {len(photos)}")
    guess = _guess(faces, settings.pose)
    expression = _with_closed_eyes(guess.expression, model)
    weights = np.tile(_teacher_weights() / _TEACHER_WEIGHT, (len(kept), 1))
    weights[:, list(_IRISES)] = 0
    fits = fit(
        np.array(points),
        model,
        _map_of_teacher(model),
        settings.prior,
        weights,
        guess=replace(guess, expression=expression),
    )
    fits = replace(fits, expression=_with_closed_eyes(fits.expression, model))
    good = fits.error <= settings.max_error
    samples = [
        replace(
            _without_jaw(_sample(images[i], fits, i, model, None), model),
            source="cew",
            validation=kept[i] >= len(photos) - validation,
        )
        for i in np.flatnonzero(good).tolist()
    ]
    yaw = np.array([[face.camera.euler_degrees().yaw for face in faces], [_yaw(fits, i) for i in range(len(faces))]])
    return Labelled(
        samples,
        float(fits.error[good].mean()),
        np.abs(yaw[0, good]),
        np.abs(yaw[1, good]),
        len(photos) - int(good.sum()),
    )


def _with_closed_eyes(expression: NDArray[np.float32], model: FaceModel) -> NDArray[np.float32]:
    closed, names = expression.copy(), model.expression_names
    for side in ("Left", "Right"):
        closed[:, names.index(f"eyeBlink{side}")] = 1
        closed[:, names.index(f"eyeWide{side}")] = 0
    return closed


def _yaw(fits: Fit, row: int) -> float:
    return Camera(fits.camera[row]).euler_degrees().yaw


def _guess(faces: Sequence[Face], pose: float) -> Guess:
    return Guess(
        np.stack([face.camera.matrix for face in faces]),
        np.stack([face.params.shape for face in faces]),
        np.stack([face.params.expression for face in faces]).clip(0, 1),
        pose,
    )


def _trusted(fits: Fit, faces: Sequence[Face], points: Floats, settings: FitSettings) -> NDArray[np.bool_]:
    """Whether network and fit are near the landmarks."""
    own = [
        100 * point_error(face.landmarks, given) / box_length(given) for face, given in zip(faces, points, strict=True)
    ]
    return np.asarray((np.array(own) <= _MAX_NETWORK_ERROR) & (fits.error <= settings.max_error))


def _unswapped(points: Floats, face: Face) -> Floats:
    """The points, with the two of the lower lid in the order in which the network sees them."""
    own = face.landmarks[[POINTS_68[k] for k in _LOWER_LID], :2]
    swapped = points[_LOWER_LID[::-1]]
    if np.linalg.norm(swapped - own) < np.linalg.norm(points[_LOWER_LID] - own):
        points = points.copy()
        points[_LOWER_LID] = swapped
    return points


def _near(points: Floats, face: Face) -> bool:
    """Whether both are of the same face."""
    low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
    return bool(np.linalg.norm(points.mean(axis=0) - (low + high) / 2) < 0.35 * (high - low).max())


def _teacher_weights() -> Floats:
    weights = np.full(COUNT, _TEACHER_WEIGHT)
    weights[list(_OVAL)] = 0
    return weights


def _without_jaw(sample: Sample, model: FaceModel) -> Sample:
    """The sample with the fitted landmarks inside the face: the outline of the teacher is not accurate."""
    assert sample.camera is not None
    assert sample.shape is not None
    assert sample.expression is not None
    points = Camera(sample.camera).project(model.landmarks(sample.shape, sample.expression))[:, :2].astype(np.float32)
    points[JAW] = np.nan
    return replace(sample, landmarks=points)


def _with_closed_lids(points: Floats) -> Floats:
    closed = points.copy()
    closed[list(_UPPER)] = points[list(_LOWER)]
    return closed


def _map_of_teacher(model: FaceModel) -> VertexMap:
    if POINT_SET not in model.point_sets:
        raise ValueError(f"model: expected a face model with the points of {POINT_SET}, got {list(model.point_sets)}")
    points = model.point_sets[POINT_SET]
    return VertexMap(points.triangles, points.weights, np.array(_LIDS + _LIPS), np.zeros(COUNT, dtype=bool))


def _map_of_people(model: FaceModel) -> VertexMap:
    """The 30 points of CFP."""
    chosen = list(POINTS_68)
    own = {index: k for k, index in enumerate(chosen)}
    pairs = np.array([(own[37], own[41]), (own[38], own[40]), (own[62], own[66])])
    jaw = np.zeros(len(chosen), dtype=bool)
    return VertexMap(model.landmark_triangles[chosen], model.landmark_weights[chosen], pairs, jaw)


def _map_of_both(model: FaceModel) -> VertexMap:
    """The 30 points of CFP, then those of the teacher."""
    people, teacher = _map_of_people(model), _map_of_teacher(model)
    return VertexMap(
        np.concatenate([people.triangles, teacher.triangles]),
        np.concatenate([people.weights, teacher.weights]),
        np.concatenate([people.pairs, teacher.pairs + len(people.triangles)]),
        np.concatenate([people.jaw, teacher.jaw]),
    )


def _sample(image: Image, fits: Fit, i: int, model: FaceModel, points: Floats | None) -> Sample:
    """The stored crop around the fitted landmarks, with parameters and the landmarks that people placed."""
    camera = Camera(fits.camera[i])
    crop, matrix = crop_face(image, camera.project(model.landmarks(fits.shape[i], fits.expression[i])))
    scale = matrix[0, 0]
    own = (scale * camera.matrix).astype(np.float32)
    own[:2, 3] += matrix[:, 2].astype(np.float32)
    own[2, 3] = 0
    landmarks = None
    if points is not None:
        landmarks = np.full((68, 2), np.nan, dtype=np.float32)
        landmarks[list(POINTS_68)] = points * scale + matrix[:, 2]
    return Sample(crop, "", own, fits.shape[i], fits.expression[i], landmarks)


def shown(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Samples with parameters, evenly from all, for a contact sheet."""
    posed = [sample for sample in samples if sample.camera is not None]
    return [posed[row] for row in dict.fromkeys(np.linspace(0, len(posed) - 1, count).astype(int).tolist())]
