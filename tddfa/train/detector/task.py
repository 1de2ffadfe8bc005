"""Training of the detector on scenes with labelled faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from FaceBoxes.anchors import Anchors
from FaceBoxes.detections import Detections
from FaceBoxes.detector import Detector
from tddfa._shared.files import write_atomic
from tddfa.evaluate.detections import Sample, match, precision
from tddfa.geometry.boxes import box_iou
from tddfa.model.face_model import FaceModel
from tddfa.train.detector.data import LabelledImage, Source, source
from tddfa.train.detector.export import load_onnx, to_onnx
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.losses import detector_loss, rotation_loss, teacher_loss
from tddfa.train.detector.narrowing import importance, narrowed, with_statistics
from tddfa.train.detector.networks import ANCHORS, FaceBoxes, Predictions
from tddfa.train.detector.scenes import Batch, Scenes
from tddfa.train.detector.settings import DetectorSettings, Folders
from tddfa.train.engine import workers
from tddfa.train.engine.checkpoint import load_network
from tddfa.train.engine.device import autocast, torch_device
from tddfa.train.engine.loop import BEST, Outcome, train

KIND = "detector"
EXPORTED = "faceboxes.onnx"

# Lowest score of detections that count for AP, and the score above which a face is reported.
_MIN_SCORE, _REPORTED_SCORE = 0.02, 0.5
_IOU = 0.5
# Batches by which a network is narrowed.
_NARROWING_BATCHES = 24
# Numbers of the scenes that are made of the validation images: far from those of the training.
_VALIDATION_SEED = 1_000_003


class DetectorTask:
    """Training task of the detector for `tddfa.train.engine.loop`.

    Parameters
    ----------
    network : FaceBoxes
    validation : sequence of LabelledImage
        Images that `validate` measures on.
    box_weight, points_weight, rotations_weight
        See `DetectorSettings`.
    teacher : FaceBoxes or None
        Network whose predictions are learned besides the labels, by `teacher_weight`; with the same prior boxes.
    device : torch.device
        On CUDA the network runs in bfloat16, channels last. The authors have not run that path yet.
    """

    kind = KIND
    look_ahead = 0

    def __init__(
        self,
        network: FaceBoxes,
        validation: Sequence[LabelledImage],
        box_weight: float = 2.0,
        points_weight: float = 0.3,
        rotations_weight: float = 0.0,
        device: torch.device | None = None,
        teacher: FaceBoxes | None = None,
        teacher_weight: float = 1.0,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network: nn.Module = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.anchors = network.anchors
        self.described = network.describe()
        self.validation = validation
        self.weights = {"score": 1.0, "box": box_weight, "points": points_weight, "rotations": rotations_weight}
        if teacher is not None and teacher.anchors != network.anchors:
            raise ValueError("teacher: expected a detector with the prior boxes of the network, got one with others")
        self.teacher = None if teacher is None else teacher.to(self.device).eval()
        self.teacher_weight = teacher_weight
        self.objectives: Mapping[str, Callable[[Batch], dict[str, Tensor]]] = {"faces": self.terms}

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the network again."""
        return self.described

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the weighted terms of the loss."""
        images = self._moved(batch.images).permute(0, 3, 1, 2)
        with autocast(self.device):
            predicted: Predictions = self.network(images)
        predicted = _in_full(predicted)
        prior = self._moved(self.anchors.priors(*batch.images.shape[1:3]).copy())
        face, ignored, boxes, wanted = (
            self._moved(value) for value in (batch.face, batch.ignored, batch.boxes, batch.points)
        )
        loss = detector_loss(*predicted[:3], prior, face, ignored, boxes, wanted)
        terms: dict[str, Tensor] = loss._asdict()
        if predicted.rotations is not None:
            terms["rotations"] = rotation_loss(predicted.rotations[face], self._moved(batch.rotations))
        terms = self._weighted(terms)
        if self.teacher is not None:
            with torch.no_grad(), autocast(self.device):
                taught: Predictions = self.teacher(images)
            distances = self._weighted(teacher_loss(predicted, _in_full(taught)))
            terms |= {f"teacher_{name}": self.teacher_weight * value for name, value in distances.items()}
        return terms

    def _weighted(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.weights[name] * value for name, value in terms.items()}

    def _moved(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def judge(self, batch: Batch) -> float:
        """Compute the loss of a batch."""
        with torch.no_grad():
            return float(torch.stack(list(self.terms(batch).values())).sum())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network; see `measure`."""
        return measure(detector_of(network, self.anchors, self.device), self.validation)


