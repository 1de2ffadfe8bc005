"""A photo that ends the process that reads it does not stop a run for ever."""

import json
import sys

import pytest

from builders_scale import errors, faces

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from tddfa.scale import reading, worker
from tddfa.scale.attempts import REASON
from tddfa.scale.lock import Lock, LockedError


class ProcessEnded(BaseException):
    """In the place of a crash: nothing below the test catches it."""


@pytest.fixture
def fatal(monkeypatch):
    """Let photos with this name end the process that reads them; count how often."""
    deaths = []

    def fatal(name):
        def load(items, **options):
            for item in items:
                if item.name.endswith(name):
                    deaths.append(item.name)
                    raise ProcessEnded
                yield from reading.load_photos([item])

        monkeypatch.setattr(worker, "load_photos", load)
        return deaths

    return fatal


def test_it_becomes_a_row_of_errors_after_five_processes(do, photos, tmp_path, fatal):
    deaths = fatal("face_1.png")
    for _ in range(5):
        with pytest.raises(ProcessEnded):
            do(photos)
    report = do(photos)
    assert len(deaths) == 5
    assert (report.faces, report.errors) == (9, 3)
    assert errors(tmp_path / "out")[str(photos / "face_1.png")] == REASON
    assert not list((tmp_path / "out/_tddfa/tries").iterdir())


def test_a_machine_that_is_shut_down_four_times_costs_no_photo(do, photos, tmp_path, fatal, monkeypatch):
    fatal("face_1.png")
    for _ in range(4):
        with pytest.raises(ProcessEnded):
            do(photos)
    monkeypatch.setattr(worker, "load_photos", reading.load_photos)
    assert do(photos).faces == 10
    assert len(faces(tmp_path / "out")) == 10


@pytest.mark.parametrize("ending", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_the_end_of_a_run_is_no_death_of_a_process(do, photos, fatal, monkeypatch, ending):
    """However often somebody presses Ctrl-C while it is read, a photo is not left out."""

    def end(items, **options):
        raise ending
        yield

    monkeypatch.setattr(worker, "load_photos", end)
    for _ in range(6):
        if ending is KeyboardInterrupt:
            assert do(photos / "face_1.png").interrupted
        else:
            with pytest.raises(OSError, match="No space left"):
                do(photos / "face_1.png")
    monkeypatch.setattr(worker, "load_photos", reading.load_photos)
    report = do(photos / "face_1.png")
    assert (report.faces, report.errors) == (1, 0)


def test_what_other_runs_have_noted_stays(do, photos, tmp_path, monkeypatch):
    """A photo that really ends its process is found even if later runs are interrupted before they reach it."""

    def end(items, **options):
        raise KeyboardInterrupt
        yield

    do(photos / "face_1.png", out="other")
    tries = tmp_path / "out/_tddfa/tries"
    tries.mkdir(parents=True)
    fatal = '{"inputs": "a", "tries": 4, "at": 7, "deaths": {}}'
    (tries / "00000050.json").write_text(fatal)
    monkeypatch.setattr(worker, "load_photos", end)
    assert do(photos / "face_1.png").interrupted
    assert (tries / "00000050.json").read_text() == fatal
    assert json.loads((tries / "00000000.json").read_text())["tries"] == 0


def test_a_run_that_lost_its_lock_changes_nothing(do, photos, tmp_path, monkeypatch):
    tries = tmp_path / "out/_tddfa/tries"

    def lost(*_):
        tries.mkdir(parents=True)
        (tries / "00000000.json").write_text('{"inputs": "a", "tries": 4, "at": 7, "deaths": {}}')
        monkeypatch.setattr(Lock, "check", lambda self: raised())
        yield from ()

    def raised():
        raise LockedError("another run has it")

    monkeypatch.setattr(sys.modules["tddfa.scale.run"], "execute", lost)
    with pytest.raises(LockedError):
        do(photos / "face_1.png")
    assert json.loads((tries / "00000000.json").read_text())["tries"] == 4
