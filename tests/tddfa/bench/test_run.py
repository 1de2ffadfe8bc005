import json

import pytest

from tddfa import Aligner
from tddfa._shared.cores import available_cores
from tddfa.bench.run import COLD, Plan, run
from tddfa.evaluate.benchmarks import latency
from tddfa.evaluate.result import Setup

pytestmark = pytest.mark.usefixtures("rendered_once")


def test_a_short_run(aligner):
    progress = []
    report = run(aligner, Plan("read,crop,network.8,3d.1", rounds=3), progress=progress.append)
    assert [row.stage for row in report.rows] == ["read", "crop", "network.8", "3d.1"]
    assert report.failures == {}
    threads = sorted({1, available_cores()})
    assert [variant.name for variant in report.variants] == [f"threads-{count}" for count in threads]
    for row in report.rows:
        assert set(row.timings) == {f"threads-{count}" for count in threads}
        for timing in row.timings.values():
            assert timing.count == 3
            assert 0 < timing.minimum <= timing.lower <= timing.median <= timing.upper
    assert progress[-1] == "round 3 of 3"
    assert report.about["device"] == "cpu"
    assert report.peak_mb == {}
    assert report.growth_mb is None


def test_one_column_for_one_number_of_threads(aligner):
    report = run(aligner, Plan("crop", rounds=1, threads=(available_cores(), None)))
    assert len(report.variants) == 1


def test_new_processes_are_timed_and_their_memory_is_measured(aligner, tmp_path):
    report = run(aligner, Plan(f"crop,{COLD}", rounds=1, threads=(1,), config="open_mb05", device="cpu", memory=True))
    cold, crop = report.rows[1].timings["threads-1"], report.rows[0].timings["threads-1"]
    assert cold.median > 20 * crop.median
    assert set(report.peak_mb) == {"crop"}
    json.loads(report.save(tmp_path / "x.json").read_text())


def test_a_failed_process_is_reported_with_its_reason(aligner):
    report = run(aligner, Plan(COLD, rounds=1, threads=(1,), config="no_such_model"))
    assert report.rows[0].timings == {}
    assert "no_such_model" in report.failures[f"{COLD} threads-1"]


def test_a_folder_that_is_no_checkout_does_not_affect_other_columns(aligner, tmp_path):
    report = run(aligner, Plan("crop", rounds=1, threads=(1,), peer=tmp_path))
    assert "without TDDFA.py" in report.failures["* peer-threads-1"]
    assert "threads-1" in report.rows[0].timings


def test_the_default_call_is_the_first_row_and_mediapipe_a_column(aligner, monkeypatch):
    class Instant:
        stages, network, config, onnx_error = ("default.1",), "FaceMesh", "mediapipe 0.10.21", ""

        def __init__(self, folder, *_, python, threads, **options):
            assert (folder, python, threads) == (None, "its-python", 1)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def peak_mb(self):
            return 1.0

        def sample(self, stage):
            return 0.001

    monkeypatch.setattr("tddfa.bench.run.Peer", Instant)
    report = run(aligner, Plan("default.1,crop", rounds=2, threads=(1,), peer_mediapipe="its-python"))
    assert [row.stage for row in report.rows] == ["default.1", "crop"]
    assert report.rows[0].timings["mediapipe-threads-1"].median == 1
    assert report.about["mediapipe"] == "mediapipe 0.10.21"
    head, default = list(report.lines())[:2]
    assert head.rstrip().endswith("MediaPipe / tddfa, 1 thread")
    assert "image to landmarks, default settings: 1 face" in default


def test_wrong_plans(aligner):
    with pytest.raises(ValueError, match="matches none"):
        run(aligner, Plan("nothing"))
    with pytest.raises(ValueError, match="rounds"):
        run(aligner, Plan("crop", rounds=0))


def test_latency_benchmark(aligner, tmp_path):
    tracked = []

    def track(items, label):
        for item in items:
            tracked.append((label, item))
            yield item

    result = latency.evaluate(Setup(tmp_path, aligner, track=track), rounds=2, patterns="crop,network.8")
    assert tracked == [("latency", 0), ("latency", 1)]
    assert result.value("crop.threads-1") > 0
    assert result.value("network.8.threads-1.rate") == pytest.approx(8000 / result.value("network.8.threads-1"))
    assert [item["name"] for item in result.items] == ["crop", "network.8"]
    assert result.items[0]["threads-1 count"] == 2
    assert result.settings["device"] == "cpu"


def test_latency_needs_a_detector(aligner, tmp_path):
    with pytest.raises(ValueError, match="detector"):
        latency.evaluate(Setup(tmp_path, Aligner(aligner.regressor, aligner.decoder)))


class OnCuda:
    """A network that reports a GPU as its device."""

    device = "cuda"

    def __init__(self, network):
        self.network = network

    def __call__(self, batch):
        return self.network(batch)


def test_a_gpu_adds_a_large_batch(aligner):
    model = Aligner(OnCuda(aligner.regressor), aligner.decoder, detector=aligner.detector)
    report = run(model, Plan("network.*", rounds=1, threads=(1,)))
    assert report.rows[-1].stage == "network.256"
    assert report.rows[-1].faces == 256
    assert any("cuda: " in line and "(batch 256)" in line for line in report.lines())
