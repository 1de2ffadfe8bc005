"""The score's training: a small network on features of the frozen regressor replaces the score in its file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa._shared.arrays import checked
from tddfa._shared.files import write_atomic
from tddfa._shared.terminal.progress import progress
from tddfa.evaluate.metrics import area_under_roc
from tddfa.train.data.shards import read_arrays
from tddfa.train.engine.checkpoint import load_network
from tddfa.train.engine.device import torch_device
from tddfa.train.engine.loop import BEST, CHECKPOINT, Outcome, train
from tddfa.train.engine.workers import stream
from tddfa.train.regressor.export import with_score
from tddfa.train.regressor.networks import score_layers
from tddfa.train.score.samples import BATCH, PASSES, SampleMaker, Samples, with_features
from tddfa.train.score.settings import ScoreSettings

KIND = "score"
EXPORTED = "regressor.onnx"
SAMPLES, VALIDATION, FEATURES = "samples.npz", "validation.npz", "features.onnx"
"""Files of the training's folder: samples to train and to validate on, and the regressor that makes them."""

RIGHT, WRONG = 8.0, 15.0
"""Errors, %, under and over which validation counts an alignment as right and as wrong."""


class ScoreHead(nn.Module):
    """Features to the logit of the score: linear, and a hidden layer that is added.

    Parameters
    ----------
    channels : int
        Number of features.
    hidden : int
        Width of the hidden layer; 0 has none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)
        self.layers = score_layers(channels, hidden) if hidden else None
        self.hidden = hidden
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def whiten_by(self, features: NDArray[np.float16]) -> None:
        """Set mean and standard deviation of the features over samples (n, c)."""
        values = torch.from_numpy(features.astype(np.float32))
        self.mean.copy_(values.mean(dim=0))
        self.std.copy_(values.std(dim=0).clamp_min(1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits (n,) of features (n, c)."""
        whitened = (features - self.mean) / self.std
        logit = self.linear(whitened)
        return (logit if self.layers is None else logit + self.layers(whitened))[:, 0]

    @torch.no_grad()
    def folded(self) -> tuple[NDArray[np.float32], float, list[NDArray[np.float32]]]:
        """Weights for features as they are, the arguments of `tddfa.train.regressor.export.with_score`."""

        def fold(layer: nn.Linear) -> tuple[Tensor, Tensor]:
            weight = layer.weight.double() / self.std.double()
            return weight, layer.bias.double() - weight @ self.mean.double()

        def plain(value: Tensor) -> NDArray[np.float32]:
            return np.asarray(value.cpu().numpy(), dtype=np.float32)

        weight, bias = fold(self.linear)
        layers: list[NDArray[np.float32]] = []
        if self.layers is not None:
            first, _, second = self.layers
            assert isinstance(first, nn.Linear)
            assert isinstance(second, nn.Linear)
            layers = [*(plain(value) for value in fold(first)), plain(second.weight)]
        return plain(weight[0]), float(bias[0]), layers


@dataclass(frozen=True)
class _Batch:
    features: Tensor
    right: Tensor


class ScoreTask:
    """Training task of the score for `tddfa.train.engine.loop`: binary cross entropy of "the alignment is right".

    Parameters
    ----------
    network : ScoreHead
    validation : Samples
        Samples that `validate` measures on.
    max_error : float
        See `ScoreSettings`.
    device : torch.device
    """

    kind = KIND
    look_ahead = 0

    def __init__(self, network: ScoreHead, validation: Samples, max_error: float, device: torch.device) -> None:
        self.network: nn.Module = network.to(device)
        self.head, self.device, self.max_error = network, device, max_error
        self._validation = validation
        self._features = torch.from_numpy(validation.features.astype(np.float32)).to(device)
        self.objectives: Mapping[str, Callable[[_Batch], dict[str, Tensor]]] = {"score": self._loss}

    def _loss(self, batch: _Batch) -> dict[str, Tensor]:
        logit = self.network(batch.features.to(self.device))
        return {"score": nn.functional.binary_cross_entropy_with_logits(logit, batch.right.to(self.device))}

    def judge(self, batch: _Batch) -> float:
        """Compute the loss of a batch."""
        with torch.no_grad():
            return float(self._loss(batch)["score"])

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure on the validation samples.

        Returns
        -------
        dict of str to float
            ``right``: of the alignments with an error under `RIGHT`, those that score 0.5 or more, %. ``wrong``: of
            those over `WRONG` or without a face, those that score less, %. ``auc``: area under the ROC curve of both.
            ``error``: cross entropy of all samples, right and wrong ones weighted equally.
        """
        logit = network(self._features).cpu()
        error = self._validation.error
        target = torch.from_numpy(error < self.max_error)
        each = nn.functional.binary_cross_entropy_with_logits(logit, target.float(), reduction="none")
        score = logit.sigmoid().numpy()
        right, wrong = score[error < RIGHT], score[error > WRONG]
        return {
            "error": float(each[target].mean() + each[~target].mean()) / 2,
            "right": float(100 * np.mean(right >= 0.5)),
            "wrong": float(100 * np.mean(wrong < 0.5)),
            "auc": area_under_roc(right, wrong),
        }

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the network again."""
        return {"channels": len(self.head.mean), "hidden": self.head.hidden}


