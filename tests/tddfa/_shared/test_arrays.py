import numpy as np
import pytest

from tddfa._shared.arrays import cached_by_arrays, checked, checked_image, make_constant


def test_valid_arrays_are_not_copied():
    array = np.ones((4, 3), np.float32)
    assert checked("a", array, (None, 3)) is array


@pytest.mark.parametrize(
    "value",
    [
        np.ones((4, 3)),
        np.ones((4, 3), np.uint8),
        np.ones((3, 4), np.float32).T,
        np.ones((8, 3), np.float32)[::2],
        [[1, 1, 1]] * 4,
    ],
)
def test_other_dtypes_are_converted(value):
    array = checked("a", value, (4, 3))
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, 1)


@pytest.mark.parametrize(
    ("value", "shape", "dtype", "error", "message"),
    [
        (np.ones((4, 2)), (None, 3), np.float32, ValueError, r"a: expected shape \(n, 3\), got \(4, 2\)"),
        (np.ones(4), (None, 3), np.float32, ValueError, r"got \(4,\)"),
        (["x"], (1,), np.float32, TypeError, "a: expected numbers"),
        ([None], (1,), np.float32, TypeError, "a: expected numbers"),
        ([1.5], (1,), np.int32, TypeError, "a: expected whole numbers"),
        ([np.nan, 1, np.inf], (3,), np.float32, ValueError, "2 that are NaN or infinite"),
        ([1e300], (1,), np.float32, ValueError, "1 that are NaN or infinite"),
    ],
)
def test_invalid_arrays_raise_an_error_with_their_name(value, shape, dtype, error, message):
    with pytest.raises(error, match=message):
        checked("a", value, shape, dtype)


def test_images():
    image = np.zeros((2, 3, 3), np.uint8)
    assert checked_image("image", image) is image
    for wrong, error in (
        ("text", TypeError),
        (image.astype(float), TypeError),
        (image[..., 0], ValueError),
        (np.zeros((2, 3, 4), np.uint8), ValueError),
        (image[:0], ValueError),
    ):
        with pytest.raises(error, match="image: expected"):
            checked_image("image", wrong)


@pytest.mark.parametrize(("value", "kind"), [([0, 2**32 + 2], np.int32), ([256], np.uint8), ([-1], np.uint8)])
def test_whole_numbers_do_not_wrap(value, kind):
    with pytest.raises(ValueError, match=r"a: expected numbers from -?\d+ to \d+, got"):
        checked("a", np.array(value, np.int64), (None,), kind)
    assert checked("a", np.array([7], np.int64), (None,), kind).dtype == kind


class TestCachedByArrays:
    def test_equal_arrays_are_one_argument_and_changed_ones_another(self):
        seen = []

        @cached_by_arrays(maxsize=4)
        def total(numbers, factor=1):
            seen.append(numbers)
            return factor * int(numbers.sum())

        numbers = np.arange(100)
        assert total(numbers) == total(numbers.copy()) == 4950
        assert len(seen) == 1
        numbers[1] = 1001  # not one of the values that are hashed
        assert total(numbers) == 5950
        numbers[1] = 1
        assert total(numbers) == 4950
        assert len(seen) == 2
        assert total(numbers, factor=2) == 9900
        assert total(numbers, factor=2) == 9900
        assert len(seen) == 3
        assert all(each is not numbers for each in seen)

    def test_constant_arrays_are_not_copied(self):
        @cached_by_arrays(maxsize=2)
        def same(numbers):
            return numbers

        owner = np.arange(10)
        view = owner[2:]
        view.flags.writeable = False
        assert same(view) is not view, "its memory may still be changed"
        make_constant(view)
        assert not owner.flags.writeable
        same.cache_clear()
        assert same(view) is view
        assert same(view.copy()) is view
