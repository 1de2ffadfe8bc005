import logging

import numpy as np
import pytest

from tddfa._shared.tones import to_8_bits


def grey(*values, dtype):
    return np.array([values], dtype=dtype)


def test_8_bits_are_kept():
    image = np.zeros((2, 2, 3), np.uint8)
    assert to_8_bits(image, "x") is image


@pytest.mark.parametrize(
    ("high", "bits"), [(4095, 12), (2100, 12), (1023, 10), (16383, 14), (300, 9), (255, 8), (3, 8)]
)
def test_fewer_bits_in_16_are_stretched_with_a_warning(high, bits, caplog):
    values = grey(0, high // 2, high, dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bits(values, "x"), values >> (bits - 8))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == f"x: the largest 16-bit value is {high}: read as a {bits}-bit image, and stretched"


@pytest.mark.parametrize("high", [0, 16384, 65535])
def test_16_bits_lose_the_lower_half(high, caplog):
    values = grey(0, high // 3, high, dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bits(values, "x"), values // 256)
    assert not caplog.records


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_white_of_floats_follows_from_the_largest_value(white, dtype, caplog):
    values = grey(0, white / 2, white, dtype=dtype)
    np.testing.assert_array_equal(to_8_bits(values, "x"), [[0, 128, 255]])
    np.testing.assert_array_equal(to_8_bits(values * 0.26, "x"), [[0, 33, 66]])
    np.testing.assert_array_equal(to_8_bits(values * 1.09 - white * 0.05, "x"), [[0, 126, 255]])  # an overshoot
    assert not caplog.records


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (grey(0, 0.05, 0.1, dtype=np.float32), [0, 128, 255]),
        (grey(0, 2, 4, dtype=np.float64), [0, 128, 255]),
        (grey(0, 1000, 2000, dtype=np.int32), [0, 128, 255]),
        (grey(-1000, 0, 3000, dtype=np.int16), [0, 64, 255]),
        (grey(-4, -3, -2, dtype=np.float32), [0, 128, 255]),
        (grey(0, 1e300, 1.7e308, dtype=np.float64), [0, 0, 255]),
    ],
)
def test_other_ranges_are_stretched_with_a_warning(values, expected, caplog):
    np.testing.assert_array_equal(to_8_bits(values, "x")[0], expected)
    (record,) = caplog.records
    assert record.message.startswith("x: values from ")


def test_pixels_that_are_no_numbers_are_black(caplog):
    values = grey(np.nan, np.inf, -np.inf, 1, dtype=np.float32)
    np.testing.assert_array_equal(to_8_bits(values, "x"), [[0, 0, 0, 255]])
    assert [record.message for record in caplog.records] == ["x: pixels that are not finite are read as black"]


@pytest.mark.parametrize("values", [np.zeros((2, 2, 3), np.float32), np.full((2, 2), np.nan), np.zeros((0, 3))])
def test_black_stays_black(values):
    image = to_8_bits(values, "x")
    assert image.shape == values.shape
    assert not image.any()
