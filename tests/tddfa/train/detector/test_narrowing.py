"""A trained detector with fewer channels: which ones are left out, and what stays the same."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tddfa.train.detector.narrowing import importance, narrowed, with_statistics  # noqa: E402
from tddfa.train.detector.networks import Architecture, Block, FaceBoxes  # noqa: E402

CHANNELS = (8, 12, 16, 16)


def network(blocks=(1, 2, 0, 1), **settings):
    torch.manual_seed(3)
    made = FaceBoxes(Architecture(stem=4, channels=CHANNELS, blocks=blocks, rotations=True, **settings))
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, 2.0, 3.0)
    return made.eval()


def made_by(made, stage):
    """The blocks whose channels are added up in a feature map."""
    blocks = [layer.point for layer in made.stages[stage]]
    return blocks if stage > 1 else [*blocks, made.lateral[stage], made.fused[stage].point]


def read_by(made, stage):
    """The depthwise convolutions that read a feature map."""
    blocks = [layer.depth for layer in made.stages[stage][1:]] + [made.context[stage]]
    after = [made.stages[stage + 1][0].depth] if stage < 3 else []
    return [*blocks, *after, *([made.fused[stage].depth] if stage < 2 else [])]


def images(count=2, seed=0):
    return torch.randint(0, 256, (count, 3, 96, 160), generator=torch.Generator().manual_seed(seed))


def sums(made, seeds=(0, 1, 2)):
    """A loss of several batches that depends on every output, not on its sign alone."""
    for seed in seeds:
        yield sum((value.double() ** 2).sum() for value in made(images(seed=seed)))


def test_channels_that_add_nothing_are_left_out_and_nothing_changes():
    made = network()
    dead = [(1, 4), (0, 7, 11), (3,), ()]
    for stage, channels in enumerate(dead):
        # without the biases behind them, which would be a constant that is left out too
        for block in (*made_by(made, stage), *read_by(made, stage)):
            for value in (block.bn.weight, block.bn.bias):
                value.data[list(channels)] = 0
    scores = importance(made, sums(made))
    for score, channels in zip(scores, dead, strict=True):
        alive = [c for c in range(len(score)) if c not in channels]
        assert not score[list(channels)].any() and (score[alive] > 0).all()
    narrow = narrowed(made, [len(score) - len(channels) for score, channels in zip(scores, dead, strict=True)], scores)
    assert narrow.architecture.channels == (6, 9, 15, 16) and not narrow.training
    assert sum(map(torch.numel, narrow.parameters())) < sum(map(torch.numel, made.parameters()))
    with torch.no_grad():
        for one, other in zip(made(images()), narrow(images()), strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


def test_importance_is_the_change_of_the_loss():
    """By finite differences: all weights that make a channel are scaled by 1 + e."""
    made = network().double()
    (loss,) = sums(made, [0])
    scores = importance(made, sums(made, [0]))
    for stage, channel in ((0, 2), (1, 5), (3, 9)):
        e = 1e-6
        with torch.no_grad():
            for block in made_by(made, stage):
                block.bn.weight[channel] *= 1 + e
                block.bn.bias[channel] *= 1 + e
        (changed,) = sums(made, [0])
        assert ((changed - loss) / e).item() ** 2 == pytest.approx(scores[stage][channel].item(), rel=1e-2)
        with torch.no_grad():
            for block in made_by(made, stage):
                block.bn.weight[channel] /= 1 + e
                block.bn.bias[channel] /= 1 + e


def test_the_best_channels_are_kept_in_their_order():
    made = network()
    scores = [torch.rand(count, generator=torch.Generator().manual_seed(count)) for count in CHANNELS]
    narrow = narrowed(made, (3, 12, 16, 5), scores)
    kept = sorted(range(8), key=lambda c: -scores[0][c])[:3]
    expected = made.stages[0][0].point.conv.weight[sorted(kept)]
    assert torch.equal(narrow.stages[0][0].point.conv.weight, expected)
    assert torch.equal(narrow.lateral[0].conv.weight, made.lateral[0].conv.weight[sorted(kept)])


@pytest.mark.parametrize("channels", [(8, 12, 16), (9, 12, 16, 16), (0, 12, 16, 16)])
def test_wrong_numbers_of_channels(channels):
    with pytest.raises(ValueError, match=r"channels: expected 4 numbers from 1 to \(8, 12, 16, 16\)"):
        narrowed(network(), channels, [torch.ones(count) for count in CHANNELS])


def test_statistics_change_no_output_and_normalise():
    """With them, a batch gives in training mode what it gives in evaluation mode: they are those of the batch."""
    made = network()
    made.frozen_norms = True
    with torch.no_grad():
        before = made(images())
        thawed = with_statistics(made, lambda each: each(images()))
        after = thawed(images())
        assert thawed is made and not thawed.frozen_norms and not thawed.training
        trained = thawed.train()(images())
    for one, same, batch in zip(before, after, trained, strict=True):
        torch.testing.assert_close(one, same, atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(one, batch, atol=2e-2, rtol=1e-2)
    norms = [block.bn for block in thawed.modules() if isinstance(block, Block)]
    assert all(not torch.equal(norm.running_var, torch.ones_like(norm.running_var)) for norm in norms)
