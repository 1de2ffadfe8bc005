"""The regressor's training: labelled crops to camera, shape, expression and face score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa.landmarks68 import INNER, JAW, LID_PAIRS, LIP_PAIRS, OUTER_EYE_CORNERS
from tddfa.model.face_model import FaceModel
from tddfa.train.data.augment import CROP_SIZE
from tddfa.train.data.batches import Batch, Crops, batches, in_order
from tddfa.train.engine.checkpoint import load_network
from tddfa.train.engine.device import autocast, torch_device
from tddfa.train.engine.loop import BEST, Outcome, train
from tddfa.train.engine.settings import Folder
from tddfa.train.regressor import face_losses, losses
from tddfa.train.regressor.export import export_regressor
from tddfa.train.regressor.networks import CAMERA_COUNT, Prediction, Regressor, load_onnx
from tddfa.train.regressor.settings import LossWeights, MetaJoint, RegressorSettings
from tddfa.train.regressor.widening import widened

KIND = "regressor"
EXPORTED = "regressor.onnx"

# Augmented crops whose coefficients whiten the outputs, and the part of them that BatchNorm statistics are measured on.
_WHITENING_CROPS, _CALIBRATION_CROPS = 2048, 512
# Minimum standard deviation of an expression's weight, so that rare expressions do not dominate the loss.
_MIN_EXPRESSION_STD = 0.03
_VALIDATION_BATCH = 100
# Width of the hidden layer of the landmarks' confidence.
_CONFIDENCE_HIDDEN = 64
# Width multiplier of a network from scratch if the settings have none.
_WIDTH = 0.5


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch as tensors on the network's device; attributes as in `Batch`, flags as bool tensors."""

    crops: Tensor
    camera: Tensor
    shape: Tensor
    expression: Tensor
    landmarks: Tensor
    has_params: Tensor
    has_landmarks: Tensor
    face: Tensor
    person: Tensor
    covered: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Targets:
        """Move a batch to a device."""
        names = [item.name for item in dataclasses.fields(cls)]
        return cls(**{name: torch.from_numpy(getattr(batch, name)).to(device, non_blocking=True) for name in names})


