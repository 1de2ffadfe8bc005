from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa._shared.settings import load_settings  # noqa: E402
from tddfa.model.runtime import Model  # noqa: E402
from tddfa.train.jvcr.export import export_jvcr  # noqa: E402
from tddfa.train.jvcr.networks import Jvcr  # noqa: E402
from tddfa.train.jvcr.settings import JvcrSettings, NetworkSettings  # noqa: E402

CONFIGS = Path(__file__).resolve().parents[4] / "configs" / "train"
TINY = {"size": 64, "depths": (1, 16), "features": 8, "coordinate_features": (4, 8, 8)}


def settings_of(name):
    return load_settings(JvcrSettings, CONFIGS / name)


def conv(source, target, side, dims=2):
    return source * target * side**dims + target


def bottleneck(source, features):
    skip = conv(source, 2 * features, 1) if source != 2 * features else 0
    layers = conv(source, features, 1) + conv(features, features, 3) + conv(features, 2 * features, 1)
    return skip + layers + 2 * (source + features + features)


def published_volumes():
    """Weights of the published network, by its description: 128 features, four stacks of four levels."""
    channels, depths = 256, (1, 2, 4, 64)
    stem = conv(3, 64, 7) + 2 * 64 + bottleneck(64, 64) + bottleneck(128, 64) + bottleneck(128, 128)
    stack = (4 * 3 + 1) * bottleneck(channels, 128)  # each level has three blocks, the innermost one more
    after = bottleneck(channels, 128) + conv(channels, channels, 1) + 2 * channels
    volumes = sum(conv(channels, depth, 1) for depth in depths)
    back = 3 * conv(channels, channels, 1) + sum(conv(depth, channels, 1) for depth in depths[:-1])
    return stem + 4 * (stack + after) + volumes + back


def published_coordinates():
    channels = (1, 64, 128, 256, 512, 256)
    layers = sum(conv(a, b, 4, 3) for a, b in pairwise(channels))
    return layers + 2 * sum(channels[1:-1]) + conv(256, 71 * 3, 1)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_configuration_has_its_parameters():
    settings = settings_of("jvcr.yml")
    assert settings.network == NetworkSettings()
    with torch.device("meta"):
        network = Jvcr(settings.network)
    assert count(network.volumes) == published_volumes() == 12_849_607
    assert count(network.coordinates) == published_coordinates() == 19_460_629
    assert settings.schedule_of("joint").steps == 2 * settings.schedule_of("volumes").steps


def test_published_configuration_has_its_shapes():
    with torch.device("meta"):
        network = Jvcr(settings_of("jvcr.yml").network).eval()
        predicted = network(torch.empty(1, 256, 256, 3, dtype=torch.uint8))
    assert [tuple(own.shape) for own in predicted.volumes] == [(1, depth, 64, 64) for depth in (1, 2, 4, 64)]
    assert predicted.points.shape == (1, 71, 3)


def test_small_configuration():
    settings = settings_of("jvcr_s.yml")
    with torch.device("meta"):
        network = Jvcr(settings.network).eval()
        predicted = network(torch.empty(2, 128, 128, 3, dtype=torch.uint8))
    assert [tuple(own.shape) for own in predicted.volumes] == [(2, 1, 32, 32), (2, 32, 32, 32)]
    assert predicted.points.shape == (2, 71, 3)
    assert 4 * count(network) < 15e6  # bytes of the file, in float32


@pytest.mark.parametrize("changes", [{}, {"block": "separable"}, {"encoder": "mobilenet", "width": 0.1}])
def test_export_equals_torch(tmp_path, changes):
    torch.manual_seed(0)
    network = Jvcr(NetworkSettings(**{**TINY, **changes}))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    difference = export_jvcr(network, tmp_path / "jvcr.onnx", crops, {"model": "tiny"})
    assert 0 <= difference < 1e-4
    exported = Model(tmp_path / "jvcr.onnx", device="cpu", threads=1)
    outputs = exported(crops)
    with torch.no_grad():
        predicted = network.eval()(torch.from_numpy(crops))
    assert exported.outputs == ("points", "volume_1", "volume_2")
    assert np.allclose(outputs["points"], predicted.points.numpy(), rtol=1e-4, atol=1e-4)
    assert np.allclose(outputs["volume_2"], predicted.volumes[1].numpy(), atol=1e-4)
    assert exported.metadata["model"] == "tiny"


def test_export_without_crops_is_refused(tmp_path):
    with pytest.raises(ValueError, match="crops: expected at least one"):
        export_jvcr(Jvcr(NetworkSettings(**TINY)), tmp_path / "a.onnx", np.zeros((0, 64, 64, 3), np.uint8), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 100}, "size: expected a power of 2"),
        ({"depths": (1, 8)}, "depths: expected the last to be 16"),
        ({"coordinate_features": (4, 8)}, "coordinate_features: expected 3 numbers for volumes of 16 voxels"),
        ({"features": 1}, "features: expected 2 or more"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        NetworkSettings(**{**TINY, **changes})
