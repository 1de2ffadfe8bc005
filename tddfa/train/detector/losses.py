"""Losses of the detector: quality focal loss for scores, generalised IoU for boxes, smooth L1 for the five points.

The target of a score is the intersection over union of the predicted box with the face (Li et al., "Generalized Focal
Loss", NeurIPS 2020, equation 2), so that the best box of a face has the highest score. The box loss is that of
Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from FaceBoxes.anchors import CENTER_VARIANCE, SIZE_VARIANCE
from tddfa.train.detector.networks import Predictions

# Exponent of the quality focal loss (Li et al., section 4.1), and the distance in which smooth L1 is quadratic.
_FOCUS, _QUADRATIC = 2.0, 0.5
# Larger offsets of sizes are clipped to this, because the exponential of an untrained network's offsets would overflow.
_MAX_SIZE_OFFSET = 20.0
# Score of a teacher from which its boxes, points and rotations are learned.
_TAUGHT_SCORE = 0.2
# Distance of rotations under which the loss is quadratic.
_SMALL_ANGLE = 0.1


class DetectorLoss(NamedTuple):
    """The terms, each a mean over the prior boxes with a face.

    Attributes
    ----------
    score, box, points : Tensor ()
        Quality focal loss, 1 - generalised IoU, smooth L1 distance.
    """

    score: Tensor
    box: Tensor
    points: Tensor


def rotation_of(numbers: Tensor) -> Tensor:
    """Rotations (n, 3, 3) of numbers (n, 6), as `FaceBoxes.anchors.decode_rotations`, differentiable."""
    x = functional.normalize(numbers[:, :3], dim=1, eps=1e-6)
    second = numbers[:, 3:] - (x * numbers[:, 3:]).sum(dim=1, keepdim=True) * x
    y = functional.normalize(second, dim=1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=2)


def rotation_loss(numbers: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of rotations: the Frobenius norm of the difference, 2 sqrt(2) sin(angle / 2).

    Parameters
    ----------
    numbers : Tensor (p, 6)
        Predicted, see `rotation_of`.
    wanted : Tensor (p, 3, 3)
        NaN where unknown.
    """
    known = wanted.isfinite().all(dim=2).all(dim=1)
    return rotation_distance(numbers[known], wanted[known]).sum() / known.sum().clamp(min=1)


def rotation_distance(numbers: Tensor, wanted: Tensor) -> Tensor:
    """Distance (p,) of each of the rotations of `rotation_loss`, all of them known."""
    squared = (rotation_of(numbers) - wanted).square().sum(dim=(1, 2))
    # the root has no derivative at zero
    return (squared + _SMALL_ANGLE**2).sqrt()


def decoded(prior: Tensor, offsets: Tensor) -> Tensor:
    """Boxes (..., 4) of offsets (..., 4) from prior boxes (..., 3), as `FaceBoxes.anchors.decode`, differentiable."""
    centre = prior[..., :2] + offsets[..., :2] * (CENTER_VARIANCE * prior[..., 2:])
    half = 0.5 * prior[..., 2:] * torch.exp(SIZE_VARIANCE * offsets[..., 2:].clamp(max=_MAX_SIZE_OFFSET))
    return torch.cat([centre - half, centre + half], dim=-1)


def overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union and generalised IoU (n,) of boxes (n, 4), row by row."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = ((box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=1) for box in (first, second))
    union = (sum(areas) - common).clamp(min=1e-6)
    hull_low, hull_high = torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])
    hull = (hull_high - hull_low).prod(dim=1).clamp(min=1e-6)
    iou = common / union
    return iou, iou - (hull - union) / hull


def detector_loss(
    logits: Tensor,
    offsets: Tensor,
    points: Tensor,
    prior: Tensor,
    face: Tensor,
    ignored: Tensor,
    boxes: Tensor,
    target_points: Tensor,
) -> DetectorLoss:
    """Compute the losses of a batch.

    Parameters
    ----------
    logits, offsets, points : Tensor (b, n), (b, n, 4), (b, n, 10)
        Predicted.
    prior : Tensor (n, 3)
        Prior boxes.
    face, ignored : Tensor (b, n) bool
        Prior boxes matched with a face, and those that do not count.
    boxes : Tensor (p, 4)
        Box of the face of each prior box in `face`, in row-major order, px.
    target_points : Tensor (p, 10)
        Its five points, px; NaN where unknown.
    """
    count = face.sum().clamp(min=1)
    owners = prior.expand(len(face), -1, -1)[face]
    iou, generalised = overlap(decoded(owners, offsets[face]), boxes)
    quality = torch.zeros_like(logits)
    quality[face] = iou.detach()
    weight = (quality - logits.sigmoid()).abs().pow(_FOCUS)
    score = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight
    centre = owners[:, :2].repeat(1, 5)
    wanted = (target_points - centre) / (CENTER_VARIANCE * owners[:, 2:])
    known = wanted.isfinite()
    difference = functional.smooth_l1_loss(points[face][known], wanted[known], reduction="sum", beta=_QUADRATIC)
    return DetectorLoss(
        (score * ~ignored).sum() / count,
        (1 - generalised).mean() if len(boxes) else offsets.sum() * 0,
        difference / known.sum().clamp(min=1),
    )


def teacher_loss(predicted: Predictions, taught: Predictions) -> dict[str, Tensor]:
    """Compute the distance of the predictions from those of a teacher with the same prior boxes.

    Scores are compared for every prior box, by the quality focal loss with the teacher's score as its target. The
    others are compared where the teacher sees a face, weighted by its score.

    Parameters
    ----------
    predicted, taught : Predictions

    Returns
    -------
    dict of str to Tensor ()
        ``score``, ``box`` and ``points`` and, where both predict them, ``rotations``.
    """
    target = taught.logits.sigmoid()
    away = (target - predicted.logits.sigmoid()).abs().pow(_FOCUS)
    score = functional.binary_cross_entropy_with_logits(predicted.logits, target, reduction="none") * away
    seen = target > _TAUGHT_SCORE
    weight = target[seen]
    total = weight.sum().clamp(min=1)

    def mean(name: str) -> Tensor:
        ours, theirs = getattr(predicted, name)[seen], getattr(taught, name)[seen]
        distance = functional.smooth_l1_loss(ours, theirs, reduction="none", beta=_QUADRATIC).mean(dim=1)
        return (weight * distance).sum() / total

    terms = {"score": score.sum() / total, "box": mean("offsets"), "points": mean("points")}
    if predicted.rotations is not None and taught.rotations is not None:
        distance = rotation_distance(predicted.rotations[seen], rotation_of(taught.rotations[seen]))
        terms["rotations"] = (weight * distance).sum() / total
    return terms
