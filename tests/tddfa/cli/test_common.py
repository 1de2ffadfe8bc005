"""What is loaded before the first photo, and from where."""

import os

from tddfa._shared import image_io
from tddfa._shared.terminal.parser import Parser
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.cli._common import add_model_options, device_of, load_networks
from tddfa.model.assets import WEIGHTS_VARIABLE
from tddfa.model.runtime import Model


def test_the_time_of_the_first_photo_excludes_loading(root, tmp_path, monkeypatch):
    """Its clock starts when it is read."""
    load, read = Model._session.func, image_io.read
    events = []
    session = type(Model._session)(lambda model: events.append(model.path.name) or load(model))
    session.__set_name__(Model, "_session")
    monkeypatch.setattr(Model, "_session", session)
    monkeypatch.setattr(image_io, "read", lambda *words, **options: events.append("read") or read(*words, **options))
    monkeypatch.setattr(cli_image, "has_display", lambda: False)
    photo = str(root / "examples/inputs/astronaut.jpg")
    assert main(["image", photo, "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert events == ["open_mb05.onnx", "faceboxes.onnx", "read"]


def test_the_detector_is_loaded_only_if_it_is_used(monkeypatch):
    from tddfa import Aligner

    aligner = Aligner.load("open_mb05", device="cpu")
    load_networks(aligner, detects=False)
    assert "_session" in vars(aligner.regressor)
    assert "_session" not in vars(aligner.detector.find.model)
    load_networks(aligner)
    assert "_session" in vars(aligner.detector.find.model)


def test_the_folder_of_weights_must_be_one(root, capsys, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, "before")
    photo = str(root / "examples/inputs/astronaut.jpg")
    assert main(["image", photo, "--weights", "no/such/folder"]) == 2
    assert "--weights: expected a folder, got 'no/such/folder'\n" in capsys.readouterr().err
    assert os.environ[WEIGHTS_VARIABLE] == "before"


def test_the_folder_of_weights_is_that_of_processes_too(root, tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, "before")  # restored after the test
    photo = str(root / "examples/inputs/astronaut.jpg")
    assert main(["image", photo, "--weights", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert os.environ[WEIGHTS_VARIABLE] == str(tmp_path)


def test_gpu_is_cuda():
    """The word of ``-m gpu``, which is often given to ``--device``."""
    parser = Parser()
    add_model_options(parser)
    assert device_of(parser.parse_args(["--device", "gpu"])) == "cuda"
    assert device_of(parser.parse_args(["-m", "gpu"])) == "cuda"
