"""Images of several requests through the networks together."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tddfa import Aligner
from tddfa.serve.batches import Batches


class Recording(Aligner):
    """An aligner that keeps the sizes of its batches; the first one waits for `go`."""

    def __init__(self, aligner):
        super().__init__(aligner.regressor, aligner.decoder, detector=aligner.detector, min_score=aligner.min_score)
        self.sizes = []
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, image, **options):
        return self._recorded(1, lambda: super(Recording, self).__call__(image, **options))

    def batch(self, images, **options):
        return self._recorded(len(images), lambda: super(Recording, self).batch(images, **options))

    def _recorded(self, size, align):
        self.sizes.append(size)
        self.started.set()
        assert self.go.wait(60)
        return align()


@pytest.fixture
def recording(aligner):
    return Recording(aligner)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def while_the_first_is_aligned(batches, recording, threads, images):
    """Futures of all images: the first has the only turn while the others come, in their order."""
    futures = [threads.submit(batches, images[0])]
    assert recording.started.wait(60)
    for count, image in enumerate(images[1:], 1):
        futures.append(threads.submit(batches, image))
        deadline = time.monotonic() + 60
        while len(batches._waiting) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    recording.go.set()
    return futures


def test_those_that_wait_go_together_and_get_the_faces_of_the_serial_run(recording, threads, aligner, astronaut):
    images = [astronaut, *(np.ascontiguousarray(astronaut[: 400 - 10 * k, 5 * k :]) for k in range(5))]
    batches = Batches(recording, turns=1, most=4)
    futures = while_the_first_is_aligned(batches, recording, threads, images)
    found = [future.result(60) for future in futures]
    assert recording.sizes == [1, 4, 1]
    serial = Recording(aligner)
    serial.go.set()
    for faces, image in zip(found, images, strict=True):
        assert len(faces) >= 1
        for face, expected in zip(faces, serial(image), strict=True):
            np.testing.assert_allclose(face.landmarks, expected.landmarks, atol=1e-3)
            assert face.image_size == image.shape[:2]


def test_only_the_one_that_is_to_blame_fails(recording, threads, astronaut):
    wrong = np.zeros((4, 4), np.uint8)  # no colours
    batches = Batches(recording, turns=1, most=4)
    futures = while_the_first_is_aligned(batches, recording, threads, [astronaut, astronaut, wrong, astronaut])
    assert [len(futures[index].result(60)) for index in (0, 1, 3)] == [1, 1, 1]
    with pytest.raises(ValueError, match="image"):
        futures[2].result(60)
    assert len(batches(astronaut)) == 1  # and the next one works


def test_no_image_stays(aligner, astronaut):
    """Many threads, few turns: each gets the answer of its own image."""
    small = [np.ascontiguousarray(astronaut[: 200 + k, 100:340]) for k in range(24)]
    batches = Batches(aligner, turns=2, most=3)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(batches, small, timeout=60))
    assert [faces[0].image_size[0] for faces in found] == [len(image) for image in small]


@pytest.mark.parametrize(("turns", "most", "name"), [(0, 1, "turns"), (1, 0, "most")])
def test_numbers_are_checked(aligner, turns, most, name):
    with pytest.raises(ValueError, match=f"{name}: expected 1 or more, got 0"):
        Batches(aligner, turns=turns, most=most)
