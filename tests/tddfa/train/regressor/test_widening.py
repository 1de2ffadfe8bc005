import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.train.regressor.networks import Regressor  # noqa: E402
from tddfa.train.regressor.widening import widened  # noqa: E402


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, 12, 12, 3)).repeat(10, axis=1).repeat(10, axis=2)
    return torch.from_numpy(coarse.astype(np.uint8))


@pytest.fixture(scope="module")
def narrow(crops):
    """A network whose BatchNorms have statistics of their own."""
    torch.manual_seed(1)
    network = Regressor(0.25, 6, 4, score_hidden=5)
    network.whiten_by(np.linspace(-1, 1, 22, dtype=np.float32), np.linspace(0.5, 2, 22, dtype=np.float32))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    with torch.no_grad():
        for _ in range(3):
            network.train()(crops)
        for _, norm in network.backbone.convolutions():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize("width", [0.25, 0.5, 0.4, 0.75])
def test_the_function_is_kept(narrow, crops, width):
    wide = widened(narrow, width)
    assert wide.backbone.width == width
    assert wide.head.in_features == 8 * round(width * 128)
    with torch.no_grad():
        for predicted, expected in zip(wide(crops), narrow(crops), strict=True):
            torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-4)


def test_it_computes_the_same_in_training_too(narrow, crops):
    wide, again = widened(narrow, 0.5).train(), widened(narrow, 0.25).train()
    with torch.no_grad():
        torch.testing.assert_close(wide(crops).whitened, again(crops).whitened, rtol=1e-3, atol=1e-3)


def test_copies_of_a_channel_do_not_learn_the_same(narrow, crops):
    wide = widened(narrow, 0.5).train()
    wide(crops).whitened.square().sum().backward()
    for layer, _ in wide.backbone.convolutions():
        gradients = layer.weight.grad.flatten(1)
        assert len(torch.unique(gradients.round(decimals=6), dim=0)) > 0.95 * len(gradients)


def test_a_seed_gives_one_network(narrow):
    first, same, other = (widened(narrow, 0.5, seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_narrower_one_is_refused(narrow):
    with pytest.raises(ValueError, match=r"width: expected 0.25 or more, got 0.2"):
        widened(narrow, 0.2)
