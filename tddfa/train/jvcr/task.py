"""JVCR's training in three stages: volumes from crops, points from ground-truth volumes, and both together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa.landmarks68 import INNER, OUTER_EYE_CORNERS
from tddfa.model.face_model import FaceModel
from tddfa.train.data.augment import CROP_SIZE
from tddfa.train.data.batches import Batch, batches, in_order
from tddfa.train.data.crops import Crops
from tddfa.train.engine.checkpoint import load_network
from tddfa.train.engine.device import autocast, torch_device
from tddfa.train.engine.loop import BEST, CHECKPOINT, Outcome, train
from tddfa.train.engine.workers import stream
from tddfa.train.jvcr import losses
from tddfa.train.jvcr.data import PointBatch, PointMaker, points_of
from tddfa.train.jvcr.export import export_jvcr
from tddfa.train.jvcr.networks import Jvcr, Prediction, normalised
from tddfa.train.jvcr.settings import STAGES, JvcrSettings, NetworkSettings
from tddfa.train.jvcr.targets import volumes
from tddfa.train.regressor.networks import load_onnx

KIND = "jvcr"
EXPORTED = "jvcr.onnx"

_VALIDATION_BATCH = 50
# Crops on which the weights of a released regressor get their BatchNorm statistics.
_CALIBRATION_CROPS = 256
# Batches of points whose mean the coordinate stage starts from, and those it is measured on.
_START_BATCHES, _POINT_BATCHES = 4, 8


class JvcrTask:
    """Training task of a stage for `tddfa.train.engine.loop`.

    Parameters
    ----------
    network : Jvcr
        Only the stage's part of it is trained.
    stage : str
        One of `STAGES`.
    settings : JvcrSettings
    model : FaceModel
        Face model of the labels.
    validation : list of Batch or list of PointBatch
        What `validate` measures on; points alone for the coordinate stage.
    device : torch.device
    """

    kind = KIND
    look_ahead = 0
    unit = 1.0

    def __init__(
        self,
        network: Jvcr,
        stage: str,
        settings: JvcrSettings,
        model: FaceModel,
        validation: list[Batch] | list[PointBatch],
        device: torch.device,
    ) -> None:
        self.device, self.stage, self.settings, self.model = device, stage, settings, model
        network.volumes.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.to(device)
        network.volumes.requires_grad_(stage != "coordinates")
        network.coordinates.requires_grad_(stage != "volumes")
        if network.volumes.pyramid is not None:
            # first, what is new learns to read the released features; the volumes are a third cheaper so
            network.volumes.pyramid.freeze(stage == "coordinates" or (stage == "volumes" and settings.init is not None))
        self.network: nn.Module = network
        self.jvcr, self.shape, self.crop_size = network, network.settings, network.settings.size
        self.weights = losses.point_weights(settings.losses.eyes, settings.losses.mouth).to(device)
        self.validation = validation
        terms: dict[str, Callable[[Any], dict[str, Tensor]]] = {
            "volumes": self._volumes,
            "coordinates": self._coordinates,
            "joint": self._joint,
        }
        self.objectives: Mapping[str, Callable[[Any], dict[str, Tensor]]] = {stage: terms[stage]}

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the network again."""
        return self.jvcr.describe()

    def judge(self, batch: Any) -> float:
        """Compute the stage's loss; meta-joint optimisation is not used."""
        with torch.no_grad():
            return float(torch.stack(list(self.objectives[self.stage](batch).values())).sum())

    def targets(self, points: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the ground-truth volumes of points (n, 71, 3), and in which rows z is known.

        Where it is not, the volume in x and y is in the first slice of the deep ones (`losses.volume_loss`).
        """
        deep = points[:, 0, 2].isfinite()
        made = [volumes(points, self.shape.size, self.shape.side, depth) for depth in self.shape.depths]
        if not bool(deep.all()):
            flat = volumes(points[~deep], self.shape.size, self.shape.side, 1)
            for each in made:
                each[~deep, :1] = flat
        return made, deep

    def _volume_terms(self, predicted: list[Tensor], points: Tensor, weight: float) -> dict[str, Tensor]:
        targets, deep = self.targets(points)
        foreground = self.settings.losses.foreground
        return {
            f"volume_{i + 1}": weight * losses.volume_loss(own.float(), target, deep, foreground)
            for i, (own, target) in enumerate(zip(predicted, targets, strict=True))
        }

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Crops and points on the device."""
        crops = torch.from_numpy(batch.crops).to(self.device, non_blocking=True)
        return crops, torch.from_numpy(points_of(batch, self.model)).to(self.device)

    def _volumes(self, batch: Batch) -> dict[str, Tensor]:
        crops, points = self._read(batch)
        with autocast(self.device, half=self.settings.half):
            predicted = self.jvcr.volumes(normalised(crops))
        return self._volume_terms(predicted, points, 1.0)

    def _coordinates(self, batch: PointBatch) -> dict[str, Tensor]:
        points = torch.from_numpy(batch.points).to(self.device)
        last = volumes(points, self.shape.size, self.shape.side, self.shape.side)
        with autocast(self.device, half=self.settings.half):
            predicted = self.jvcr.coordinates(last)
        return {"coordinates": self._distance(predicted, points)}

    def _joint(self, batch: Batch) -> dict[str, Tensor]:
        crops, points = self._read(batch)
        with autocast(self.device, half=self.settings.half):
            predicted = self.network(crops)
        terms = {"coordinates": self._distance(predicted.points, points)}
        return terms | self._volume_terms(list(predicted.volumes), points, self.settings.losses.volumes)

    def terms_with_views(self, batch: Batch, crops: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Compute the joint loss of labelled crops, and the landmarks (v, 68, 2) of other crops, px, in one pass."""
        own, points = self._read(batch)
        with autocast(self.device, half=self.settings.half):
            predicted = self.network(torch.cat([own, crops]))
        count = len(own)
        terms = {"coordinates": self._distance(predicted.points[:count], points)}
        volumes = [volume[:count] for volume in predicted.volumes]
        terms |= self._volume_terms(volumes, points, self.settings.losses.volumes)
        return terms, predicted.points[count:, :68, :2].float()

    def landmarks(self, network: nn.Module, crops: Tensor) -> Tensor:
        """Predict the landmarks (n, 68, 2) of crops, px."""
        with autocast(self.device):
            predicted: Prediction = network(crops)
        return predicted.points[:, :68, :2]

    def _distance(self, predicted: Tensor, points: Tensor) -> Tensor:
        kind = self.settings.losses.coordinates
        return losses.coordinate_loss(predicted.float(), points, self.shape.size, self.weights, kind)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the stage.

        Returns
        -------
        dict of str to float
            ``error`` is the mean squared error of the volumes (stage volumes), the mean 3D distance in % of the crop
            (coordinates) or the mean of ``gte`` and ``inner`` (joint): the GTE of crops with depth, % of the outer eye
            distance, and the 2D error of the inner 51 landmarks of photos with 2D landmarks, % of the same. Where one
            of them is missing, the other counts.
        """
        assert isinstance(network, Jvcr)
        if self.stage == "coordinates":
            return {"error": float(np.mean([self._point_error(network, batch) for batch in self.validation]))}
        rows: dict[str, list[Tensor]] = {name: [] for name in ("error", "gte", "nme", "inner")}
        for batch in self.validation:
            assert isinstance(batch, Batch)
            crops, points = self._read(batch)
            known = points[:, :, :2].isfinite().all(dim=2).all(dim=1)
            if not known.any():
                continue
            crops, points = crops[known], points[known]
            with autocast(self.device):
                predicted = network.volumes(normalised(crops))
                if self.stage == "joint":
                    for name, values in _errors(network.coordinates(predicted[-1]), points).items():
                        rows[name].append(values)
            targets, deep = self.targets(points)
            pairs = zip(predicted, targets, strict=True)
            error = torch.stack([losses.volume_loss(own.float(), target, deep) for own, target in pairs]).sum()
            rows["error"].append(error.reshape(1))
        means = {name: float(torch.cat(parts).mean()) for name, parts in rows.items() if parts and sum(map(len, parts))}
        if self.stage == "volumes":
            return {"error": means["error"]}
        means["volumes"] = means.pop("error")
        scored = [means[name] for name in ("gte", "inner") if name in means]
        return {"error": float(np.mean(scored)), **means}

    def _point_error(self, network: Jvcr, batch: Any) -> float:
        points = torch.from_numpy(batch.points).to(self.device)
        last = volumes(points, self.shape.size, self.shape.side, self.shape.side)
        return float(100 * (network.coordinates(last) - points).norm(dim=2).mean() / self.shape.size)


def _errors(predicted: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Errors of the 68 landmarks per crop, %: GTE and 3D NME where z is known, else of the inner 51 in 2D."""
    predicted, points = predicted[:, :68], points[:, :68]
    deep = points[:, 0, 2].isfinite()
    right, left = OUTER_EYE_CORNERS
    level = predicted.clone()
    level[..., 2] -= predicted[..., 2].mean(dim=1, keepdim=True)
    distance = (level - points)[deep].norm(dim=2).mean(dim=1)
    whole = points[deep]
    box = (whole[..., :2].amax(dim=1) - whole[..., :2].amin(dim=1)).prod(dim=1).sqrt()
    flat = (predicted - points)[~deep][:, INNER, :2].norm(dim=2).mean(dim=1)
    marks = points[~deep][..., :2]
    return {
        "gte": 100 * distance / (whole[:, right] - whole[:, left]).norm(dim=1),
        "nme": 100 * distance / box,
        "inner": 100 * flat / (marks[:, right] - marks[:, left]).norm(dim=1),
    }


def load_best(out: Path, stage: str) -> Jvcr:
    """Load the best network of a stage, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    return load_checkpoint(out / stage / BEST)


def load_checkpoint(path: Path) -> Jvcr:
    """Load the network of a checkpoint, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If it is missing, damaged or of a different network.
    """
    return load_network(path, KIND, lambda described: Jvcr(NetworkSettings(**described)))


def train_jvcr(
    settings: JvcrSettings,
    out: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    show: bool = True,
) -> Outcome:
    """Train the stages, and export the best network of the joint one to ``jvcr.onnx``.

    Parameters
    ----------
    settings : JvcrSettings
    out : Path
        Folder of the stages' folders and of the exported network.
    resume : bool
        Continue from the last checkpoint in `out`; stages before it are not repeated.
    device, show
        See `tddfa.train.regressor.task.train_regressor`, also for the exceptions.

    Returns
    -------
    Outcome
        Of the last stage that was trained.
    """
    torch.set_num_threads(settings.threads)
    model = FaceModel.load(settings.face_model)
    crops = Crops.open([(folder.folder, folder.weight) for folder in settings.data])
    begun = [name for name in STAGES if (out / name / CHECKPOINT).is_file()]
    if settings.stage == "all" and begun and not resume:
        there = out / begun[-1] / CHECKPOINT
        raise FileExistsError(f"{there}: a training is there already; resume it, or choose another folder")
    stages = (settings.stage,) if settings.stage != "all" else STAGES[STAGES.index(begun[-1]) if begun else 0 :]
    outcome = None
    for name in stages:
        outcome = _train_stage(
            name, settings, crops, model, out, resume=resume and name in begun, device=device, show=show
        )
        if not outcome.finished:
            return outcome
    assert outcome is not None
    if stages[-1] == "joint":
        export_again(out, settings)
    return outcome


def _train_stage(
    stage: str, settings: JvcrSettings, crops: Crops, model: FaceModel, out: Path, *, resume: bool, device: str,
    show: bool,
) -> Outcome:  # fmt: skip
    schedule = settings.schedule_of(stage)
    training, kept = crops.split(validation=False), crops.split(validation=True)
    size = settings.network.size
    if not kept.labels.face.any():
        raise ValueError("data: expected faces marked for validation, got none")
    validation: Any
    if stage == "coordinates":
        options = {"balance": settings.yaw_balance, "max_turn": settings.max_turn}
        maker = PointMaker.of(
            training, model, schedule.batch_size, size, settings.augment, seed=schedule.seed, **options
        )
        held_out = PointMaker.of(
            kept, model, _VALIDATION_BATCH, size, settings.augment, seed=schedule.seed + 1, **options
        )
        validation = [held_out.batch(number) for number in range(_POINT_BATCHES)]
        network = _stage_start(stage, settings, training, model, out, maker)

        def made(start: int) -> Iterator[Any]:
            return stream(maker, start)
    else:
        validation = list(in_order(kept, _VALIDATION_BATCH, model, size))
        network = _stage_start(stage, settings, training, model, out, None)

        def made(start: int) -> Iterator[Any]:
            return batches(
                training,
                schedule.batch_size,
                settings.augment,
                model,
                seed=schedule.seed,
                start=start,
                balance=settings.yaw_balance,
                workers=settings.workers,
                crop_size=size,
            )

    task = JvcrTask(network, stage, settings, model, validation, torch_device(device))
    return train(task, made, schedule, out / stage, resume=resume, show=show)


def _stage_start(
    stage: str, settings: JvcrSettings, training: Crops, model: FaceModel, out: Path, maker: PointMaker | None
) -> Jvcr:
    """Make the network that a stage starts from."""
    torch.manual_seed(settings.schedule.seed)
    network = Jvcr(settings.network)
    if stage == "volumes" and settings.init is not None:
        assert network.volumes.pyramid is not None
        rows = np.linspace(0, len(training) - 1, min(_CALIBRATION_CROPS, len(training))).astype(int)
        calibration = next(in_order(training.take(rows), len(rows), model, CROP_SIZE)).crops
        released = load_onnx(settings.init, calibration).backbone
        if released.width != settings.network.width:
            raise ValueError(
                f"{settings.init}: expected a MobileNet of width {settings.network.width:g}, got {released.width:g}"
            )
        network.volumes.pyramid.backbone.load_state_dict(released.state_dict())
    if stage == "coordinates":
        assert maker is not None
        mean = np.mean([maker.batch(number).points.mean(axis=0) for number in range(_START_BATCHES)], axis=0)
        network.coordinates.start_from(torch.from_numpy(mean))
    if stage == "joint":
        for part in ("volumes", "coordinates"):
            best = load_best(out, part)
            if best.settings != settings.network:
                raise ValueError(
                    f"{out / part / BEST}: expected a network {settings.network}, got {best.settings}; "
                    "train this stage again, or into another folder"
                )
            getattr(network, part).load_state_dict(getattr(best, part).state_dict())
    return network


def export_again(out: Path, settings: JvcrSettings) -> Path:
    """Export the best network of the joint stage so far to ``jvcr.onnx``, also while it is trained.

    Raises
    ------
    ExportError, FileNotFoundError, ValueError
        If there is no checkpoint or no data, or if the outputs of the exported file differ.
    """
    model = FaceModel.load(settings.face_model)
    crops = Crops.open([(folder.folder, folder.weight) for folder in settings.data])
    network = load_best(out, "joint")
    rows = np.arange(min(len(crops), 8))
    compared = next(in_order(crops.take(rows), len(rows), model, network.settings.size)).crops
    return export_best(network, out, compared, settings)


def export_best(network: Jvcr, out: Path, crops: NDArray[np.uint8], settings: JvcrSettings) -> Path:
    """Export a network to ``jvcr.onnx`` in a folder, with the settings' name and licence.

    Raises
    ------
    ExportError
        See `export_jvcr`.
    """
    notes = {
        "model": settings.name,
        "pixels": "crop pixel centres at whole numbers; points in crop px, x right, y down, z towards the viewer",
    }
    if settings.licence:
        notes["licence"] = settings.licence
    path = out / EXPORTED
    export_jvcr(network, path, crops, notes)
    return path
