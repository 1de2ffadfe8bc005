"""Losses of the detector: cross entropy with hard negative mining for scores, smooth L1 for boxes.

The loss is that of SSD (Liu et al., ECCV 2016, section 2.2, equations 1-3), as FaceBoxes uses it (Zhang et al., IJCB
2017, section 3.3), with soft scores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tddfa.train.detector.matching import SURE

NEGATIVES = 7
"""Negative prior boxes per positive one, those of largest loss (FaceBoxes: 3; the released training: 7)."""


class DetectorLoss(NamedTuple):
    """Both terms, each a mean over the positive prior boxes.

    Attributes
    ----------
    score : Tensor ()
        Cross entropy of the face scores.
    box : Tensor ()
        Smooth L1 distance of the box offsets.
    """

    score: Tensor
    box: Tensor


def excess_cross_entropy(logits: Tensor, scores: Tensor) -> Tensor:
    """Cross entropy of soft targets minus their entropy (the Kullback-Leibler divergence): 0 at the target.

    Parameters
    ----------
    logits : Tensor (...)
        Predicted.
    scores : Tensor (...)
        Targets, 0..1.
    """
    entropy = -torch.xlogy(scores, scores) - torch.xlogy(1 - scores, 1 - scores)
    return functional.binary_cross_entropy_with_logits(logits, scores, reduction="none") - entropy


def hardest(loss: Tensor, candidates: Tensor, count: Tensor) -> Tensor:
    """Select the `count` (b,) candidates (b, n) of largest loss in each row, as a mask."""
    order = loss.detach().masked_fill(~candidates, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(loss.shape[1], device=loss.device).expand_as(order))
    return candidates & (rank < count[:, None])


def detector_loss(
    logits: Tensor,
    offsets: Tensor,
    target_scores: Tensor,
    target_offsets: Tensor,
    score_known: Tensor,
    box_known: Tensor,
    negative_ratio: float = NEGATIVES,
) -> DetectorLoss:
    """Compute the losses of a batch.

    Parameters
    ----------
    logits : Tensor (b, n)
    offsets : Tensor (b, n, 4)
        Predicted.
    target_scores, target_offsets, score_known, box_known : Tensor (b, n), (b, n, 4), (b, n), (b, n)
        See `tddfa.train.detector.matching.Targets`.
    negative_ratio : float
        Negative prior boxes per positive one, those of largest loss in each scene. A scene without faces keeps as many
        as the average scene.
    """
    loss = excess_cross_entropy(logits, target_scores)
    face = score_known & (target_scores >= SURE)
    faces = face.sum(dim=1)
    total = faces.sum().clamp(min=1)
    # scenes without faces count too: they are the only purely negative examples
    positives = torch.maximum(faces.float(), total / len(faces) * (faces == 0))
    kept = face | hardest(loss, score_known & ~face, (negative_ratio * positives).ceil())
    at = box_known & score_known
    box = functional.smooth_l1_loss(offsets[at], target_offsets[at], reduction="sum") / at.sum().clamp(min=1) / 4
    return DetectorLoss((loss * kept).sum() / total, box)
