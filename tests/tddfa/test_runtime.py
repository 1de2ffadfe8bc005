import logging
import subprocess
import sys

import numpy as np
import pytest

from tddfa import runtime
from tddfa.runtime import Model


@pytest.fixture
def weights(root):
    return root / "weights/open_mb05.onnx"


@pytest.fixture(autouse=True)
def forget_providers():
    runtime._providers.cache_clear()
    yield
    runtime._providers.cache_clear()


def test_named_outputs_and_dynamic_batch(weights, rng):
    model = Model(weights, "cpu", threads=1)
    crops = rng.integers(0, 255, (3, 120, 120, 3), dtype=np.uint8)
    outputs = model(crops)
    assert {name: value.shape for name, value in outputs.items()} == {
        "camera": (3, 3, 4), "shape": (3, 40), "expression": (3, 55), "score": (3,),
    }  # fmt: skip
    assert model.outputs == ("camera", "shape", "expression", "score")
    alone = model(crops[1:2])
    for name in outputs:
        np.testing.assert_allclose(outputs[name][1], alone[name][0], rtol=1e-3, atol=1e-3)
    assert model.device == "cpu"


def test_what_is_never_called_is_never_read(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    model = Model(tmp_path / "bad.onnx", "cpu")
    with pytest.raises(ValueError, match=r"bad\.onnx: not a model that ONNX Runtime can load"):
        model(np.zeros((1, 120, 120, 3), np.uint8))


def test_a_batch_of_another_size_is_named(weights):
    with pytest.raises(ValueError, match=r"open_mb05\.onnx: it cannot run on a batch of shape \(1, 100, 100, 3\)"):
        Model(weights, "cpu", threads=1)(np.zeros((1, 100, 100, 3), np.uint8))


def test_bad_arguments_are_named(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such model file"):
        Model(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="device: expected one of auto, cpu, cuda, got 'tpu'"):
        Model(weights, "tpu")
    with pytest.raises(ValueError, match="threads: expected 1 or more, got 0"):
        Model(weights, threads=0)


class TestProviders:
    @pytest.fixture
    def without_gpu(self, monkeypatch):
        monkeypatch.setattr(runtime, "cuda_device_count", lambda: 0)

    @pytest.fixture
    def with_gpu(self, monkeypatch):
        class Fake:
            @staticmethod
            def get_available_providers():
                return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

        monkeypatch.setattr(runtime, "cuda_device_count", lambda: 1)
        monkeypatch.setattr(runtime, "_onnxruntime", lambda: Fake)

    def test_auto_is_silent_without_a_gpu(self, without_gpu, caplog):
        assert runtime._providers("auto") == ("CPUExecutionProvider",)
        assert not caplog.records

    def test_cuda_without_a_gpu_says_so_once_and_runs(self, without_gpu, weights, caplog):
        with caplog.at_level(logging.WARNING):
            models = [Model(weights, "cuda", threads=1) for _ in range(2)]
            assert [model.device for model in models] == ["cpu", "cpu"]
        assert len(caplog.records) == 1
        assert "running on the CPU" in caplog.text

    def test_a_gpu_is_taken_first(self, with_gpu):
        assert runtime._providers("auto") == ("CUDAExecutionProvider", "CPUExecutionProvider")
        assert runtime._providers("cpu") == ("CPUExecutionProvider",)


def test_a_run_without_a_gpu_writes_nothing_to_stderr(weights):
    code = (
        "import numpy as np\nfrom tddfa.runtime import Model, cuda_device_count\n"
        f"m = Model({str(weights)!r}, 'auto')\nm(np.zeros((1, 120, 120, 3), np.uint8))\n"
        "print(m.device, cuda_device_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    device, count = done.stdout.split()
    if count != "0":
        pytest.skip("this machine has a GPU")
    assert device == "cpu"
    assert done.stderr == ""


@pytest.mark.gpu
def test_a_gpu_runs_it(weights, rng):
    if runtime.cuda_device_count() == 0:
        pytest.skip("no CUDA device")
    crops = rng.integers(0, 255, (4, 120, 120, 3), dtype=np.uint8)
    model = Model(weights, "cuda")
    assert model.device == "cuda"
    on_cpu = Model(weights, "cpu")(crops)
    for name, value in model(crops).items():
        np.testing.assert_allclose(value, on_cpu[name], rtol=1e-2, atol=2e-2)
