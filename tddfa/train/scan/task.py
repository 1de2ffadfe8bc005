"""Training task of the scan landmarker: stage 1 of 2S-SGCN, heat of 68 landmarks at the points of a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tddfa.model.face_model import FaceModel
from tddfa.scan.decoding import decode
from tddfa.scan.head import mean_landmarks
from tddfa.train.engine import workers
from tddfa.train.engine.checkpoint import load_checkpoint, load_network, taken_from
from tddfa.train.engine.device import torch_device
from tddfa.train.engine.loop import BEST, Outcome, train
from tddfa.train.scan.data import UNIT, ScanBatch, ScanBatches
from tddfa.train.scan.export import export_scan
from tddfa.train.scan.losses import adaptive_wing
from tddfa.train.scan.network import GATE, GraphBatch, ScanNetwork
from tddfa.train.scan.settings import ScanTrainingSettings
from tddfa.train.scan.shards import read_scans

KIND, EXPORTED = "scan landmarker", "scan.onnx"

# A landmark whose heat is nowhere higher than this in the ground truth is not on the scan.
_ON_SCAN = 0.3
_VALIDATION_BATCH = 10
# Where a landmark may have heat, around its mean, units of the network.
_WITHIN = 1.3 * GATE
# A larger error than this is a wrong pose, not an inaccurate landmark; mm.
_FAR = 10.0


def graph_batch(batch: ScanBatch, device: torch.device) -> GraphBatch:
    """The graphs of a batch as tensors."""
    arrays = (np.stack([getattr(graph, name) for graph in batch.graphs]) for name in _ARRAYS)
    return GraphBatch(*(part.to(device) for part in GraphBatch.of(*(torch.from_numpy(array) for array in arrays))))


_ARRAYS = ("features", "neighbours", "supers", "cells")


class ScanTask:
    """Training task for `tddfa.train.engine.loop`.

    Parameters
    ----------
    network : ScanNetwork
    validation : sequence of ScanBatch
    device : torch.device
    """

    kind = KIND
    look_ahead = 0

    def __init__(self, network: ScanNetwork, validation: Sequence[ScanBatch], device: torch.device) -> None:
        self.network: nn.Module = network.to(device)
        self.anchors = network.anchors
        self.arguments, self.validation, self.device = network.arguments, validation, device
        self.objectives: Mapping[str, Callable[[ScanBatch], dict[str, Tensor]]] = {"heat": self.terms}

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the network again."""
        return dict(self.arguments)

    def terms(self, batch: ScanBatch) -> dict[str, Tensor]:
        """Compute the loss."""
        graph = graph_batch(batch, self.device)
        heat = self.network(graph)
        target = torch.from_numpy(batch.heat).to(self.device).flatten(0, 1)
        # far from a mean landmark, its heat is zero whatever the network does
        near = torch.cdist(graph.features[:, :3], self.anchors) < _WITHIN
        return {"heat": adaptive_wing(heat[near], target[near])}

    def judge(self, batch: ScanBatch) -> float:
        """Compute the loss of a batch."""
        with torch.no_grad():
            return float(self.terms(batch)["heat"])

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure on the validation scans.

        Returns
        -------
        dict of str to float
            ``error``: mean distance of the decoded landmarks (PD) from the ground truth, mm, of those that are on the
            scan; ``median``; ``far``: their fraction that is more than 10 mm off.
        """
        away = []
        for batch in self.validation:
            heat = network(graph_batch(batch, self.device)).cpu().numpy().reshape(batch.heat.shape)
            if not np.isfinite(heat).all():  # the training diverged
                return dict.fromkeys(("error", "median", "far"), float("nan"))
            for graph, each, target, landmarks, unit in zip(
                batch.graphs, heat, batch.heat, batch.landmarks, batch.unit, strict=True
            ):
                decoded = decode(graph.features[:, :3], each)["pd"]
                away.append((np.linalg.norm(decoded - landmarks, axis=1) * unit)[target.max(axis=0) > _ON_SCAN])
        together = np.concatenate(away)
        return {
            "error": float(together.mean()),
            "median": float(np.median(together)),
            "far": float((together > _FAR).mean()),
        }


def _validation(batches: ScanBatches, count: int) -> list[ScanBatch]:
    """Make the validation batches: a variant of each scan."""
    rng = np.random.default_rng(0)
    starts = range(0, count, _VALIDATION_BATCH)
    return [batches.of([(i, 0) for i in range(k, min(k + _VALIDATION_BATCH, count))], rng) for k in starts]


def train_scan(
    settings: ScanTrainingSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Train stage 1, and export the best network to ``scan.onnx`` when the training is finished.

    Parameters
    ----------
    settings : ScanTrainingSettings
    out, resume, device, show
        See `tddfa.train.regressor.task.train_regressor`, also for the exceptions.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.schedule.seed)
    scans = read_scans(settings.data)
    if len(scans) <= settings.validation:
        raise ValueError(f"data: expected more than {settings.validation} scans, got {len(scans)}")
    mean = mean_landmarks(FaceModel.load(settings.face_model))
    kept = len(scans) - settings.validation
    training = ScanBatches(scans.take(slice(kept)), settings, mean)
    validation = ScanBatches(scans.take(slice(kept, None)), settings, mean, augmented=False)
    anchors = torch.from_numpy(mean / UNIT)
    network = ScanNetwork(settings.width, settings.layers, settings.edge_width, anchors)
    if settings.init is not None:
        state = load_checkpoint(settings.init, KIND)
        with taken_from(settings.init):
            network.load_state_dict(state["network"])
    task = ScanTask(network, _validation(validation, settings.validation), torch_device(device))

    def stream(start: int) -> Iterator[ScanBatch]:
        return workers.stream(training, start, workers=settings.workers)

    outcome = train(task, stream, settings.schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_again(out, settings)
    return outcome


def export_again(out: Path, settings: ScanTrainingSettings) -> Path:
    """Export the best network so far to ``scan.onnx``.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If there is no ``best.pt``, or another one.
    """
    network = load_network(out / BEST, KIND, lambda arguments: ScanNetwork(**arguments))
    path = out / EXPORTED
    export_scan(network, path, settings)
    return path
