import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.train.regressor import face_losses  # noqa: E402


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_identity_against_numpy(rng):
    shape, person, margin = rng.normal(size=(7, 5)), np.array([0, 1, 0, -1, 1, 2, 0]), 0.3
    unit = shape / np.linalg.norm(shape, axis=1, keepdims=True)
    near, far = [], []
    for a in range(7):
        for s in range(7):
            if a != s and person[a] == person[s] >= 0:
                near.append(1 - unit[a] @ unit[s])
                others = [o for o in range(7) if person[o] >= 0 and person[o] != person[a]]
                far += [max(margin + unit[a] @ unit[o] - unit[a] @ unit[s], 0) for o in others]
    loss = face_losses.identity_distance(torch.from_numpy(shape), torch.from_numpy(person), margin)
    assert float(loss) == pytest.approx(np.mean(near) + np.mean(far))


def test_identity_without_pairs_is_zero_and_has_a_gradient():
    shape = torch.ones(3, 4, requires_grad=True)
    loss = face_losses.identity_distance(shape, torch.tensor([0, 1, -1]))
    loss.backward()
    assert float(loss.detach()) == 0 and bool(shape.grad.isfinite().all())


def test_identity_falls_as_persons_separate():
    person = torch.tensor([0, 0, 1, 1])
    alike = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    apart = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    assert float(face_losses.identity_distance(apart, person)) == pytest.approx(0, abs=1e-6)
    assert float(face_losses.identity_distance(alike, person)) == pytest.approx(face_losses.MARGIN)


def test_lids_are_one_sided_and_a_wink_is_not():
    target = torch.tensor([[1.0, 1.0], [0.0, 0.1], [1.0, 0.0]])

    def loss(predicted, row):
        rows = torch.arange(3) == row
        return float(face_losses.lid_closure(torch.tensor(predicted).expand(3, 2), target, rows))

    assert loss([1.2, 1.5], 0) == 0  # closed eyes may close more
    assert loss([0.6, 1.0], 0) == pytest.approx(0.2)
    assert loss([-0.3, 0.1], 1) == 0  # open eyes may open more
    assert loss([0.4, 0.3], 1) == pytest.approx((0.4 + 0.2) / 2)
    assert loss([1.0, 0.0], 2) == 0
    # a wink of which both eyes close: one eye is wrong by 0.5, the difference too
    assert loss([1.0, 0.5], 2) == pytest.approx(0.25 + 0.5)
    assert loss([1.5, 0.0], 2) == pytest.approx(0.5)  # the difference counts on both sides


def test_gaze_counts_for_open_eyes(rng):
    predicted, target = rng.normal(size=(2, 4, 2, 2))
    blink = np.array([[0, 0], [0, 1], [1, 1], [0.1, 0.2]])
    rows = np.array([True, True, True, False])
    each = []
    for i in range(3):
        seen = [np.abs(predicted[i, e] - target[i, e]).sum() for e in range(2) if blink[i, e] < 0.6]
        each.append(np.mean(seen) if seen else 0)
    tensors = (torch.from_numpy(value) for value in (predicted, target, blink, rows))
    assert float(face_losses.gaze_distance(*tensors)) == pytest.approx(np.mean(each))


def test_the_direction_of_gaze():
    names = [f"eyeLook{way}{side}" for way in ("In", "Up", "Out", "Down") for side in ("Right", "Left")]
    names += ["eyeBlinkLeft", "jawOpen", "eyeBlinkRight"]
    eyes = face_losses.Eyes(names, needed=True)
    expression = torch.zeros(1, len(names))
    for name, weight in (("eyeLookInLeft", 0.3), ("eyeLookOutRight", 0.5), ("eyeLookDownRight", 0.2)):
        expression[0, names.index(name)] = weight
    assert torch.allclose(eyes.gaze(expression)[0], torch.tensor([[-0.3, 0], [0.5, -0.2]]))
    assert eyes.blink == [8, 10]
    with pytest.raises(ValueError, match="closure and gaze need the expressions eyeBlinkLeft"):
        face_losses.Eyes(["jawOpen"], needed=True)
    face_losses.Eyes(["jawOpen"], needed=False)


def test_confidence_against_numpy(rng):
    predicted, target = rng.uniform(20, 100, (2, 3, 68, 2))
    target[1] = predicted[1] + rng.normal(0, 3, (68, 2))
    target[0, :40] = np.nan
    logits, covered, rows = rng.normal(size=(3, 68)), rng.random((3, 68)) < 0.3, np.array([1, 1, 0], bool)
    each = []
    for i in range(2):
        known = np.isfinite(target[i, :, 0])
        size = np.ptp(target[i, known], axis=0).max()
        error = np.linalg.norm(predicted[i, known] - target[i, known], axis=1) / size
        wanted = 0.5 ** (error / face_losses.HALF_ERROR)
        wanted = np.where(covered[i, known], np.minimum(wanted, face_losses.COVERED), wanted)
        p = 1 / (1 + np.exp(-logits[i, known]))
        each.append(-(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean())
    tensors = [torch.from_numpy(value) for value in (logits, predicted, target, covered, rows)]
    assert float(face_losses.confidence_loss(*tensors)) == pytest.approx(np.mean(each))


def test_confidence_has_a_gradient_where_nothing_is_known():
    logits = torch.zeros(2, 68, requires_grad=True)
    target = torch.full((2, 68, 2), torch.nan)
    target[0] = torch.rand(68, 2)
    covered, rows = torch.zeros(2, 68, dtype=torch.bool), torch.tensor([True, False])
    face_losses.confidence_loss(logits, torch.rand(2, 68, 2), target, covered, rows).backward()
    assert bool(logits.grad.isfinite().all()) and float(logits.grad[0].abs().sum()) > 0
