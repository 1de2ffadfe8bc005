"""The detector's training: scenes of known faces, or of what a teacher sees, to scores and offsets of prior boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from FaceBoxes.detector import Detections, Detector
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
from tddfa.train.engine.loop import BEST, Outcome, train

KIND = "detector"
EXPORTED = "faceboxes.onnx"

# AP goes down to this score; what the detector shows is over the other.
_LOWEST_SCORE, _OWN_SCORE = 0.05, 0.5
# Overlap from which a face was found; boxes made from landmarks are less exact than those that were drawn.
_IOU = 0.4


class DetectorTask:
    """What `tddfa.train.engine.loop` trains.

    Parameters
    ----------
    network : FaceBoxes
    validation : sequence of Source
        What to measure on.
    negative_ratio, box_weight, feature_maps
        See `DetectorSettings`.
    device : torch.device
        On CUDA the network runs in bfloat16, channels last. That path has not been run yet by the authors.
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
        """Tell whether the BatchNorms are frozen."""
        return {"frozen_norms": self.frozen_norms}

    def precision(self) -> AbstractContextManager[Any]:
        """In what the network computes: bfloat16 on CUDA."""
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of the loss, weighted."""
        images = self._moved(batch.images).permute(0, 3, 1, 2)
        with self.precision():
            logits, offsets = self.network(images)
        wanted = {
            "target_scores": batch.scores, "target_offsets": batch.offsets,
            "counts": batch.counts & np.isin(map_of_priors(*batch.images.shape[1:3]), self.feature_maps),
            "placed": batch.placed,
        }  # fmt: skip
        moved = {name: self._moved(value) for name, value in wanted.items()}
        loss = detector_loss(logits.float(), offsets.float(), **moved, negative_ratio=self.negative_ratio)
        return {"score": loss.score, "box": self.box_weight * loss.box}

    def _moved(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def judge(self, batch: Batch) -> float:
        """Loss of a batch."""
        with torch.no_grad():
            return float(torch.stack(list(self.terms(batch).values())).sum())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network; see `measure`."""
        return measure(detector_of(network, self.device), self.validation)


def detector_of(network: nn.Module, device: torch.device | None = None) -> Callable[[NDArray[np.uint8]], Detections]:
    """A torch network as `FaceBoxes.Detector`, down to scores of 0.05."""

    @torch.no_grad()
    def model(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        logits, offsets = network(torch.from_numpy(image).to(device).permute(0, 3, 1, 2))
        return {"scores": logits.sigmoid().cpu().numpy(), "offsets": offsets.cpu().numpy()}

    return Detector(model, score=_LOWEST_SCORE)


def measure(detector: Callable[[NDArray[np.uint8]], Detections], sources: Sequence[Source]) -> dict[str, float]:
    """Measure a detector.

    Returns
    -------
    dict of str to float
        ``ap``: average precision at an IoU of 0.4, of pictures all of whose faces are known; ``recall``: share of the
        faces of the others that are found at a score of 0.5; ``false``: false faces a picture that has none, at 0.5.
        What there is nothing for is left out. ``error``: what each is short of its best, added.
    """
    samples, found, false = [], [], []
    for pictures in sources:
        for i in range(len(pictures)):
            piece = pictures[i]
            seen = detector(piece.image)
            truth = np.array([box_of(piece, face) for face in piece.faces]).reshape(-1, 4)
            boxes, sure = seen.xyxy.astype(np.float64), seen.scores > _OWN_SCORE
            if piece.complete and not len(truth):
                false.append(float(sure.sum()))
            elif piece.complete:
                samples.append(Sample(boxes, seen.scores.astype(np.float64), truth, piece.ignored))
            else:
                best = box_iou(truth[~piece.ignored], boxes[sure]).max(axis=1, initial=0.0)
                found += (best >= _IOU).tolist()
    values = {}
    if samples:
        values["ap"] = precision([match(sample, _IOU) for sample in samples]).average
    if found:
        values["recall"] = float(np.mean(found))
    if false:
        values["false"] = float(np.mean(false))
    error = sum(value if name == "false" else 1 - value for name, value in values.items())
    return {"error": float(error), **values}


def load_best(out: Path) -> FaceBoxes:
    """Load the best moving average of a training, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If there is none.
    """
    path = out / BEST
    state = load_checkpoint(path, KIND)
    network = FaceBoxes()
    try:
        network.load_state_dict(state["network"])
        network.frozen_norms = bool(state["describe"]["frozen_norms"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint: {' '.join(str(error).split())}") from error
    return network.eval()


def export_best(out: Path, settings: DetectorSettings) -> Path:
    """Export a training's best moving average to ``faceboxes.onnx`` in its folder.

    Parameters
    ----------
    out : Path
        The folder.
    settings : DetectorSettings
        `init_fraction` and `logit_shifts` change what is exported.

    Raises
    ------
    ValueError, FileNotFoundError, CheckpointError
        See `tddfa.train.detector.networks.to_onnx`, `load_best`.
    """
    metadata = {
        "model": "faceboxes",
        "priors": "FaceBoxes: steps 32,64,128; sizes 32 (4x4), 64 (2x2), 128; 256; 512; variances 0.1, 0.2",
    }
    notes = "FaceBoxes (Zhang et al., IJCB 2017). Offsets without their variances."
    network = load_best(out)
    if settings.init is not None and settings.init_fraction:
        network = blended(load_onnx(settings.init), network, settings.init_fraction)
    shift_scores(network, settings.logit_shifts)
    return write_atomic(out / EXPORTED, to_onnx(network, metadata, notes))


def scenes_of(settings: DetectorSettings) -> Scenes:
    """Open what a detector is trained on.

    Raises
    ------
    FileNotFoundError, ValueError
        If data or the teacher are missing or damaged, or if ``unlabelled`` photos have no teacher.
    """
    for part in settings.data.unlabelled:
        if settings.teacher is None:
            raise ValueError(f"{part.folder}: unlabelled photos need a teacher, got none")
    teacher = None if settings.teacher is None else Teacher(settings.teacher)
    return Scenes(
        _opened(settings, settings.data),
        settings.schedule.batch_size, settings.layout, settings.augment, settings.schedule.seed, teacher,
    )  # fmt: skip


def _opened(settings: DetectorSettings, folders: Folders, validation: bool = False) -> list[tuple[Source, float]]:
    model = None if settings.face_model is None else FaceModel.load(settings.face_model)
    return [
        (source(part.folder, kind, part.first, part.last, model, validation), part.weight)
        for kind, part in folders.parts()
    ]


def train_detector(
    settings: DetectorSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Train, keep the best, and export it to ``faceboxes.onnx`` when the training has come to its end.

    Parameters
    ----------
    settings : DetectorSettings
    out : Path
        Folder for checkpoints, logs and the exported network.
    resume : bool
        Go on from its checkpoint; the settings must be the same.
    device : str
        Of torch.
    show : bool
        Show a progress bar.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If data, weights or checkpoints are missing, damaged, or in the way.
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
        torch.device(device),
    )

    def stream(start: int) -> Iterator[Batch]:
        return workers.stream(scenes, start, workers=settings.workers)

    outcome = train(task, stream, settings.schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_best(out, settings)
    return outcome
