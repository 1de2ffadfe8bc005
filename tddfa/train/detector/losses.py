"""The losses of a detector: cross entropy on faces and on the hardest of the rest, smooth L1 on where faces lie."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tddfa.train.detector.matching import SURE

NEGATIVES = 7
"""Prior boxes without a face for each with one, the hardest of them (FaceBoxes: 3; the released training: 7)."""


class DetectorLoss(NamedTuple):
    """Both terms, each a mean over the prior boxes of faces.

    Attributes
    ----------
    score, box : Tensor ()
    """

    score: Tensor
    box: Tensor


def excess_cross_entropy(logits: Tensor, scores: Tensor) -> Tensor:
    """Cross entropy of soft targets less their own entropy: 0 where the network says what it should.

    Parameters
    ----------
    logits : Tensor (...)
        The network's.
    scores : Tensor (...)
        Targets, 0..1.
    """
    entropy = -torch.xlogy(scores, scores) - torch.xlogy(1 - scores, 1 - scores)
    return functional.binary_cross_entropy_with_logits(logits, scores, reduction="none") - entropy


def hardest(loss: Tensor, candidates: Tensor, count: Tensor) -> Tensor:
    """Mask of the `count` (b,) candidates (b, n) of largest loss in each row."""
    order = loss.detach().masked_fill(~candidates, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(loss.shape[1], device=loss.device).expand_as(order))
    return candidates & (rank < count[:, None])


def detector_loss(
    logits: Tensor,
    offsets: Tensor,
    target_scores: Tensor,
    target_offsets: Tensor,
    counts: Tensor,
    placed: Tensor,
    negative_ratio: float = NEGATIVES,
) -> DetectorLoss:
    """Losses of a batch.

    Parameters
    ----------
    logits : Tensor (b, n)
    offsets : Tensor (b, n, 4)
        The network's.
    target_scores, target_offsets, counts, placed : Tensor (b, n), (b, n, 4), (b, n), (b, n)
        See `tddfa.train.detector.matching.Targets`.
    negative_ratio : float
        Of the prior boxes without a face, so many for each with one are kept, of each scene those of largest loss; a
        scene without faces keeps as many as one face would bring on average.
    """
    loss = excess_cross_entropy(logits, target_scores)
    face = counts & (target_scores >= SURE)
    faces = face.sum(dim=1)
    total = faces.sum().clamp(min=1)
    # a scene without faces has its share too: it is all that says what is none
    share = torch.maximum(faces.float(), total / len(faces) * (faces == 0))
    kept = face | hardest(loss, counts & ~face, (negative_ratio * share).ceil())
    at = placed & counts
    box = functional.smooth_l1_loss(offsets[at], target_offsets[at], reduction="sum") / at.sum().clamp(min=1) / 4
    return DetectorLoss((loss * kept).sum() / total, box)
