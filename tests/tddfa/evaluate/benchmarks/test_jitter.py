import numpy as np
import pytest

from tddfa import synthetic
from tddfa.evaluate.benchmarks import jitter
from tddfa.evaluate.benchmarks.jitter import id_changes, lag
from tddfa.evaluate.result import DataMissing, Setup
from tddfa.video import Writer


def swinging(delay, count=90, points=5):
    """Oscillating points, delayed by some frames."""
    at = np.arange(count)[:, None, None] - delay
    phase = np.arange(points)[:, None] + np.array([0, 1.5])
    return 100 + 40 * np.sin(2 * np.pi * at / 35 + phase)


@pytest.mark.parametrize("delay", [0, 0.5, 1, 2.35, -0.6])
def test_a_known_lag(delay):
    assert lag(swinging(delay), swinging(0)) == pytest.approx(delay, abs=0.06)


def test_a_constant_offset_does_not_change_the_lag(rng):
    assert lag(swinging(1) + rng.normal(0, 20, (5, 2)), swinging(0)) == pytest.approx(1, abs=0.06)


def test_noise_does_not_change_the_lag(rng):
    assert lag(swinging(1) + rng.normal(0, 3, (90, 5, 2)), swinging(0)) == pytest.approx(1, abs=0.2)


def test_undefined_lag_is_nan():
    assert np.isnan(lag(np.zeros((50, 5, 2)), np.zeros((50, 5, 2))))
    assert np.isnan(lag(swinging(0, count=11), swinging(0, count=11)))


def face_at(x, y):
    return np.array([[x, y], [x + 100, y + 120]], np.float32)


def test_constant_ids_are_no_change():
    assert id_changes([{0: face_at(5 * k, 0), 1: face_at(300 - 5 * k, 0)} for k in range(60)]) == 0


def test_a_new_id_in_the_same_place_is_a_change():
    frames = [{0: face_at(0, 0)}] * 5 + [{}] * 10 + [{1: face_at(20, 0)}] * 5
    assert id_changes(frames) == 1


def test_a_new_id_elsewhere_or_much_later_is_another_face():
    assert id_changes([{0: face_at(0, 0)}] * 5 + [{1: face_at(300, 0)}] * 5) == 0
    assert id_changes([{0: face_at(0, 0)}] + [{}] * 61 + [{1: face_at(0, 0)}]) == 0


def test_a_second_face_beside_a_present_one_is_no_change():
    assert id_changes([{0: face_at(0, 0)}] + [{0: face_at(0, 0), 1: face_at(10, 0)}] * 3) == 0


def test_no_video(aligner, tmp_path):
    with pytest.raises(DataMissing, match=r"carphone\.mp4"):
        jitter.evaluate(Setup(tmp_path, aligner))
    with pytest.raises(ValueError, match="12 or more"):
        jitter.evaluate(Setup(tmp_path, aligner), frames=5)


def written(path, scene, count):
    with Writer(path, fps=30) as writer:
        for image, _ in synthetic.frames(scene, count, (240, 320), seed=2):
            writer.write(image)
    return path


@pytest.fixture(scope="module")
def no_faces(aligner, tmp_path_factory):
    path = written(tmp_path_factory.mktemp("video") / "no_faces.mp4", "empty", 14)
    return jitter.evaluate(Setup(path.parent, aligner), video=path, frames=40)


def test_a_video_without_faces(no_faces):
    assert no_faces.value("video.frames") == no_faces.value("video.without") == 14
    assert no_faces.value("video.faces") == no_faces.value("video.ids") == 0
    assert no_faces.value("video.jitter.one_euro") is None
    assert no_faces.items[3] == {"frame": 3, "faces": 0, "ids": []}


def test_filters_reduce_jitter_of_rendered_heads(no_faces):
    """The order of the filters; the figures depend on the model."""
    for scene in jitter.SCENES:
        by = {
            name: no_faces.value(f"{scene}.jitter.{name}") for name in ("ground_truth", "none", "one_euro", "lookahead")
        }
        # the jitter of a moving head is small next to its motion
        assert by["one_euro"] < (0.75 if by["ground_truth"] < 0.2 else 1) * by["none"]
        assert by["ground_truth"] < by["none"]
        assert by["lookahead"] < by["none"]
        assert no_faces.value(f"{scene}.missed.none") == 0
        assert no_faces.value(f"{scene}.nme.none") < 5
        assert no_faces.value(f"{scene}.lag.none") < no_faces.value(f"{scene}.lag.one_euro") + 0.5


@pytest.mark.evaluation
def test_a_talking_face(aligner, evaluation):
    result = jitter.evaluate(Setup(evaluation, aligner, limit=40), frames=12)
    assert result.value("video.frames") == 40
    assert result.value("video.without") == result.value("video.id_changes") == 0
    assert result.value("video.jitter.one_euro") < 0.7 * result.value("video.jitter.none")
