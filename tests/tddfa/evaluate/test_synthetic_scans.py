import json

import numpy as np
import pytest

from tddfa._shared import image_io
from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import load_settings
from tddfa.evaluate import synthetic_scans
from tddfa.evaluate.benchmarks import benchmark
from tddfa.evaluate.result import Setup
from tddfa.evaluate.synthetic_scans import ScanBenchmark
from tddfa.scan.head import mean_landmarks
from tddfa.scan.landmarker import UNIT
from tddfa.synthetic.scans import ScanSettings


class MeanNetwork:
    """Stands in for stage 1: the landmarks are where those of the mean face are."""

    def __init__(self, mean):
        self.mean, self.path = mean / UNIT, "mean.onnx"
        settings = {"points": 400, "sigma": 6.0, "jaw_sigma": 9.0, "radius": 110.0, "inner": 0.65}
        self.metadata = {"scan": json.dumps(settings)}

    def run(self, inputs):
        squared = np.square(inputs["features"][:, None, :3] - self.mean).sum(axis=2)
        return {"heat": np.exp(squared / (-2 * 0.08**2)).astype(np.float32)}


def test_the_scans_of_the_benchmark_are_those_of_the_issue(root):
    settings = load_settings(ScanBenchmark, root / "configs/evaluate/scans.yml")
    assert settings.count == 200
    assert settings.seed >= 1_000_000
    assert settings.scans == ScanSettings(holes=(0.05, 0.25), noise=(0.2, 0.6), covered=0.3, rotated=True)


def test_seeds_of_training_are_refused():
    with pytest.raises(ConfigError, match="seed: expected 1000000 or more, got 7"):
        ScanBenchmark(seed=7)


@pytest.mark.slow
def test_synthetic_scans_are_measured_without_data(aligner, tmp_path, monkeypatch):
    network = MeanNetwork(mean_landmarks(aligner.face_model))
    network.path = tmp_path / "mean.onnx"
    network.path.write_bytes(b"")
    monkeypatch.setattr(synthetic_scans, "Model", lambda *_, **__: network)
    result = benchmark("scans").evaluate(Setup(tmp_path, aligner, limit=1))
    assert result.settings["scans"] == 1
    assert result.settings["scan_sha256"].startswith("e3b0c442")  # of no bytes
    assert result.value("missed") == 0
    for method in synthetic_scans.LABELS:
        assert 0.5 < result.value(f"{method}.mean") < 15
    assert result.value("registered.mean.inner") < result.value("pd.mean.inner")
    assert result.items[0]["registered"] == pytest.approx(result.value("registered.mean"), abs=1e-5)
    (worst,) = result.worst
    assert image_io.read(worst.path).shape == (640, 640, 3)
    assert worst.error == pytest.approx(result.value("registered.mean"))
