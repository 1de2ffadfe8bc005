"""Losses of identity, closed eyes, gaze and confidence, as plain functions; see `tddfa.train.regressor.losses`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tddfa.train.regressor.losses import mean_of_rows

MARGIN = 0.3
"""By how much the cosine of two photos of a person should exceed that of two persons."""

CLOSED = 0.5
"""Weight of a blink from which an eye counts as closed."""

HALF_ERROR, COVERED = 0.04, 0.25
"""Error of a confidence of 0.5, as a fraction of the face's size; largest confidence of a landmark behind an object."""

_TINY = 1e-6
# The gaze of an eye is visible if the eye is open, that is, if the weight of its blink is under this.
_OPEN = 0.6


def identity_distance(shape: Tensor, person: Tensor, margin: float = MARGIN) -> Tensor:
    """Loss of shapes (n, s): those of a person should agree, and differ from those of other persons.

    The loss is the mean of two terms. The first is 1 - cosine of each pair of photos of a person. The second compares
    each such pair with a photo of another person: the cosine of the pair should exceed the cosine of the two persons by
    `margin`, and the term is what is missing. The loss is 0 without two photos of a person.

    Parameters
    ----------
    shape : Tensor (n, s)
    person : Tensor (n,) int
        Number of the person; rows of -1 are left out.
    margin : float
    """
    known = person >= 0
    unit = nn.functional.normalize(shape, dim=1, eps=_TINY)
    cosine = unit @ unit.T
    both = known[:, None] & known
    same = both & (person[:, None] == person)
    same.fill_diagonal_(False)
    other = both & (person[:, None] != person)
    near = (same * (1 - cosine)).sum() / same.sum().clamp_min(1)
    # (anchor, same, other)
    violation = (margin + cosine[:, None, :] - cosine[:, :, None]).clamp_min(0)
    triplets = same[:, :, None] & other[:, None, :]
    return near + (triplets * violation).sum() / triplets.sum().clamp_min(1)


def lid_closure(predicted: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """Loss of the weights of a blink (n, 2), left and right: a one-sided error, and the error of their difference.

    A closed eye may be predicted more closed than its label, and an open eye more open; neither has a cost. If one eye
    is closed and the other is not (a wink), the difference of left and right counts in both directions.
    """
    closed = target > CLOSED
    wrong = torch.where(closed, target - predicted, predicted - target).clamp_min(0).mean(dim=1)
    wink = closed[:, 0] != closed[:, 1]
    apart = ((predicted[:, 0] - predicted[:, 1]) - (target[:, 0] - target[:, 1])).abs()
    return mean_of_rows(wrong + wink * apart, rows)


def gaze_distance(predicted: Tensor, target: Tensor, blink: Tensor, rows: Tensor) -> Tensor:
    """Distance of gaze directions (n, 2 eyes, 2), of open eyes.

    Parameters
    ----------
    predicted, target : Tensor (n, 2, 2)
        Outwards and upwards, in weights of the eyeLook expressions.
    blink : Tensor (n, 2)
        Weights of a blink of the labels.
    rows : Tensor (n,)
        See `mean_of_rows`.
    """
    seen = (blink < _OPEN).to(predicted.dtype)
    distance = (predicted - target).abs().sum(dim=2)
    return mean_of_rows((seen * distance).sum(dim=1) / seen.sum(dim=1).clamp_min(1), rows)


def confidence_target(error: Tensor, covered: Tensor) -> Tensor:
    """Confidence that errors (n, 68), as fractions of the face's size, deserve: 1 for none, 0.5 at `HALF_ERROR`.

    A landmark that is `covered` (n, 68) has at most `COVERED`, because it is right only by chance.
    """
    target = torch.exp2(-error / HALF_ERROR)
    return torch.where(covered, target.clamp_max(COVERED), target)


def confidence_loss(logits: Tensor, predicted: Tensor, target: Tensor, covered: Tensor, rows: Tensor) -> Tensor:
    """Binary cross entropy between the confidence of landmarks and what their error deserves.

    The size of a face is the longer side of the box around its known landmarks. No gradient flows to the landmarks.

    Parameters
    ----------
    logits : Tensor (n, 68)
    predicted, target : Tensor (n, 68, 2)
        px; landmarks that are NaN in `target` are left out.
    covered : Tensor (n, 68) bool
    rows : Tensor (n,)
        See `mean_of_rows`.
    """
    known = target.isfinite().all(dim=2)
    marks = target.nan_to_num()
    far = torch.full_like(marks, torch.inf)
    low = torch.where(known[..., None], marks, far).amin(dim=1)
    high = torch.where(known[..., None], marks, -far).amax(dim=1)
    size = (high - low).amax(dim=1).clamp_min(1)[:, None]
    wanted = confidence_target((predicted.detach() - marks).norm(dim=2) / size, covered)
    each = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return mean_of_rows((known * each).sum(dim=1) / known.sum(dim=1).clamp_min(1), rows)


class Eyes:
    """Columns of the expression weights of the eyes, left then right.

    Parameters
    ----------
    names : sequence of str
        Names of the expressions.
    needed : bool
        Whether their lack is an error.

    Raises
    ------
    ValueError
        If expressions are missing that are needed.
    """

    def __init__(self, names: Sequence[str], *, needed: bool) -> None:
        columns = [
            [f"{part}{side}" for side in ("Left", "Right")]
            for part in ("eyeBlink", "eyeLookOut", "eyeLookIn", "eyeLookUp", "eyeLookDown")
        ]
        missing = [name for pair in columns for name in pair if name not in names]
        if missing and needed:
            raise ValueError(f"loss_weights: closure and gaze need the expressions {', '.join(missing)}")
        self.blink, *self._looks = [[list(names).index(name) for name in pair if name in names] for pair in columns]

    def gaze(self, expression: Tensor) -> Tensor:
        """Direction of gaze (n, 2 eyes, 2) outwards and upwards, in weights, of expression weights (n, e)."""
        out, inwards, up, down = (expression[:, columns] for columns in self._looks)
        return torch.stack([out - inwards, up - down], dim=2)
