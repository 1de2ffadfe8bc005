"""Training of the detector on scenes with labelled faces, with a teacher or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from FaceBoxes import Anchors, Detections, Detector
from FaceBoxes.anchors import METADATA_KEY
from tddfa._shared.files import write_atomic
from tddfa.evaluate.detections import Sample, match, precision
from tddfa.geometry.boxes import box_iou
from tddfa.model.face_model import FaceModel
from tddfa.train.detector.data import Source, source
from tddfa.train.detector.losses import detector_loss
from tddfa.train.detector.networks import (
    FaceBoxes,
    blended,
    load_onnx,
    map_of_priors,
    shift_scores,
    to_onnx,
    train_only,
)
from tddfa.train.detector.scenes import Batch, Scenes, box_of
from tddfa.train.detector.settings import DetectorSettings, Folders
from tddfa.train.detector.teacher import Teacher
from tddfa.train.engine import workers
from tddfa.train.engine.checkpoint import CheckpointError, load_checkpoint
from tddfa.train.engine.device import autocast, torch_device
from tddfa.train.engine.loop import BEST, Outcome, train

KIND = "detector"
EXPORTED = "faceboxes.onnx"

# Lowest score of detections that count for AP, and the score above which the detector reports a face.
_MIN_SCORE, _REPORTED_SCORE = 0.05, 0.5
# IoU from which a face counts as detected; low, because boxes derived from landmarks are inexact.
_IOU = 0.4


class DetectorTask:
    """Training task of the detector for `tddfa.train.engine.loop`.

    Parameters
    ----------
    network : FaceBoxes
    validation : sequence of Source
        Images that `validate` measures on.
    negative_ratio, box_weight, feature_maps
        See `DetectorSettings`.
    device : torch.device
        On CUDA the network runs in bfloat16, channels last. The authors have not run that path yet.
    """

    kind = KIND
    look_ahead = 0

    def __init__(
        self,
        network: FaceBoxes,
        validation: Sequence[Source],
        negative_ratio: float = 7.0,
        box_weight: float = 2.0,
        feature_maps: tuple[int, ...] = (0, 1, 2),
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network: nn.Module = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen_norms = network.frozen_norms
        self.validation = validation
        self.negative_ratio, self.box_weight, self.feature_maps = negative_ratio, box_weight, feature_maps
        train_only(network, feature_maps)
        self.objectives: Mapping[str, Callable[[Batch], dict[str, Tensor]]] = {"faces": self.terms}

    def describe(self) -> dict[str, Any]:
        """Return whether the BatchNorms are frozen."""
        return {"frozen_norms": self.frozen_norms}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the weighted terms of the loss."""
        images = self._moved(batch.images).permute(0, 3, 1, 2)
        with autocast(self.device):
            logits, offsets = self.network(images)
        targets = {
            "target_scores": batch.scores,
            "target_offsets": batch.offsets,
            "score_known": batch.score_known & np.isin(map_of_priors(*batch.images.shape[1:3]), self.feature_maps),
            "box_known": batch.box_known,
        }
        moved = {name: self._moved(value) for name, value in targets.items()}
        loss = detector_loss(logits.float(), offsets.float(), **moved, negative_ratio=self.negative_ratio)
        return {"score": loss.score, "box": self.box_weight * loss.box}

    def _moved(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def judge(self, batch: Batch) -> float:
        """Compute the loss of a batch."""
        with torch.no_grad():
            return float(torch.stack(list(self.terms(batch).values())).sum())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network; see `measure`."""
        return measure(detector_of(network, self.device), self.validation)


def detector_of(network: nn.Module, device: torch.device | None = None) -> Callable[[NDArray[np.uint8]], Detections]:
    """Wrap a torch network as a `FaceBoxes.Detector` that reports scores from 0.05 on."""

    @torch.no_grad()
    def model(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        logits, offsets = network(torch.from_numpy(image).to(device).permute(0, 3, 1, 2))
        return {"scores": logits.sigmoid().cpu().numpy(), "offsets": offsets.cpu().numpy()}

    return Detector(model, score=_MIN_SCORE)


def measure(detector: Callable[[NDArray[np.uint8]], Detections], sources: Sequence[Source]) -> dict[str, float]:
    """Measure a detector on labelled images.

    Returns
    -------
    dict of str to float
        ``ap``: average precision at an IoU of 0.4, on images all of whose faces are labelled. ``recall``: fraction of
        the labelled faces of other images that are detected with a score above 0.5. ``false``: detections above 0.5 per
        image without a face. A measure without images is left out. ``error``: sum of 1 - ``ap``, 1 - ``recall`` and
        ``false``.
    """
    samples: list[Sample] = []
    detected: list[bool] = []
    false: list[float] = []
    for images in sources:
        for i in range(len(images)):
            labelled = images[i]
            detections = detector(labelled.image)
            ground_truth = np.array([box_of(labelled, face) for face in labelled.faces]).reshape(-1, 4)
            boxes, reported = detections.xyxy.astype(np.float64), detections.scores > _REPORTED_SCORE
            if labelled.complete and not len(ground_truth):
                false.append(float(reported.sum()))
            elif labelled.complete:
                samples.append(Sample(boxes, detections.scores.astype(np.float64), ground_truth, labelled.ignored))
            else:
                best = box_iou(ground_truth[~labelled.ignored], boxes[reported]).max(axis=1, initial=0.0)
                detected += (best >= _IOU).tolist()
    values = {}
    if samples:
        values["ap"] = precision([match(sample, _IOU) for sample in samples]).average
    if detected:
        values["recall"] = float(np.mean(detected))
    if false:
        values["false"] = float(np.mean(false))
    error = sum(value if name == "false" else 1 - value for name, value in values.items())
    return {"error": float(error), **values}


def load_best(out: Path) -> FaceBoxes:
    """Load the best network of a training, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    path = out / BEST
    state = load_checkpoint(path, KIND)
    network = FaceBoxes()
    try:
        network.load_state_dict(state["network"])
        network.frozen_norms = bool(state["describe"]["frozen_norms"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a complete checkpoint: {' '.join(str(error).split())}") from error
    return network.eval()


def export_best(out: Path, settings: DetectorSettings) -> Path:
    """Export the best network of a training to ``faceboxes.onnx`` in its folder.

    Parameters
    ----------
    out : Path
        Folder of the training.
    settings : DetectorSettings
        `init_fraction` and `logit_shifts` change the exported weights.

    Raises
    ------
    ValueError, FileNotFoundError, CheckpointError
        See `tddfa.train.detector.networks.to_onnx`, `load_best`.
    """
    metadata = {
        "model": "faceboxes",
        "priors": "FaceBoxes: steps 32,64,128; sizes 32 (4x4), 64 (2x2), 128; 256; 512; variances 0.1, 0.2",
        METADATA_KEY: Anchors().to_json(),
    }
    notes = "FaceBoxes (Zhang et al., IJCB 2017). Offsets without their variances."
    network = load_best(out)
    if settings.init is not None and settings.init_fraction:
        network = blended(load_onnx(settings.init), network, settings.init_fraction)
    shift_scores(network, settings.logit_shifts)
    return write_atomic(out / EXPORTED, to_onnx(network, metadata, notes))


def scenes_of(settings: DetectorSettings) -> Scenes:
    """Open the training data of a detector.

    Raises
    ------
    FileNotFoundError, ValueError
        If data or the teacher are missing or damaged, or if ``unlabelled`` images have no teacher.
    """
    for part in settings.data.unlabelled:
        if settings.teacher is None:
            raise ValueError(f"{part.folder}: unlabelled images need a teacher, got none")
    teacher = None if settings.teacher is None else Teacher(settings.teacher)
    return Scenes(
        _opened(settings, settings.data),
        settings.schedule.batch_size,
        settings.layout,
        settings.augment,
        settings.schedule.seed,
        teacher,
    )


def _opened(settings: DetectorSettings, folders: Folders, validation: bool = False) -> list[tuple[Source, float]]:
    model = None if settings.face_model is None else FaceModel.load(settings.face_model)
    return [
        (source(part.folder, kind, part.first, part.last, model, validation), part.weight)
        for kind, part in folders.parts()
    ]


def train_detector(
    settings: DetectorSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Train a detector, and export the best network to ``faceboxes.onnx`` when the training is finished.

    Parameters
    ----------
    settings : DetectorSettings
    out : Path
        Folder for checkpoints, logs and the exported network.
    resume : bool
        Continue from the checkpoint in `out`; the settings must be the same.
    device : str
        Device of torch.
    show : bool
        Show a progress bar.

    Raises
    ------
    FileNotFoundError, ValueError
        If data, weights or the checkpoint to resume from are missing or damaged.
    FileExistsError
        If `out` has a checkpoint and `resume` is False.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.schedule.seed)
    scenes = scenes_of(settings)
    network = FaceBoxes() if settings.init is None else load_onnx(settings.init)
    task = DetectorTask(
        network,
        [kept for kept, _ in _opened(settings, settings.validation, True)],
        settings.negative_ratio,
        settings.box_weight,
        settings.feature_maps,
        torch_device(device),
    )

    def stream(start: int) -> Iterator[Batch]:
        return workers.stream(scenes, start, workers=settings.workers)

    outcome = train(task, stream, settings.schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_best(out, settings)
    return outcome
