"""Reused memory: never memory that is still referenced, and never much more than requested."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from Sim3DR import empty, interpolate, rasterize

TRIANGLE = [[0, 1, 2]]


def address(array):
    return array.__array_interface__["data"][0]


def image(side, value):
    raster = rasterize([[-1, -1, 0], [3 * side, -1, 0], [-1, 3 * side, 0]], TRIANGLE, (0, 0, side, side))
    return interpolate(raster, TRIANGLE, [[value]] * 3, dtype=np.uint8)


def test_live_arrays_are_not_overwritten():
    kept = [image(50 + k, k) for k in range(40)]
    for k, array in enumerate(kept):
        assert (array == k).all()
    views = [image(64, k)[10:20, ::2] for k in range(40)]  # a part of an image keeps all of it
    for k, view in enumerate(views):
        assert (view == k).all()


def test_it_is_used_again():
    array = empty((3 << 20,), np.uint8)
    before = address(array)
    del array
    assert address(empty((3 << 20,), np.uint8)) == before


def test_a_small_array_does_not_hold_a_large_block():
    large = empty((32 << 20,), np.uint8)
    before = address(large)
    del large
    small = [empty((100,), np.uint8) for _ in range(4)]
    assert before not in map(address, small)
    assert address(empty((32 << 20,), np.uint8)) == before


def test_threads_at_once():
    ready = threading.Barrier(4)

    def work(value):
        ready.wait()
        for round in range(30):
            array = image(40 + 7 * (round % 5), value)
            if not (array == value).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 5)))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0, 3)])
def test_nothing(shape):
    assert empty(shape, np.float32).shape == shape