def _in_full(predicted: Predictions) -> Predictions:
    """Predictions in float32."""
    rotations = None if predicted.rotations is None else predicted.rotations.float()
    return Predictions(predicted.logits.float(), predicted.offsets.float(), predicted.points.float(), rotations)


def detector_of(
    network: nn.Module, anchors: Anchors, device: torch.device | None = None
) -> Callable[[NDArray[np.uint8]], Detections]:
    """Wrap a torch network as a `FaceBoxes.Detector` that reports scores from 0.02 on."""

    @torch.no_grad()
    def model(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        predicted: Predictions = network(torch.from_numpy(image).to(device).permute(0, 3, 1, 2))
        outputs = {"scores": predicted.logits.sigmoid(), "offsets": predicted.offsets, "points": predicted.points}
        if predicted.rotations is not None:
            outputs["rotations"] = predicted.rotations
        return {name: value.cpu().numpy() for name, value in outputs.items()}

    return Detector(model, anchors=anchors, score=_MIN_SCORE)


def measure(detector: Callable[[NDArray[np.uint8]], Detections], images: Sequence[LabelledImage]) -> dict[str, float]:
    """Measure a detector on labelled images.

    Returns
    -------
    dict of str to float
        ``ap``: average precision at an IoU of 0.5. ``false``: detections above 0.5 per image without a face; left out
        if there is no such image. ``points``: median error of the five points of the detected faces, in % of the square
        root of the face's area. ``degrees``: median error of their rotations. ``error``: sum of 1 - ``ap`` and
        ``false``.
    """
    samples: list[Sample] = []
    false: list[float] = []
    errors: list[float] = []
    angles: list[float] = []
    for labelled in images:
        found, faces = detector(labelled.image), labelled.faces
        samples.append(
            Sample(found.xyxy.astype(np.float64), found.scores.astype(np.float64), faces.xyxy, faces.ignored)
        )
        if not len(faces):
            false.append(float((found.scores > _REPORTED_SCORE).sum()))
        if len(faces) and len(found) and found.points is not None:
            distance = np.linalg.norm(found.points[:, None] - faces.points, axis=3).mean(axis=2) / faces.size
            errors += [float(row) for row in np.nanmin(distance, axis=0, initial=1.0)[~faces.ignored] if row < 1.0]
        if found.rotations is not None:
            angles += _angles(found, faces)
    values = {"ap": precision([match(sample, _IOU) for sample in samples]).average}
    if false:
        values["false"] = float(np.mean(false))
    if errors:
        values["points"] = 100 * float(np.median(errors))
    if angles:
        values["degrees"] = float(np.median(angles))
    return {"error": 1 - values["ap"] + values.get("false", 0.0), **values}


def _angles(found: Detections, faces: Faces) -> list[float]:
    """Angles in degrees between the rotations of the detected faces and the labelled ones."""
    overlap = box_iou(faces.xyxy, found.xyxy)
    matched = (overlap.max(axis=1, initial=0.0) >= _IOU) & np.isfinite(faces.known_rotations).all(axis=(1, 2))
    if found.rotations is None or not matched.any():
        return []
    predicted = found.rotations[overlap[matched].argmax(axis=1)]
    cosine = (np.einsum("nij,nij->n", predicted, faces.known_rotations[matched]) - 1) / 2
    return [float(angle) for angle in np.degrees(np.arccos(cosine.clip(-1, 1)))]


def load_best(out: Path) -> FaceBoxes:
    """Load the best network of a training, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    return load_network(out / BEST, KIND, FaceBoxes.of_description)


def first_network(settings: DetectorSettings) -> FaceBoxes:
    """Build the network that a training starts from: a new one, or that of `DetectorSettings.init`.

    Raises
    ------
    FileNotFoundError, CheckpointError, ImportFailed
        If the file of `init` is missing, damaged or of a different network.
    ValueError
        If `added_blocks` has not a number for each map.
    """
    if settings.init is None:
        return FaceBoxes(settings.architecture)
    is_checkpoint = settings.init.suffix == ".pt"
    network = load_network(settings.init, KIND, FaceBoxes.of_description) if is_checkpoint else load_onnx(settings.init)
    if settings.architecture.rotations and not network.architecture.rotations:
        network = network.with_rotations()
    return network.with_blocks(settings.added_blocks) if settings.added_blocks else network


def _narrowed(network: FaceBoxes, settings: DetectorSettings, scenes: Scenes) -> FaceBoxes:
    """Leave out the channels that matter least for the first batches, whose statistics the BatchNorms get."""
    task = DetectorTask(network, [], settings.box_weight, settings.points_weight, settings.rotations_weight)
    batches = [scenes.batch(i) for i in range(_NARROWING_BATCHES)]
    losses = (torch.stack(list(task.terms(batch).values())).sum() for batch in batches)
    narrow = narrowed(network, settings.narrow_to, importance(network, losses))

    def forward(each: FaceBoxes) -> None:
        for batch in batches:
            each(torch.from_numpy(batch.images).permute(0, 3, 1, 2))

    return with_statistics(narrow, forward)


def export_best(out: Path, settings: DetectorSettings) -> Path:
    """Export the best network of a training to ``faceboxes.onnx`` in its folder.

    Parameters
    ----------
    out : Path
        Folder of the training.
    settings : DetectorSettings
        Not used: every training's function has it.

    Raises
    ------
    ValueError, FileNotFoundError, CheckpointError
        See `tddfa.train.detector.export.to_onnx`, `load_best`.
    """
    del settings
    notes = "FaceBoxes (Zhang et al., IJCB 2017) with a map of stride 8 and five points. Offsets without variances."
    return write_atomic(out / EXPORTED, to_onnx(load_best(out), {"model": "faceboxes"}, notes))


def scenes_of(settings: DetectorSettings) -> Scenes:
    """Open the training data of a detector.

    Raises
    ------
    FileNotFoundError, ValueError
        If data are missing or damaged, or if ``unlabelled`` images have no predictions.
    """
    return _scenes(settings, settings.data, False)


def _scenes(settings: DetectorSettings, folders: Folders, validation: bool) -> Scenes:
    model = None if settings.face_model is None else FaceModel.load(settings.face_model)
    opened = [
        (kind, source(part.folder, kind, part.first, part.last, model, part.predictions, validation), part.weight)
        for kind, part in folders.parts()
    ]
    empty: list[Source] = [images for kind, images, _ in opened if kind == "empty"]
    return Scenes(
        [(images, weight) for _, images, weight in opened],
        settings.schedule.batch_size,
        settings.layout,
        settings.augment,
        ANCHORS,
        settings.schedule.seed,
        empty[0] if empty else None,
    )


def validation_images(settings: DetectorSettings) -> list[LabelledImage]:
    """Open the validation images, and make `validation_scenes` scenes of them."""
    scenes = _scenes(settings, settings.validation, True)
    photos = [images[i] for images, _ in scenes.sources[: len(settings.validation.boxes)] for i in range(len(images))]
    made = (scenes.scene(np.random.default_rng((_VALIDATION_SEED, i))) for i in range(settings.validation_scenes))
    return photos + [LabelledImage(scene.image, scene.faces) for scene in made]


def train_detector(
    settings: DetectorSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Train a detector, and export the best network to ``faceboxes.onnx`` when the training is finished.

    Parameters
    ----------
    settings : DetectorSettings
    out, resume, device, show
        See `tddfa.train.regressor.task.train_regressor`, also for the exceptions.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.schedule.seed)
    scenes = scenes_of(settings)
    network = first_network(settings)
    if settings.narrow_to:
        network = _narrowed(network, settings, scenes)
    task = DetectorTask(
        network,
        validation_images(settings),
        settings.box_weight,
        settings.points_weight,
        settings.rotations_weight,
        torch_device(device),
        None if settings.teacher is None else load_onnx(settings.teacher),
        settings.teacher_weight,
    )

    def stream(start: int) -> Iterator[Batch]:
        return workers.stream(scenes, start, workers=settings.workers)

    outcome = train(task, stream, settings.schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_best(out, settings)
    return outcome