class RegressorTask:
    """Training task of the regressor for `tddfa.train.engine.loop`; the terms of the loss are those of `LossWeights`.

    Parameters
    ----------
    network : Regressor
    model : FaceModel
        Face model of the labels.
    weights : LossWeights
    meta_joint : MetaJoint
    validation : list of Batch
        Batches that `validate` measures on.
    vertices : int
        Number of vertices of the `Surface`.
    device : torch.device
        On CUDA the network runs in bfloat16, channels last. The authors have not run that path yet.
    training_side : int
        Side of the crops in training, px; labels stay in px of the full crop.
    """

    kind = KIND
    crop_size, unit = CROP_SIZE, float(CROP_SIZE)

    def __init__(
        self,
        network: Regressor,
        model: FaceModel,
        weights: LossWeights,
        meta_joint: MetaJoint,
        validation: list[Batch],
        vertices: int,
        device: torch.device,
        training_side: int = CROP_SIZE,
    ) -> None:
        self.device = device
        self.training_side = training_side
        # the pixels come with channels last, which is the fastest layout to convolve
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.regressor = network
        self.surface = losses.Surface(model, vertices).to(device)
        self.weights = weights
        self.parts = losses.landmark_weights(weights.jaw, weights.brows, weights.nose, weights.eyes, weights.mouth).to(
            device
        )
        self.validation = validation
        self.eyes = face_losses.Eyes(model.expression_names, needed=bool(weights.closure or weights.gaze))
        self.look_ahead = meta_joint.steps
        candidates = {
            "wpdc": dataclasses.replace(weights, wpdc=meta_joint.wpdc, vdc=0.0),
            "vdc": dataclasses.replace(weights, wpdc=0.0, vdc=meta_joint.vdc),
        }
        self.objectives: Mapping[str, Callable[[Batch], dict[str, Tensor]]] = (
            {name: self._objective(each) for name, each in candidates.items()}
            if self.look_ahead
            else {"joint": self._objective(weights)}
        )

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the `Regressor` again."""
        return describe(self.regressor)

    def _objective(self, weights: LossWeights) -> Callable[[Batch], dict[str, Tensor]]:
        def objective(batch: Batch) -> dict[str, Tensor]:
            targets = Targets.of(batch, self.device)
            with autocast(self.device):
                predicted = self.network(reduced(targets.crops, self.training_side))
            return self.terms(predicted, targets, weights)

        return objective

    def terms_with_views(self, batch: Batch, crops: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Compute the loss of labelled crops, and the landmarks (v, 68, 2) of other crops, px, in one pass."""
        targets = Targets.of(batch, self.device)
        with autocast(self.device):
            predicted = self.network(torch.cat([targets.crops, crops]))
        labelled, other = (
            predicted.rows(part) for part in (slice(len(targets.crops)), slice(len(targets.crops), None))
        )
        return self.terms(labelled, targets, self.weights), self._landmarks(other)

    def landmarks(self, network: nn.Module, crops: Tensor) -> Tensor:
        """Predict the landmarks (n, 68, 2) of crops, px."""
        with autocast(self.device):
            predicted: Prediction = network(crops)
        return self._landmarks(predicted)

    def _landmarks(self, predicted: Prediction) -> Tensor:
        return self.surface(predicted.camera, predicted.shape, predicted.expression)[:, :68, :2]

    def terms(self, predicted: Prediction, target: Targets, weights: LossWeights) -> dict[str, Tensor]:
        """Compute the weighted terms of the loss; terms of weight 0 are left out."""
        posed = target.has_params & target.face
        camera = losses.with_depth_of(predicted.camera, target.camera)
        points = self.surface(camera, predicted.shape, predicted.expression)
        target_points = self.surface(target.camera, target.shape, target.expression)
        landmarks, marked = points[:, :68, :2], target.has_landmarks & target.face
        # without parameters the jaw is left out: its landmarks follow the visible outline
        landmark_weights = self.parts.repeat(len(posed), 1)
        landmark_weights[~posed, JAW] = 0
        whitened = self.regressor.whitened(target.camera, target.shape, target.expression)
        split = [CAMERA_COUNT, self.regressor.shape_count, self.regressor.expression_count]
        camera_pair, shape_pair, expression_pair = zip(
            torch.split(predicted.whitened, split, dim=1), torch.split(whitened, split, dim=1), strict=True
        )
        terms: dict[str, Callable[[], Tensor]] = {
            "surface": lambda: losses.surface_distance(points, target_points, posed, weights.depth),
            "landmarks": lambda: losses.landmark_distance(landmarks, target.landmarks, landmark_weights, marked),
            "eyelids": lambda: losses.pair_distance(landmarks, target.landmarks, LID_PAIRS, marked),
            "lips": lambda: losses.pair_distance(landmarks, target.landmarks, LIP_PAIRS, marked),
            "camera": lambda: losses.coefficient_distance(*camera_pair, posed),
            "shape": lambda: losses.coefficient_distance(*shape_pair, posed),
            "expression": lambda: losses.coefficient_distance(*expression_pair, posed),
            "blendshapes": lambda: losses.blendshape_distance(predicted.expression, target.expression, posed),
            "score": lambda: losses.score_loss(predicted.logit, target.face),
            "wpdc": lambda: losses.weighted_parameter_distance(
                self.surface,
                (predicted.camera, target.camera),
                (
                    torch.cat([predicted.shape, predicted.expression], 1),
                    torch.cat([target.shape, target.expression], 1),
                ),
                self.regressor.std,
                posed,
            ),
            "vdc": lambda: losses.vertex_distance(points, target_points, posed),
            "identity": lambda: face_losses.identity_distance(predicted.shape, target.person),
            "closure": lambda: face_losses.lid_closure(
                predicted.expression[:, self.eyes.blink], target.expression[:, self.eyes.blink], posed
            ),
            "gaze": lambda: face_losses.gaze_distance(
                self.eyes.gaze(predicted.expression),
                self.eyes.gaze(target.expression),
                target.expression[:, self.eyes.blink],
                posed,
            ),
            "confidence": lambda: face_losses.confidence_loss(
                self._confidence(predicted), landmarks, target.landmarks, target.covered, marked
            ),
        }
        used = {name: getattr(weights, name) for name in terms}
        return {name: weight * terms[name]() for name, weight in used.items() if weight}

    @staticmethod
    def _confidence(predicted: Prediction) -> Tensor:
        if predicted.confidence is None:
            raise ValueError("confidence: expected a network with a confidence, got one without")
        return predicted.confidence

    def judge(self, batch: Batch) -> float:
        """Compute the VDC of a batch, by which meta-joint optimisation selects (Guo et al., ECCV 2020)."""
        targets = Targets.of(batch, self.device)
        with torch.no_grad(), autocast(self.device):
            predicted = self.network(targets.crops)
        camera = losses.with_depth_of(predicted.camera, targets.camera)
        points = self.surface(camera, predicted.shape, predicted.expression)
        target_points = self.surface(targets.camera, targets.shape, targets.expression)
        return float(losses.vertex_distance(points, target_points, targets.has_params & targets.face))

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure on the validation crops.

        Returns
        -------
        dict of str to float
            ``landmarks`` and ``inner``: mean 2D error of all 68 landmarks and of the 51 without the jaw, in % of the
            distance between the outer eye corners (measured in 3D where it is known, so that it does not shrink with
            yaw). ``lid_gap``: mean error of the distances between upper and lower eyelid, in % of the same length.
            ``error``: mean of the first two. ``score``: fraction of crops whose face score is on the correct side of
            0.5.
        """
        gathered: dict[str, list[Tensor]] = {"landmarks": [], "inner": [], "lid_gap": [], "score": []}
        upper, lower = (torch.tensor(side, device=self.device) for side in zip(*LID_PAIRS, strict=True))
        for batch in self.validation:
            targets = Targets.of(batch, self.device)
            with autocast(self.device):
                predicted = network(targets.crops)
            gathered["score"].append(((predicted.logit > 0) == targets.face).float())
            points = self.surface(predicted.camera, predicted.shape, predicted.expression)[:, :68, :2]
            marks = targets.landmarks
            known = targets.has_landmarks & targets.face & marks.isfinite().all(dim=2).all(dim=1)
            in_3d = self.surface(targets.camera, targets.shape, targets.expression)[:, :68]
            right, left = OUTER_EYE_CORNERS
            length = torch.where(
                targets.has_params,
                (in_3d[:, right] - in_3d[:, left]).norm(dim=1),
                (marks[:, right] - marks[:, left]).norm(dim=1),
            )
            distance = 100 * (points - marks).norm(dim=2) / length[:, None]
            gap = (points[:, upper] - points[:, lower]).norm(dim=2) - (marks[:, upper] - marks[:, lower]).norm(dim=2)
            gathered["landmarks"].append(distance.mean(dim=1)[known])
            gathered["inner"].append(distance[:, INNER].mean(dim=1)[known])
            gathered["lid_gap"].append((100 * gap.abs().mean(dim=1) / length)[known])
        values = {name: float(torch.cat(parts).mean()) for name, parts in gathered.items()}
        return {"error": (values["landmarks"] + values["inner"]) / 2, **values}


def reduced(crops: Tensor, side: int) -> Tensor:
    """Reduce crops (n, h, w, 3) to a side, px."""
    if side == crops.shape[1]:
        return crops
    images = crops.permute(0, 3, 1, 2).float()
    return nn.functional.interpolate(images, (side, side), mode="area").permute(0, 2, 3, 1)


def describe(network: Regressor) -> dict[str, Any]:
    """Return the arguments that build the network again."""
    return {
        "width": network.backbone.width,
        "shape_count": network.shape_count,
        "expression_count": network.expression_count,
        "score_hidden": network.score_hidden,
        "confidence_hidden": network.confidence_hidden,
    }


def load_best(out: Path) -> Regressor:
    """Load the best network of a training, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    return load_network(out / BEST, KIND, lambda described: Regressor(**described))


