"""3D-aware multiview-consistent fine-tuning: a trained regressor learns to agree on all views of one head.

Each step uses labelled crops with the regressor's own loss, and views of one head from known cameras with the three
terms of `tddfa.train.multiview.losses`: the method of 3DDFA+ (Zeng et al., CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa.geometry.triangulation import SOURCES, consistency
from tddfa.model.face_model import FaceModel
from tddfa.train.data.augment import CROP_SIZE, LANDMARK_SCALE, STORED_SCALE
from tddfa.train.data.batches import Batch, batches
from tddfa.train.data.crops import Crops
from tddfa.train.engine.device import torch_device
from tddfa.train.engine.loop import BEST, Outcome, train
from tddfa.train.jvcr.settings import JvcrSettings
from tddfa.train.jvcr.task import JvcrTask
from tddfa.train.jvcr.task import export_best as export_jvcr_best
from tddfa.train.jvcr.task import load_checkpoint as load_jvcr
from tddfa.train.multiview.data import Heads, ViewBatch, read_heads, rendered_heads, validation_views, view_batches
from tddfa.train.multiview.losses import MultiviewLoss
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings
from tddfa.train.regressor.task import RegressorTask, export_best, first_network, split_crops
from tddfa.train.regressor.task import export_again as export_regressor_again

# Side of a view over that of the crop
_VIEW_SIDE = STORED_SCALE / LANDMARK_SCALE
# Views of each validation head, and sets of four views that are triangulated from.
_VALIDATION_VIEWS, _QUADRUPLES = 16, 60


class Step(NamedTuple):
    """Data of a step: labelled crops, and views of one head."""

    labelled: Batch
    views: ViewBatch


class LandmarkTask(Protocol):
    """The task of a network that predicts landmarks: what fine-tuning takes of `RegressorTask` and `JvcrTask`.

    Attributes
    ----------
    kind : str
    network : nn.Module
    device : torch.device
    crop_size : int
        Side of the network's crops, px.
    unit : float
        Side of a crop in the unit of the loss.
    """

    kind: str
    network: nn.Module
    device: torch.device
    crop_size: int
    unit: float

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the network again."""

    def judge(self, batch: Batch) -> float:
        """Error of labelled crops."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network."""

    def terms_with_views(self, batch: Batch, crops: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Compute the loss of labelled crops, and the landmarks (v, 68, 2) of other crops, px, in one pass."""

    def landmarks(self, network: nn.Module, crops: Tensor) -> Tensor:
        """Predict the landmarks (n, 68, 2) of crops, px."""


class MultiviewTask:
    """Training task for `tddfa.train.engine.loop`: the task of a network that predicts landmarks, and views.

    Parameters
    ----------
    regressor : RegressorTask or JvcrTask
        Network, and loss of labelled crops.
    validation : sequence of ViewBatch
        Views of held-out heads, one batch per head, with at least `SOURCES` + 1 views.
    views : ViewSettings
        Weights of the multiview terms.

    Raises
    ------
    ValueError
        If there are no validation heads, or if one has too few views.
    """

    look_ahead = 0

    def __init__(self, regressor: LandmarkTask, validation: Sequence[ViewBatch], views: ViewSettings) -> None:
        few = min(map(len, validation), default=0)
        if few <= SOURCES:
            raise ValueError(f"validation: expected heads of more than {SOURCES} views, got {few}")
        self.regressor, self.validation = regressor, validation
        self.kind = regressor.kind
        self.network: nn.Module = regressor.network
        self.weight = views.weight * _VIEW_SIDE * regressor.unit
        self.loss = MultiviewLoss(views.source_views, views.jaw_weight).to(regressor.device)
        self.objectives: Mapping[str, Callable[[Step], dict[str, Tensor]]] = {"multiview": self.terms}

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the network again."""
        return self.regressor.describe()

    def judge(self, batch: Step) -> float:
        """Compute the error of the labelled crops."""
        return self.regressor.judge(batch.labelled)

    def terms(self, step: Step) -> dict[str, Tensor]:
        """Compute the weighted terms of the loss."""
        cameras, labels = (self._tensor(value) for value in (step.views.cameras, step.views.landmarks))
        # one pass for both: BatchNorm statistics of views of one head alone would be those of that head
        terms, of_views = self.regressor.terms_with_views(step.labelled, self._tensor(step.views.crops))
        if not self.weight:
            return terms
        views = self.loss(self._in_views(of_views, step.views), cameras, labels)
        return terms | {
            "view_projection": self.weight * views.projection,
            "view_source": self.weight * views.source,
            "view_landmarks": self.weight * views.landmarks,
        }

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure on the validation crops and on views of the validation heads.

        Returns
        -------
        dict of str to float
            Of the crops: the measures of the network's own task, its ``error`` as ``crops``. Of the views, in % of
            sqrt(width * height) of the landmarks' box: ``views``, mean distance between predicted landmarks and labels,
            and ``reprojection``, mean distance between predicted landmarks and projected points that were triangulated
            from four other views. ``spread``: RMS distance of points triangulated from different views from their mean,
            in the unit of the heads. ``error``: sum of ``crops`` and ``reprojection``.
        """
        values = self.regressor.validate(network)
        rows = []
        for views in self.validation:
            points = self._in_views(self.regressor.landmarks(network, self._tensor(views.crops)), views).double()
            rows.append(view_errors(points.cpu().numpy(), views))
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        crops = values.pop("error")
        return {"error": crops + means["reprojection"], "crops": crops, **values, **means}

    def _in_views(self, points: Tensor, views: ViewBatch) -> Tensor:
        """Convert landmarks (v, 68, 2), px of the crops, to fractions of the views."""
        to_view = self._tensor(views.to_view).to(points.dtype)
        return points @ to_view[:, :, :2].transpose(1, 2) + to_view[:, None, :, 2]

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.regressor.device)


def view_errors(points: NDArray[np.floating], views: ViewBatch) -> dict[str, float]:
    """Measure landmarks predicted in views of one head; the measures are those of `MultiviewTask.validate`.

    Parameters
    ----------
    points : ndarray (v, 68, 2)
        Predicted landmarks, in fractions of the views.
    views : ViewBatch
        More than `SOURCES` views.
    """
    if not np.isfinite(points).all():  # the training diverged
        return dict.fromkeys(("views", "reprojection", "spread"), float("nan"))
    sizes = np.sqrt(np.ptp(views.landmarks, axis=1).prod(axis=1))
    result = consistency(views.cameras, points, sizes, _QUADRUPLES, np.random.default_rng(0))
    return {
        "views": float(100 * (np.linalg.norm(points - views.landmarks, axis=2) / sizes[:, None]).mean()),
        "reprojection": result.reprojection_targets,
        "spread": result.spread,
    }


def finetune(
    settings: MultiviewSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Fine-tune a network, and export the best one when the training is finished.

    A regressor is exported to ``regressor.onnx``, a network of JVCR to ``jvcr.onnx``.

    Parameters
    ----------
    settings : MultiviewSettings
    out, resume, device, show
        See `tddfa.train.regressor.task.train_regressor`, also for the exceptions.
    """
    if settings.checkpoint is not None:
        settings = _with_network(settings, settings.checkpoint)
    own, views = settings.own, settings.views
    schedule = own.schedule
    torch.set_num_threads(own.threads)
    model = FaceModel.load(own.face_model)
    size = own.network.size if isinstance(own, JvcrSettings) else CROP_SIZE
    training, held_out, validation = split_crops(own.data, model, size)
    heads, validation_heads = _heads(views, model, training, held_out, schedule.seed)

    def stream(start: int) -> Iterator[Step]:
        labelled = batches(
            training,
            schedule.batch_size,
            own.augment,
            model,
            seed=schedule.seed,
            start=start,
            balance=own.yaw_balance,
            workers=own.workers,
            crop_size=size,
        )
        of_heads = view_batches(
            heads, views.views_per_step, own.augment, seed=schedule.seed, start=start, crop_size=size
        )
        return (Step(*both) for both in zip(labelled, of_heads, strict=False))

    task = MultiviewTask(
        _landmark_task(settings, model, validation, torch_device(device)),
        [validation_views(head, _VALIDATION_VIEWS, size) for head in validation_heads],
        views,
    )
    before = task.validate(task.network)
    outcome = train(task, stream, schedule, out, resume=resume, show=show)
    if outcome.finished:
        _export(out, validation[0].crops, settings)
    return replace(outcome, start=before)


def _with_network(settings: MultiviewSettings, checkpoint: Path) -> MultiviewSettings:
    """The settings with the network of a checkpoint of JVCR: its crops have the size that the network takes."""
    assert settings.jvcr is not None
    return replace(settings, jvcr=replace(settings.jvcr, network=load_jvcr(checkpoint).settings))


def _landmark_task(
    settings: MultiviewSettings, model: FaceModel, validation: list[Batch], device: torch.device
) -> LandmarkTask:
    """Make the task of the network that is fine-tuned."""
    own = settings.own
    if isinstance(own, JvcrSettings):
        assert settings.checkpoint is not None
        return JvcrTask(load_jvcr(settings.checkpoint), "joint", own, model, validation, device)
    network = first_network(own)
    return RegressorTask(
        network, model, own.loss_weights, own.meta_joint, validation, own.vertices, device, own.training_side
    )


def _export(out: Path, crops: NDArray[np.uint8], settings: MultiviewSettings) -> Path:
    own = settings.own
    if isinstance(own, JvcrSettings):
        return export_jvcr_best(load_jvcr(out / BEST), out, crops[:8], own)
    return export_best(out, crops, own)


def export_again(out: Path, settings: MultiviewSettings) -> Path:
    """Export the best network so far, also while it is trained.

    Raises
    ------
    ExportError, FileNotFoundError, ValueError
        If there is no checkpoint or no data, or if the outputs of the exported file differ.
    """
    if settings.regressor is not None:
        return export_regressor_again(out, settings.regressor)
    own = _with_network(settings, out / BEST).own
    assert isinstance(own, JvcrSettings)
    model = FaceModel.load(own.face_model)
    _, _, validation = split_crops(own.data, model, own.network.size)
    return _export(out, validation[0].crops, settings)


def _heads(views: ViewSettings, model: FaceModel, training: Crops, held_out: Crops, seed: int) -> tuple[Heads, Heads]:
    """Open or render the heads to train on and to validate on."""
    if views.folder is not None:
        total = len(read_heads(views.folder, views.views_per_head))
        first = total - views.validation_heads
        if first < 1:
            raise ValueError(f"{views.folder}: expected more than {views.validation_heads} heads, got {total}")
        return (
            read_heads(views.folder, views.views_per_head, lambda number: number >= first),
            read_heads(views.folder, views.views_per_head, lambda number: number < first),
        )
    # `rendered_heads` leaves out crops that are marked for validation; here they are the ones to use
    unmarked = held_out.take(np.arange(len(held_out)))
    unmarked.labels = replace(held_out.labels, validation=np.zeros(len(held_out), dtype=np.bool_))
    return (
        rendered_heads(model, views.heads, views.views_per_head, seed, training),
        rendered_heads(model, views.validation_heads, _VALIDATION_VIEWS, seed + 1, unmarked),
    )
