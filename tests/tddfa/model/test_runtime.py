import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from tddfa.cli import _common
from tddfa.model import runtime
from tddfa.model.runtime import Model


@pytest.fixture
def weights(root):
    return root / "weights/open_mb05.onnx"


@pytest.fixture(autouse=True)
def forget_what_was_said():
    for cache in (runtime._choices, runtime._warn_once):
        cache.cache_clear()
    yield
    for cache in (runtime._choices, runtime._warn_once):
        cache.cache_clear()


def test_named_outputs_and_dynamic_batch(weights, rng):
    model = Model(weights, "cpu", threads=1)
    crops = rng.integers(0, 255, (3, 120, 120, 3), dtype=np.uint8)
    outputs = model(crops)
    assert {name: value.shape for name, value in outputs.items()} == {
        "camera": (3, 3, 4), "shape": (3, 40), "expression": (3, 55), "score": (3,), "confidence": (3, 68),
    }  # fmt: skip
    assert model.outputs == ("camera", "shape", "expression", "score", "confidence")
    alone = model(crops[1:2])
    for name in outputs:
        np.testing.assert_allclose(outputs[name][1], alone[name][0], rtol=1e-3, atol=1e-3)
    assert model.device == "cpu"


@pytest.mark.parametrize(("available", "threads", "expected"), [(1, None, 1), (8, None, 0), (1, 3, 3)])
def test_threads_fit_the_cores_of_the_process(weights, monkeypatch, available, threads, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(runtime, "available_cores", lambda: available)
    options = Model(weights, "cpu", threads)._session.get_session_options()
    assert options.intra_op_num_threads == expected


def test_metadata_of_the_file(root):
    assert Model(root / "weights/faceboxes.onnx", "cpu").metadata["model"] == "faceboxes"


def test_a_model_that_is_never_called_is_never_loaded(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    model = Model(tmp_path / "bad.onnx", "cpu")
    with pytest.raises(ValueError, match=r"bad\.onnx: not a model that ONNX Runtime can load"):
        model(np.zeros((1, 120, 120, 3), np.uint8))


def test_a_batch_of_the_wrong_size_gives_an_error(weights):
    with pytest.raises(ValueError, match=r"open_mb05\.onnx: cannot run on a batch of shape \(1, 100, 100, 3\)"):
        Model(weights, "cpu", threads=1)(np.zeros((1, 100, 100, 3), np.uint8))


def test_wrong_arguments_give_an_error(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such model file"):
        Model(tmp_path / "none.onnx")
    with pytest.raises(
        ValueError, match="device: expected one of auto, cpu, cuda, tensorrt, coreml, directml, openvino, got 'tpu'"
    ):
        Model(weights, "tpu")


@pytest.mark.parametrize(
    ("threads", "error", "message"),
    [
        (0, ValueError, "1..1024, got 0"),
        (1025, ValueError, "1..1024, got 1025"),
        (1.5, TypeError, "a whole number, got 1.5"),
        ("2", TypeError, "a whole number, got '2'"),
        (True, TypeError, "a whole number, got True"),
    ],
)
def test_wrong_threads_are_named(weights, threads, error, message):
    with pytest.raises(error, match=f"threads: expected {message}"):
        Model(weights, threads=threads)


def test_threads_may_be_a_number_of_numpy(weights):
    assert Model(weights, "cpu", np.int64(2)).device == "cpu"


def test_the_command_line_has_the_same_devices():
    assert _common.DEVICES == runtime.DEVICES


def test_it_can_be_pickled(weights, rng):
    crops = rng.integers(0, 255, (2, 120, 120, 3), dtype=np.uint8)
    model = Model(weights, "cpu", threads=1)
    expected = model(crops)
    travelled = pickle.loads(pickle.dumps(model))
    for name, value in travelled(crops).items():
        np.testing.assert_array_equal(value, expected[name])


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


class FakeBinding:
    """Binding of a session on a GPU; the CPU computes."""

    def __init__(self, session):
        self.session, self.input, self.outputs = session, None, []

    def bind_cpu_input(self, name, value):
        assert value.flags.c_contiguous
        self.input = {name: value}

    def bind_output(self, name, device):
        self.outputs.append((name, device))

    def copy_outputs_to_cpu(self):
        return self.values


class FakeSession:
    """A session that reports `providers`; creating those in `broken` fails."""

    broken = ()
    missing = ()

    def __init__(self, path, options, *, providers, enable_fallback):
        assert not enable_fallback
        names = [name for name, _ in providers]
        if names[0] in self.broken:
            raise RuntimeError(f"{names[0]}: a library\nis missing")
        self.providers = [name for name in names if name not in self.missing]
        self.settings = dict(providers)
        self.memory_pattern = options.enable_mem_pattern
        self.real = onnxruntime.InferenceSession(path, options, providers=[CPU])
        self.get_inputs, self.get_outputs, self.run = self.real.get_inputs, self.real.get_outputs, self.real.run
        self.bindings = []

    def get_providers(self):
        return self.providers

    def io_binding(self):
        self.bindings.append(FakeBinding(self))
        return self.bindings[-1]

    def run_with_iobinding(self, binding):
        binding.values = self.real.run([name for name, _ in binding.outputs], binding.input)


class TestProviders:
    @pytest.fixture
    def without_gpu(self, monkeypatch):
        monkeypatch.setattr(runtime, "cuda_device_count", lambda: 0)

    @pytest.fixture
    def session(self, monkeypatch):
        return type("Session", (FakeSession,), {})

    @pytest.fixture
    def fake(self, monkeypatch, session):
        """A machine with a GPU, whose onnxruntime has CUDA and TensorRT."""

        class Fake:
            SessionOptions = onnxruntime.SessionOptions
            InferenceSession = session
            available = [TENSORRT, CUDA, CPU]
            preloaded = 0

            @classmethod
            def get_available_providers(cls):
                return cls.available

            @classmethod
            def preload_dlls(cls):
                cls.preloaded += 1

        monkeypatch.setattr(runtime, "cuda_device_count", lambda: 1)
        monkeypatch.setattr(runtime, "_onnxruntime", lambda: Fake)
        return Fake

    def test_auto_is_silent_without_a_gpu(self, without_gpu, caplog):
        assert runtime._choices("auto") == ((CPU,),)
        assert not caplog.records

    @pytest.mark.parametrize("device", ["cuda", "tensorrt"])
    def test_a_missing_gpu_gives_one_warning_and_the_cpu_is_used(self, without_gpu, weights, caplog, device):
        with caplog.at_level(logging.WARNING):
            models = [Model(weights, device, threads=1) for _ in range(2)]
            assert [model.device for model in models] == ["cpu", "cpu"]
        assert len(caplog.records) == 1
        assert f"device {device} was requested, but" in caplog.text
        assert "running on the CPU" in caplog.text

    def test_the_gpu_is_preferred_and_its_libraries_are_loaded(self, fake):
        assert runtime._choices("auto") == ((CUDA, CPU), (CPU,))
        assert fake.preloaded == 1
        assert runtime._choices("cpu") == ((CPU,),)
        assert runtime._choices("tensorrt") == ((TENSORRT, CUDA, CPU), (CUDA, CPU), (CPU,))

    def test_on_a_gpu_inputs_and_outputs_are_bound(self, fake, weights, rng):
        crops = rng.integers(0, 255, (3, 120, 120, 3), dtype=np.uint8)
        model = Model(weights, "cuda", threads=1)
        assert model.device == "cuda"
        assert model.max_batch > Model(weights, "cpu", threads=1).max_batch
        outputs = model(crops[:, :, ::-1])
        (binding,) = model._session.bindings
        assert binding.outputs == [(name, "cuda") for name in model.outputs]
        assert model._session.settings[CUDA] == {"cudnn_conv_algo_search": "HEURISTIC"}
        expected = Model(weights, "cpu", threads=1)(crops[:, :, ::-1])
        for name, value in outputs.items():
            np.testing.assert_array_equal(value, expected[name])

    def test_a_failing_gpu_gives_one_warning_and_the_cpu_is_used(self, fake, session, weights, caplog):
        session.broken = (CUDA,)
        with caplog.at_level(logging.WARNING):
            assert [Model(weights, device, threads=1).device for device in ("auto", "cuda")] == ["cpu", "cpu"]
        assert [record.message for record in caplog.records] == [
            "running on cpu in place of cuda: CUDAExecutionProvider: a library is missing"
        ]

    def test_a_provider_that_is_silently_left_out_gives_a_warning(self, fake, session, weights, caplog):
        session.missing = (TENSORRT,)
        with caplog.at_level(logging.WARNING):
            assert Model(weights, "tensorrt", threads=1).device == "cuda"
        assert caplog.messages == ["running on cuda in place of tensorrt, which could not be loaded"]

    def test_tensorrt_is_used_if_available(self, fake, weights, caplog):
        with caplog.at_level(logging.WARNING):
            assert Model(weights, "tensorrt", threads=1).device == "tensorrt"
        assert not caplog.records

    def test_an_onnxruntime_without_tensorrt_gives_a_warning(self, fake, weights, caplog):
        fake.available = [CUDA, CPU]
        with caplog.at_level(logging.WARNING):
            assert Model(weights, "tensorrt", threads=1).device == "cuda"
        assert caplog.messages == [
            "device tensorrt was requested, but this onnxruntime has no TensorRT: running on CUDA"
        ]

    @pytest.mark.parametrize(
        ("device", "provider"),
        [
            ("coreml", "CoreMLExecutionProvider"),
            ("directml", "DmlExecutionProvider"),
            ("openvino", "OpenVINOExecutionProvider"),
        ],
    )
    class TestOthers:
        def test_one_that_is_there_runs_and_is_named(self, fake, weights, rng, caplog, device, provider):
            fake.available = [provider, CPU]
            assert runtime._choices(device) == ((provider, CPU), (CPU,))
            crops = rng.integers(0, 255, (2, 120, 120, 3), dtype=np.uint8)
            model = Model(weights, device, threads=1)
            with caplog.at_level(logging.WARNING):
                outputs = model(crops)
            assert model.device == device
            assert not model._session.memory_pattern  # it leaves holes, and DirectML warns of it
            assert not model._session.bindings  # its memory is not CUDA's
            for name, value in Model(weights, "cpu", threads=1)(crops).items():
                np.testing.assert_array_equal(outputs[name], value)
            assert not caplog.records

        def test_one_that_is_missing_gives_a_warning_that_names_its_package(
            self, fake, weights, caplog, device, provider
        ):
            fake.available = [TENSORRT, CUDA, CPU]
            with caplog.at_level(logging.WARNING):
                assert Model(weights, device, threads=1).device == "cpu"
            (message,) = caplog.messages
            assert message.startswith(f"device {device} was requested, but this onnxruntime does not have it (onnxrun")
            assert message.endswith("does): running on the CPU")

        def test_one_that_fails_gives_a_warning(self, fake, session, weights, caplog, device, provider):
            fake.available, session.broken = [provider, CPU], (provider,)
            with caplog.at_level(logging.WARNING):
                assert Model(weights, device, threads=1).device == "cpu"
            assert caplog.messages == [f"running on cpu in place of {device}: {provider}: a library is missing"]

        def test_auto_never_takes_it(self, fake, device, provider):
            fake.available = [provider, CPU]
            assert runtime._choices("auto") == ((CPU,),)

    def test_a_bad_file_is_not_blamed_on_the_gpu(self, fake, tmp_path, caplog):
        (tmp_path / "bad.onnx").write_bytes(b"not a model")
        with pytest.raises(ValueError, match="not a model that ONNX Runtime can load"):
            _ = Model(tmp_path / "bad.onnx", "cuda").device
        assert not caplog.records


def test_a_run_without_a_gpu_writes_nothing_to_stderr(weights):
    code = (
        "import numpy as np\nfrom tddfa.model.runtime import Model, cuda_device_count\n"
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
def test_it_runs_on_a_gpu(weights, rng):
    if runtime.cuda_device_count() == 0:
        pytest.skip("no CUDA device")
    crops = rng.integers(0, 255, (4, 120, 120, 3), dtype=np.uint8)
    model = Model(weights, "cuda")
    assert model.device == "cuda"
    on_cpu = Model(weights, "cpu")(crops)
    for name, value in model(crops).items():
        np.testing.assert_allclose(value, on_cpu[name], rtol=1e-2, atol=2e-2)


class TestTelemetry:
    """ONNX Runtime collects usage data, unless it is told not to before it is loaded."""

    @staticmethod
    def run(*arguments, **variables):
        """Run Python as a new user would: CI and test runs are not counted by ONNX Runtime anyway."""
        silent = {"CI", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "TDDFA_CACHE"}
        environment = {name: value for name, value in os.environ.items() if name not in silent}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment | variables, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def test_a_command_writes_no_file_but_its_output(self, root, tmp_path):
        home, temporary, out = (tmp_path / name for name in ("home", "temporary", "out"))
        home.mkdir()
        temporary.mkdir()
        photo = root / "examples/inputs/astronaut.jpg"
        homes = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA")}
        temporaries = {name: str(temporary) for name in ("TMPDIR", "TMP", "TEMP")}
        self.run("-m", "tddfa", "image", "-f", photo, "-o", "3d", "--out", out, **homes, **temporaries)
        files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
        assert files == ["out/astronaut_3d.jpg"]

    def test_the_choice_of_the_user_is_kept(self, tmp_path):
        code = (
            "import os, sys\nfrom tddfa.model import runtime\nassert 'onnxruntime' not in sys.modules\n"
            "runtime._onnxruntime()\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
        )
        assert self.run("-c", code).split() == ["1"]
        assert self.run("-c", code, HOME=str(tmp_path), ORT_DISABLE_TELEMETRY="0").split() == ["0"]
