"""Small networks and a small face model in the layout of 3DDFA_V2's files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from reference_3ddfa_v2 import BLOCKS


class _Random:
    """A network's weights, made up; outputs stay of the order of 1."""

    def __init__(self):
        self.rng, self.state = np.random.default_rng(5), {}

    def convolution(self, name, norm, k, c, side):
        spread = np.sqrt(2 / (c * side * side))
        self.state[f"{name}.weight"] = self.rng.normal(0, spread, (k, c, side, side)).astype(np.float32)
        for part, low, high in (
            ("weight", 0.5, 1.5), ("bias", -0.3, 0.3), ("running_mean", -0.3, 0.3), ("running_var", 0.5, 1.5),
        ):  # fmt: skip
            self.state[f"{norm}.{part}"] = self.rng.uniform(low, high, k).astype(np.float32)

    def head(self, name, k, c, *side):
        self.state[f"{name}.weight"] = self.rng.normal(0, 0.03, (k, c, *side)).astype(np.float32)
        self.state[f"{name}.bias"] = self.rng.normal(0, 0.3, k).astype(np.float32)


@pytest.fixture(scope="session")
def mobilenet_state():
    """MobileNet V1, an eighth as wide."""
    made, c = _Random(), 4
    made.convolution("conv1", "bn1", c, 3, 3)
    for block, _ in BLOCKS:
        made.convolution(f"{block}.conv_dw", f"{block}.bn_dw", c, 1, 3)
        k = {"dw2_1": 8, "dw2_2": 16, "dw3_2": 32, "dw4_2": 64, "dw5_6": 128}.get(block, c)
        made.convolution(f"{block}.conv_sep", f"{block}.bn_sep", k, c, 1)
        c = k
    made.head("fc_param", 62, c)
    return made.state


@pytest.fixture(scope="session")
def faceboxes_state():
    made = _Random()
    made.convolution("conv1.conv", "conv1.bn", 24, 3, 7)
    made.state["conv1.conv.weight"] /= 50
    made.convolution("conv2.conv", "conv2.bn", 64, 48, 5)
    layers = [("conv3_1", 128, 128, 1), ("conv3_2", 256, 128, 3), ("conv4_1", 128, 256, 1), ("conv4_2", 256, 128, 3)]
    for i in (1, 2, 3):
        for name, k, c, side in (
            ("1x1", 32, 128, 1), ("1x1_2", 32, 128, 1), ("3x3_reduce", 24, 128, 1), ("3x3", 32, 24, 3),
            ("3x3_reduce_2", 24, 128, 1), ("3x3_2", 32, 24, 3), ("3x3_3", 32, 32, 3),
        ):  # fmt: skip
            layers.append((f"inception{i}.branch{name}", k, c, side))
    for name, k, c, side in layers:
        made.convolution(f"{name}.conv", f"{name}.bn", k, c, side)
    for i, (priors, c) in enumerate(((21, 128), (1, 256), (1, 256))):
        made.head(f"loc.{i}", 4 * priors, c, 3, 3)
        made.head(f"conf.{i}", 2 * priors, c, 3, 3)
    return made.state


@pytest.fixture(scope="session")
def whitening():
    rng = np.random.default_rng(6)
    std = np.concatenate([np.tile([2e-4, 2e-4, 2e-4, 20], 3), np.full(40, 1e5), np.full(10, 1.0)])
    return {name: (std * rng.uniform(0.5, 2, 62)).astype(np.float32) for name in ("mean", "std")}


@pytest.fixture(scope="session")
def tiny_bases():
    """A face model of 120 vertices, in the arrays of 3DDFA_V2."""
    rng = np.random.default_rng(8)
    vertices = rng.permutation(120)[:68]
    return {
        "u": rng.normal(0, 5e4, (360, 1)).astype(np.float32),
        "w_shp": rng.normal(0, 0.01, (360, 40)).astype(np.float32),
        "w_exp": rng.normal(0, 1e3, (360, 10)).astype(np.float32),
        "keypoints": (3 * vertices[:, None] + np.arange(3)).reshape(-1),
    }


@pytest.fixture
def pickled_file(tmp_path):
    """Writes a pickle below the test's folder."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content, protocol=4))
        return path

    return write
