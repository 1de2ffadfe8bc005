import pytest

from tddfa import Aligner, Config
from tddfa.cli import main
from tddfa.crop import roi_from_box
from tddfa.detector import YuNet, fetch_yunet
from tddfa.model.assets import config_path
from tddfa.model.config import YuNetConfig


@pytest.fixture
def fetch(tmp_path, monkeypatch, capfd):
    """Runs ``tddfa fetch yunet`` with a cache folder of its own; gives status, stdout and stderr."""
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        status = main(["fetch", "yunet", *map(str, arguments)])
        return status, *capfd.readouterr()

    return run


@pytest.mark.teachers
def test_the_released_file(fetch, yunet_file, tmp_path, two_people):
    status, out, err = fetch("--from", yunet_file)
    assert (status, err) == (0, "")
    assert "Apache-2.0" in out and "ready: -c open_mb05_yunet" in out
    assert (tmp_path / "cache/yunet/yunet_n_dynamic.onnx").read_bytes() == yunet_file.read_bytes()
    aligner = Aligner.load("open_mb05_yunet", device="cpu")
    assert isinstance(aligner.detector.find, YuNet)
    faces = aligner(two_people)
    assert len(faces) == 2 and min(face.score for face in faces) > 0.9


def test_another_file_is_refused_with_both_hashes(fetch, tmp_path):
    (tmp_path / "yunet_n_dynamic.onnx").write_bytes(b"another")
    status, _, err = fetch("--from", tmp_path / "yunet_n_dynamic.onnx")
    assert status == 1
    assert f"expected sha256 {fetch_yunet.SHA256}, got " in err and "(7 bytes)" in err
    status, _, err = fetch("--from", tmp_path)
    assert status == 1 and "not the released file yunet_n_dynamic.onnx: expected a file, got a folder" in err
    assert not (tmp_path / "cache").exists()


def test_a_missing_file(fetch, tmp_path):
    status, _, err = fetch("--from", tmp_path / "none.onnx")
    assert status == 1 and "none.onnx: cannot be read" in err
    status, _, err = fetch()
    assert status == 2 and "--from: expected the file yunet_n_dynamic.onnx" in err
    status, _, err = fetch("--from", tmp_path, "--bfm", "x")
    assert status == 2 and "--bfm: expected only with 3ddfa_v2" in err
    with pytest.raises(ValueError, match=r"open_mb05_yunet: no such config; `tddfa fetch yunet --from FILE` gets it"):
        config_path("open_mb05_yunet")


def test_the_config_is_open_mb05_with_another_detector(tmp_path):
    (tmp_path / "mine.yml").write_text(fetch_yunet._TEXT)
    config, ours = Config.load(tmp_path / "mine.yml"), Config.load(config_path("open_mb05"))
    assert isinstance(config.detector, YuNetConfig)
    assert (config.model, config.face_model) == (ours.model, ours.face_model)
    # its boxes begin higher, so the square of a face is farther down
    face, higher = [20, 40, 123, 155], [20, 14, 123, 155]
    square, other = roi_from_box(face, ours.crop), roi_from_box(higher, config.crop)
    assert square.iou(other) > 0.85