def whitening(samples: list[Batch]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute mean and standard deviation (12 + s + e,) of the coefficients over batches, where they are known.

    Raises
    ------
    ValueError
        If no crop has coefficients.
    """
    rows = np.concatenate(
        [
            np.concatenate([b.camera.reshape(len(b), -1), b.shape, b.expression], axis=1)[b.has_params & b.face]
            for b in samples
        ]
    )
    if not len(rows):
        raise ValueError("data: expected crops with parameters, got none")
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    first = CAMERA_COUNT + samples[0].shape.shape[1]
    std[first:] = np.maximum(std[first:], _MIN_EXPRESSION_STD)
    return mean, std


def train_regressor(
    settings: RegressorSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Train a regressor, and export the best network to ``regressor.onnx`` when the training is finished.

    Parameters
    ----------
    settings : RegressorSettings
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
    model = FaceModel.load(settings.face_model)
    training, _, validation = split_crops(settings.data, model)
    network = _network(settings, training, model)
    schedule = settings.schedule

    def stream(start: int) -> Iterator[Batch]:
        return _stream(settings, training, model, start, settings.workers)

    task = RegressorTask(
        network,
        model,
        settings.loss_weights,
        settings.meta_joint,
        validation,
        settings.vertices,
        torch_device(device),
        settings.training_side,
    )
    outcome = train(task, stream, schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_best(out, validation[0].crops, settings)
    return outcome


def split_crops(
    data: Sequence[Folder], model: FaceModel, crop_size: int = CROP_SIZE
) -> tuple[Crops, Crops, list[Batch]]:
    """Open the crops: those to train on, those marked for validation, and batches of the latter.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder is missing or damaged, or if no face is marked for validation.
    """
    crops = _crops(data)
    kept = crops.split(validation=True)
    validation = list(in_order(kept, _VALIDATION_BATCH, model, crop_size))
    if not any((batch.has_landmarks & batch.face).any() for batch in validation):
        raise ValueError(
            "data: expected faces marked for validation, got none; `tddfa train fit --validation FRACTION` marks some"
        )
    return crops.split(validation=False), kept, validation


def first_network(settings: RegressorSettings) -> Regressor:
    """Make the network that a training with these settings starts from.

    Raises
    ------
    FileNotFoundError, ValueError
        If data or weights are missing or damaged.
    """
    return _network(settings, _crops(settings.data).split(validation=False), FaceModel.load(settings.face_model))


def _network(settings: RegressorSettings, training: Crops, model: FaceModel) -> Regressor:
    torch.manual_seed(settings.schedule.seed)
    count = -(-min(_WHITENING_CROPS, len(training)) // settings.schedule.batch_size)
    samples = list(islice(_stream(settings, training, model, 0, 0), count))
    mean, std = whitening(samples)
    if settings.init is not None:
        calibration = np.concatenate([batch.crops for batch in samples])[:_CALIBRATION_CROPS]
        network = load_onnx(settings.init, calibration, mean, std)
        if settings.width is not None and settings.width > network.backbone.width:
            network = widened(network, settings.width, settings.schedule.seed)
        return _with_confidence(network, settings)
    network = Regressor(_WIDTH if settings.width is None else settings.width, model.shape_count, model.expression_count)
    network.whiten_by(mean, std)
    return _with_confidence(network, settings)


def _with_confidence(network: Regressor, settings: RegressorSettings) -> Regressor:
    """The network, with layers for the confidence of the landmarks if it is trained and has none."""
    if settings.loss_weights.confidence and network.confidence is None:
        network.add_confidence(_CONFIDENCE_HIDDEN)
    return network


def _stream(
    settings: RegressorSettings, training: Crops, model: FaceModel, start: int, workers: int
) -> Iterator[Batch]:
    return batches(
        training,
        settings.schedule.batch_size,
        settings.augment,
        model,
        seed=settings.schedule.seed,
        start=start,
        balance=settings.yaw_balance,
        workers=workers,
    )


def export_again(out: Path, settings: RegressorSettings) -> Path:
    """Export the best network of a training so far, also while it is running.

    Raises
    ------
    ExportError, FileNotFoundError, ValueError
        If there is no checkpoint or no data, or if the outputs of the exported file differ.
    """
    model = FaceModel.load(settings.face_model)
    crops = _crops(settings.data)
    rows = np.arange(min(len(crops), _VALIDATION_BATCH))
    return export_best(out, next(in_order(crops.take(rows), len(rows), model)).crops, settings)


def _crops(data: Sequence[Folder]) -> Crops:
    return Crops.open([(folder.folder, folder.weight) for folder in data])


def export_best(out: Path, crops: NDArray[np.uint8], settings: RegressorSettings) -> Path:
    """Export the best network of a training to ``regressor.onnx`` in its folder.

    Raises
    ------
    ExportError, FileNotFoundError, CheckpointError
        See `export_regressor`, `load_best`.
    """
    notes = {
        "model": settings.name,
        "face_model": settings.face_model.stem,
        "roi_scale": "1.250",
        "pixels": "crop pixel centres at whole numbers; camera maps face-model units to crop px, x right, y down, "
        "z towards the viewer",
    }
    if settings.licence:
        notes["licence"] = settings.licence
    path = out / EXPORTED
    export_regressor(load_best(out), path, crops, notes)
    return path
