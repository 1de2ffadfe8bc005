"""The detector's losses: values and gradients against plain oracles."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.train.detector.losses import detector_loss, excess_cross_entropy, hardest  # noqa: E402


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    b, n = 3, 40
    scores = torch.rand(b, n, generator=generator, dtype=torch.float64) * 0.4
    scores[0, :3], scores[1, 5] = 0.9, 1.0
    return {
        "logits": torch.randn(b, n, generator=generator, dtype=torch.float64),
        "offsets": torch.randn(b, n, 4, generator=generator, dtype=torch.float64),
        "target_scores": scores,
        "target_offsets": torch.randn(b, n, 4, generator=generator, dtype=torch.float64),
        "score_known": torch.rand(b, n, generator=generator) > 0.1,
        "box_known": scores >= 0.5,
    }


def plain_excess(logit, score):
    p = 1 / (1 + np.exp(-logit))
    loss_terms = -(score * np.log(p) + (1 - score) * np.log(1 - p))
    own = -sum(s * np.log(s) for s in (score, 1 - score) if s > 0)
    return loss_terms - own


def test_excess_cross_entropy_is_zero_at_its_target_and_more_elsewhere():
    scores = torch.tensor([0.0, 0.1, 0.5, 0.97, 1.0], dtype=torch.float64)
    at = torch.logit(scores.clamp(1e-9, 1 - 1e-9))
    assert excess_cross_entropy(at, scores).abs().max() < 1e-7
    for shift in (-1, 1):
        assert (excess_cross_entropy(torch.zeros(5) + shift, scores) > 0).all()
    for logit, score in ((0.3, 0.2), (-2.0, 1.0), (1.5, 0.0)):
        value = excess_cross_entropy(torch.tensor(logit), torch.tensor(score))
        assert float(value) == pytest.approx(plain_excess(logit, score), rel=1e-5)


def test_the_hardest_are_selected_among_the_candidates():
    loss = torch.tensor([[5.0, 1, 4, 3], [2, 2, 9, 1], [1, 2, 3, 4]])
    candidates = torch.tensor([[False, True, True, True], [True, True, True, True], [True, True, False, False]])
    kept = hardest(loss, candidates, torch.tensor([2, 1, 5]))
    assert kept.tolist() == [[False, False, True, True], [False, False, True, False], [True, True, False, False]]


def test_loss_against_a_plain_oracle(batch):
    ratio = 3
    logits, scores, score_known = (batch[k].numpy() for k in ("logits", "target_scores", "score_known"))
    total, faces = 0.0, 0
    in_each = [(score_known[i] & (scores[i] >= 0.5)).sum() for i in range(3)]
    for i in range(3):
        each = [plain_excess(a, b) for a, b in zip(logits[i], scores[i], strict=True)]
        face = score_known[i] & (scores[i] >= 0.5)
        rest = sorted((each[k] for k in np.flatnonzero(score_known[i] & ~face)), reverse=True)
        share = in_each[i] or sum(in_each) / 3
        total += sum(np.array(each)[face]) + sum(rest[: int(np.ceil(ratio * share))])
        faces += face.sum()
    loss_terms = detector_loss(**batch, negative_ratio=ratio)
    assert float(loss_terms.score) == pytest.approx(total / faces, rel=1e-6)
    at = (batch["box_known"] & batch["score_known"]).numpy()
    off = np.abs(batch["offsets"].numpy()[at] - batch["target_offsets"].numpy()[at])
    assert float(loss_terms.box) == pytest.approx(np.where(off < 1, off**2 / 2, off - 0.5).mean(), rel=1e-6)


def test_gradients(batch):
    logits, offsets = (batch.pop(name).requires_grad_() for name in ("logits", "offsets"))

    def both(logits, offsets):
        loss = detector_loss(logits, offsets, **batch)
        return loss.score + loss.box

    assert torch.autograd.gradcheck(both, (logits, offsets), eps=1e-6, atol=1e-6)


def test_scenes_without_faces_are_negative_examples():
    logits = torch.zeros(2, 30, requires_grad=True)
    nothing = torch.zeros(2, 30)
    loss = detector_loss(
        logits, torch.zeros(2, 30, 4), nothing, torch.zeros(2, 30, 4), torch.ones(2, 30, dtype=torch.bool), nothing > 0
    )
    loss.score.backward()
    assert float(loss.box) == 0 and (logits.grad > 0).any(dim=1).all()


def test_what_does_not_count_has_no_gradient(batch):
    logits, offsets = (batch.pop(name).requires_grad_() for name in ("logits", "offsets"))
    loss = detector_loss(logits, offsets, **batch)
    (loss.score + loss.box).backward()
    out = ~batch["score_known"]
    assert not logits.grad[out].any() and not offsets.grad[out].any()
