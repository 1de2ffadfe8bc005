from types import SimpleNamespace

import cv2
import pytest

from tddfa._shared import opencv_log

WARNING = 3


@pytest.fixture(autouse=True)
def level():
    with opencv_log.silent():  # restores the level
        opencv_log._LOG.setLogLevel(WARNING)
        yield


def printed(capfd):
    """What OpenCV prints about a file that does not exist."""
    assert cv2.imread("no_such_file.png") is None
    return capfd.readouterr().err


def test_opencv_is_silent_inside_and_prints_afterwards(capfd):
    assert "no_such_file.png" in printed(capfd)
    with opencv_log.silent():
        assert printed(capfd) == ""
    assert "no_such_file.png" in printed(capfd)


def test_the_level_is_restored_after_an_error():
    with pytest.raises(KeyError), opencv_log.silent():
        raise KeyError
    assert opencv_log._LOG.getLogLevel() == WARNING


def test_silence_lasts(capfd):
    opencv_log.silence()
    assert printed(capfd) == ""


def test_the_functions_are_found_in_old_and_new_opencv():
    old, new = SimpleNamespace(utils=SimpleNamespace()), SimpleNamespace(utils=SimpleNamespace(logging="module"))
    assert opencv_log.functions(old) is old  # 4.10 to 4.12
    assert opencv_log.functions(new) == "module"


def test_no_other_module_uses_the_functions(root):
    users = [
        path.relative_to(root).as_posix()
        for package in ("tddfa", "FaceBoxes", "Sim3DR")
        for path in (root / package).rglob("*.py")
        if "setLogLevel" in path.read_text(encoding="utf-8") or "utils.logging" in path.read_text(encoding="utf-8")
    ]
    assert users == ["tddfa/_shared/opencv_log.py"]