def balanced_batches(samples: Samples, max_error: float, size: int, seed: int, start: int = 0) -> Iterator[_Batch]:
    """Batches without end, half of right and half of wrong alignments: the score is a probability for even odds.

    Raises
    ------
    ValueError
        If all alignments are right, or all are wrong.
    """
    right = samples.error < max_error
    groups = np.flatnonzero(right), np.flatnonzero(~right)
    if not all(len(group) for group in groups):
        raise ValueError(f"data: expected right and wrong alignments, got {len(groups[0])} and {len(groups[1])}")
    half = max(size // 2, 1)
    target = torch.cat([torch.ones(half), torch.zeros(half)])
    number = start
    while True:
        rng = np.random.default_rng((seed, number))
        rows = np.concatenate([rng.choice(group, half) for group in groups])
        yield _Batch(torch.from_numpy(samples.features[rows].astype(np.float32)), target)
        number += 1


def train_score(
    settings: ScoreSettings, out: Path, *, resume: bool = False, device: str = "cpu", show: bool = True
) -> Outcome:
    """Make samples, train the score, and export the regressor with it to ``regressor.onnx``.

    Parameters
    ----------
    settings : ScoreSettings
    out, resume, device, show
        See `tddfa.train.regressor.task.train_regressor`, also for the exceptions. The samples are written to `out` too,
        and a resumed training reads them from there.
    """
    if not resume and (out / CHECKPOINT).exists():
        raise FileExistsError(f"{out / CHECKPOINT}: a training is there already; resume it, or choose another folder")
    torch.set_num_threads(settings.threads)
    network = with_features(_read(settings.init), out / FEATURES)
    samples, validation = (
        _samples(settings, out / name, network, validation=name == VALIDATION, keep=resume, show=show)
        for name in (SAMPLES, VALIDATION)
    )
    torch.manual_seed(settings.schedule.seed)
    head = ScoreHead(samples.features.shape[1], settings.hidden)
    head.whiten_by(samples.features)
    task = ScoreTask(head, validation, settings.max_error, torch_device(device))
    schedule = settings.schedule

    def batches(start: int) -> Iterator[_Batch]:
        return balanced_batches(samples, settings.max_error, schedule.batch_size, schedule.seed, start)

    outcome = train(task, batches, schedule, out, resume=resume, show=show)
    if outcome.finished:
        export_score(out, settings)
    return outcome


def _samples(
    settings: ScoreSettings, path: Path, network: Path, *, validation: bool, keep: bool, show: bool
) -> Samples:
    """Make the samples and write them, or read those that an earlier run wrote."""
    if keep and path.is_file():
        return read_samples(path)
    folders, count = (
        (settings.validation, settings.validation_samples) if validation else (settings.data, settings.samples)
    )
    maker = SampleMaker(settings, folders, network, validation=validation)
    batches = -(-count // (PASSES * BATCH))
    made = stream(maker, 0, batches, min(settings.workers, batches))
    joined = Samples.joined(list(progress(made, batches, label=path.stem, unit="batch", show=show)))
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(joined, name) for name in Samples.__dataclass_fields__}
    np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
    return joined


def read_samples(path: Path) -> Samples:
    """Read the samples of a training, `SAMPLES` or `VALIDATION` in its folder.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or damaged.
    """
    arrays = read_arrays(path)
    missing = [name for name in Samples.__dataclass_fields__ if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected samples of a training of the score, got no {', '.join(missing)}")
    count = len(np.atleast_1d(arrays["error"]))
    try:
        if arrays["kind"].dtype.kind != "U" or arrays["kind"].shape != (count,):
            raise ValueError(f"kind: expected {count} words, got {arrays['kind'].dtype} {arrays['kind'].shape}")
        return Samples(
            features=checked("features", arrays["features"], (count, None), np.float16),
            error=checked("error", arrays["error"], (count,), finite=False),  # infinite without a face
            kind=arrays["kind"],
            score=checked("score", arrays["score"], (count,)),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: str | os.PathLike[str]) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such network")
    return path.read_bytes()


def load_best(out: Path) -> ScoreHead:
    """Load the best score of a training, in evaluation mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    return load_network(out / BEST, KIND, lambda described: ScoreHead(**described))


def export_score(out: Path, settings: ScoreSettings) -> Path:
    """Export the regressor with the best score of a training so far to ``regressor.onnx``.

    With another ``settings.init``, the score is put into that file: the regressor in 8 bits, for example.

    Raises
    ------
    FileNotFoundError, CheckpointError, GraphError, ValueError
        If the checkpoint or the regressor is missing or damaged, or if the two do not fit.
    """
    weight, bias, layers = load_best(out).folded()
    return write_atomic(out / EXPORTED, with_score(_read(settings.init), weight, bias, layers))
