import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa.model.runtime import Model  # noqa: E402
from tddfa.onnx_tools.graph import GraphError  # noqa: E402
from tddfa.train.regressor.export import FEATURES, with_score  # noqa: E402
from tddfa.train.regressor.networks import load_onnx  # noqa: E402
from tddfa.train.score.samples import Samples, with_features  # noqa: E402
from tddfa.train.score.task import ScoreHead, ScoreTask, balanced_batches  # noqa: E402

CHANNELS = 512


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (12, 120, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def features(root, crops, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "features.onnx"
    with_features((root / "weights/open_mb05.onnx").read_bytes(), path)
    return Model(path, "cpu", threads=1)(crops)[FEATURES]


def head(hidden, features):
    torch.manual_seed(hidden)
    made = ScoreHead(CHANNELS, hidden)
    made.whiten_by(features.astype(np.float16))
    return made.eval()


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("name", ["open_mb05", "open_mb05_int8"])
def test_only_the_score_of_the_file_changes(root, crops, features, tmp_path, hidden, name):
    released = root / f"weights/{name}.onnx"
    made = head(hidden, features)
    path = tmp_path / "scored.onnx"
    path.write_bytes(with_score(released.read_bytes(), *made.folded()))
    before, after = (Model(each, "cpu", threads=1)(crops) for each in (released, path))
    for output in ("camera", "shape", "expression"):
        assert np.array_equal(before[output], after[output]), output
    if name == "open_mb05":
        expected = made(torch.from_numpy(features)).sigmoid().detach().numpy()
        np.testing.assert_allclose(after["score"], expected, atol=1e-5)
    assert np.abs(after["score"] - before["score"]).max() > 0.01
    # the score can be replaced again, and then nothing of the first is left
    again = with_score(path.read_bytes(), *made.folded())
    assert abs(len(again) - path.stat().st_size) < 2000


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_training_can_start_from_the_file(root, crops, features, tmp_path, hidden):
    path = tmp_path / "scored.onnx"
    path.write_bytes(with_score((root / "weights/open_mb05.onnx").read_bytes(), *head(hidden, features).folded()))
    network = load_onnx(path, crops)  # compares all outputs
    assert network.score_hidden == hidden


def test_a_score_of_another_network_is_refused(root):
    model = (root / "weights/open_mb05.onnx").read_bytes()
    with pytest.raises(ValueError, match="weight: expected 512 weights, got shape"):
        with_score(model, np.zeros(7, np.float32), 0.0)
    with pytest.raises(GraphError, match="expected a regressor with a score"):
        with_score((root / "weights/faceboxes.onnx").read_bytes(), np.zeros(7, np.float32), 0.0)


def made_samples(error, features=None):
    error = np.array(error, np.float32)
    count = len(error)
    features = np.zeros((count, 3), np.float16) if features is None else features
    return Samples(features, error, np.full(count, "crops"), np.zeros(count, np.float32))


def test_batches_have_as_many_right_as_wrong_alignments():
    samples = made_samples([1, 2, 50, 60, 70, np.inf], np.arange(6, dtype=np.float16)[:, None])
    first, second = (next(balanced_batches(samples, 12, 8, seed=0, start=k)) for k in (0, 1))
    assert first.right.tolist() == [1] * 4 + [0] * 4
    assert set(first.features[:4, 0].tolist()) <= {0, 1} and set(first.features[4:, 0].tolist()) <= {2, 3, 4, 5}
    assert not torch.equal(first.features, second.features)
    assert torch.equal(second.features, next(balanced_batches(samples, 12, 8, seed=0, start=1)).features)
    with pytest.raises(ValueError, match="expected right and wrong alignments, got 1 and 0"):
        next(balanced_batches(made_samples([1]), 12, 8, seed=0))


def test_validation_counts_what_is_on_the_right_side():
    # the logit is the first feature
    network = ScoreHead(1, 0)
    with torch.no_grad():
        network.linear.weight.fill_(1)
        network.linear.bias.zero_()
    error = [3, 5, 7, 7, 10, 16, 20, np.inf, np.inf, np.inf]
    logit = [4, 3, 2, -3, 9, 1, -5, -6, -7, -8]
    samples = made_samples(error, np.array(logit, np.float16)[:, None])
    task = ScoreTask(network, samples, 12.0, torch.device("cpu"))
    values = task.validate(network)
    assert (values["right"], values["wrong"]) == (75, 80)
    assert values["auc"] == pytest.approx((3 * 5 + 4) / 20)
    assert values["error"] == pytest.approx(
        (np.mean(np.logaddexp(0, [-4, -3, -2, 3, -9])) + np.mean(np.logaddexp(0, [1, -5, -6, -7, -8]))) / 2, rel=1e-5
    )
