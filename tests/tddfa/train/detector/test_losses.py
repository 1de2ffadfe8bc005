"""The detector's losses: values and gradients against plain oracles."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from FaceBoxes.anchors import Anchors, decode, decode_rotations  # noqa: E402
from tddfa.geometry.boxes import box_iou  # noqa: E402
from tddfa.geometry.rotation import rotation_from_euler  # noqa: E402
from tddfa.train.detector.losses import (  # noqa: E402
    decoded,
    detector_loss,
    overlap,
    rotation_loss,
    rotation_of,
    teacher_loss,
)
from tddfa.train.detector.networks import Predictions  # noqa: E402

PRIOR = Anchors(((16, ((16, 1),)),)).priors(64, 80).astype(np.float64)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    n = len(PRIOR)
    face = torch.rand(3, n, generator=generator) < 0.2
    face[2] = False
    count = int(face.sum())
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 40
    points = torch.rand(count, 10, generator=generator, dtype=torch.float64) * 60
    points[0] = torch.nan
    return {
        "logits": torch.randn(3, n, generator=generator, dtype=torch.float64),
        "offsets": torch.randn(3, n, 4, generator=generator, dtype=torch.float64),
        "points": torch.randn(3, n, 10, generator=generator, dtype=torch.float64),
        "prior": torch.from_numpy(PRIOR),
        "face": face,
        "ignored": ~face & (torch.rand(3, n, generator=generator) < 0.1),
        "boxes": torch.cat([low, low + 4 + 20 * torch.rand(count, 2, generator=generator, dtype=torch.float64)], dim=1),
        "target_points": points,
    }


def test_boxes_are_decoded_as_by_the_detector(rng):
    offsets = rng.normal(size=(len(PRIOR), 4)).astype(np.float32)
    ours = decoded(torch.from_numpy(PRIOR.astype(np.float32)), torch.from_numpy(offsets))
    np.testing.assert_allclose(ours.numpy(), decode(PRIOR.astype(np.float32), offsets), rtol=1e-5, atol=1e-4)


def test_overlaps_of_known_boxes(rng):
    low = rng.uniform(0, 20, (2, 50, 2))
    first, second = np.concatenate([low, low + rng.uniform(1, 20, (2, 50, 2))], axis=2)
    iou, generalised = overlap(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(iou.numpy(), np.diag(box_iou(first, second)), atol=1e-9)
    # apart by as much as they are wide: nothing in common, and a third of the hull is between them
    apart = overlap(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]]))
    assert [float(value) for value in apart] == pytest.approx([0, -1 / 3])
    assert (generalised <= iou + 1e-12).all()


def test_loss_against_a_plain_oracle(batch):
    loss = detector_loss(**batch)
    values = {name: value.numpy() for name, value in batch.items()}
    face, count = values["face"], values["face"].sum()
    boxes = decode(np.broadcast_to(PRIOR, (3, *PRIOR.shape))[face], values["offsets"][face])
    quality = np.zeros(face.shape)
    quality[face] = np.diag(box_iou(boxes, values["boxes"]))
    p = 1 / (1 + np.exp(-values["logits"]))
    score = -(quality * np.log(p) + (1 - quality) * np.log(1 - p)) * np.abs(quality - p) ** 2
    assert loss.score.item() == pytest.approx(score[~values["ignored"]].sum() / count, rel=1e-6)
    owners = np.broadcast_to(PRIOR, (3, *PRIOR.shape))[face]
    wanted = (values["target_points"] - np.tile(owners[:, :2], 5)) / (0.1 * owners[:, 2:])
    off = np.abs(values["points"][face] - wanted)[1:]  # the points of the first face are not known
    assert loss.points.item() == pytest.approx(np.where(off < 0.5, off**2, off - 0.25).mean(), rel=1e-6)


def test_gradients(batch):
    # a score's target is a constant
    frozen = {name: batch.pop(name).requires_grad_() for name in ("offsets", "points")}

    def both(offsets, points):
        loss = detector_loss(offsets=offsets, points=points, **batch)
        return loss.box + loss.points

    assert torch.autograd.gradcheck(both, tuple(frozen.values()), eps=1e-6, atol=1e-5)


def test_scenes_without_faces_are_negative_examples(batch):
    n = len(PRIOR)
    logits = torch.zeros(1, n, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(1, n, 4, dtype=torch.float64, requires_grad=True)
    none = torch.zeros(1, n, dtype=torch.bool)
    loss = detector_loss(
        logits, offsets, torch.zeros(1, n, 10), batch["prior"], none, none, torch.zeros(0, 4), torch.zeros(0, 10)
    )
    sum(loss).backward()
    assert loss.box.item() == 0 == loss.points.item() and (logits.grad > 0).all()


def test_what_does_not_count_has_no_gradient(batch):
    logits = batch.pop("logits").requires_grad_()
    detector_loss(logits, **batch).score.backward()
    assert batch["ignored"].any() and not logits.grad[batch["ignored"]].any()
    assert (logits.grad[~batch["ignored"]] != 0).all()


def test_rotations_are_decoded_as_by_the_detector(rng):
    numbers = rng.normal(size=(50, 6)).astype(np.float32)
    ours = rotation_of(torch.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(ours, decode_rotations(numbers), atol=1e-4)
    np.testing.assert_allclose(ours @ ours.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-5)
    assert (np.linalg.det(ours) > 0).all()


@pytest.mark.parametrize("angles", [(30, 0, 0), (0, -40, 0), (0, 0, 170)])
def test_the_loss_of_rotations_grows_with_the_angle(angles):
    wanted = torch.from_numpy(np.stack([rotation_from_euler(*angles), np.full((3, 3), np.nan)]))
    numbers = torch.tensor([[1.0, 0, 0, 0, 1, 0]] * 2, dtype=torch.float64, requires_grad=True)
    loss = rotation_loss(numbers, wanted)
    angle = np.radians(np.abs(angles).max())
    assert loss.item() == pytest.approx(np.hypot(2 * 2**0.5 * np.sin(angle / 2), 0.1))
    loss.backward()
    assert numbers.grad[0].isfinite().all() and numbers.grad[0].any() and not numbers.grad[1].any()
    assert rotation_loss(numbers, wanted.fill_(torch.nan)).item() == 0


def predictions(seed, n=40):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((), (4,), (10,), (6,))
    values = (torch.randn(2, n, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return Predictions(*(value.requires_grad_() for value in values))


def test_a_network_that_agrees_with_its_teacher_has_no_gradient():
    ours = predictions(1)
    sum(teacher_loss(ours, Predictions(*(value.detach().clone() for value in ours))).values()).backward()
    for value in ours:
        assert value.grad.abs().max() < 1e-12


def test_the_distance_from_a_teacher_is_that_of_the_formulas():
    ours, theirs = predictions(1), predictions(2)
    terms = {name: value.item() for name, value in teacher_loss(ours, theirs).items()}
    logits, offsets, points, rotations = (value.detach().numpy() for value in ours)
    target = 1 / (1 + np.exp(-theirs.logits.detach().numpy()))
    score = 1 / (1 + np.exp(-logits))
    entropy = -(target * np.log(score) + (1 - target) * np.log(1 - score))
    seen = target > 0.2
    assert 0 < seen.sum() < seen.size
    weight = target[seen]
    assert terms["score"] == pytest.approx(((target - score) ** 2 * entropy).sum() / weight.sum())
    for name, value, wanted in (("box", offsets, theirs.offsets), ("points", points, theirs.points)):
        away = np.abs(value - wanted.detach().numpy())[seen]
        smooth = np.where(away < 0.5, away**2, away - 0.25).mean(axis=1)
        assert terms[name] == pytest.approx((weight * smooth).sum() / weight.sum())
    ours_3x3, theirs_3x3 = (decode_rotations(value[seen]) for value in (rotations, theirs.rotations.detach().numpy()))
    away = np.hypot(np.linalg.norm(ours_3x3 - theirs_3x3, axis=(1, 2)), 0.1)
    assert terms["rotations"] == pytest.approx((weight * away).sum() / weight.sum())


def test_a_teacher_without_faces_teaches_scores_alone():
    nowhere = predictions(2)._replace(logits=torch.full((2, 40), -9.0, dtype=torch.float64), rotations=None)
    terms = teacher_loss(predictions(1), nowhere)
    assert set(terms) == {"score", "box", "points"}
    assert terms["score"] > 0 and terms["box"] == 0 and terms["points"] == 0
