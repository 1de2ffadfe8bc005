import locale

import numpy as np
import pytest

from tddfa.export import _text


def column(values) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 1)


def as_python_writes(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text[1:] if text[0] == "-" and float(text) == 0 else text


def broad() -> np.ndarray:
    rng = np.random.default_rng(3)
    with np.errstate(over="ignore"):
        spread = (rng.standard_normal(20_000) * 10.0 ** rng.integers(-12, 39, 20_000)).astype(np.float32)
    picture = rng.uniform(-300, 4000, 20_000)
    ties = np.arange(-2000, 2000) / 16
    largest = np.finfo(np.float32).max
    edges = [0, -0.0, 0.0005, -0.0005, 0.0004999, 1e-45, -1e-45, 0.9995, 999.9995, largest, -largest]
    whole = [2**24 - 1, 2**24 - 0.5, 2**24, 2**24 + 2, 2**31, 2**53, 2**62, 2**63, 2**64, 1e12, -1e12, 1e30]
    everything = np.concatenate([spread[np.isfinite(spread)], picture, ties, edges, whole])
    return everything.astype(np.float32)


@pytest.mark.parametrize("decimals", range(10))
def test_numbers_are_those_of_python(decimals):
    values = broad()
    got = _text.format_rows(b"", column(values), (decimals,)).decode().split("\n")
    assert got.pop() == ""
    assert got == [as_python_writes(value, decimals) for value in values.tolist()]


def test_ties_go_to_the_even_digit():
    values = column([0.0625, 0.1875, 0.5, 1.5, 2.5, -2.5])
    assert _text.format_rows(b"", values[:2], (3,)) == b"0.062\n0.188\n"
    assert _text.format_rows(b"", values[2:], (0,)) == b"0\n2\n2\n-2\n"


def test_zero_has_no_sign():
    assert _text.format_rows(b"", column([-0.0, -0.0004, -1e-45]), (3,)) == b"0.000\n" * 3


def test_rows_have_prefix_and_their_own_decimals():
    rows = np.array([[1, -2.5, 255], [0.25, 1e12, 0]], np.float32)
    assert _text.format_rows(b"v ", rows, (3, 1, 0)) == b"v 1.000 -2.5 255\nv 0.250 999999995904.0 0\n"


def test_longest_rows_fit():
    rows = np.full((3, 16), -np.finfo(np.float32).max, np.float32)
    got = _text.format_rows(b"p" * 64, rows, (9,) * 16).decode()
    assert got == ("p" * 64 + " ".join([f"{float(rows[0, 0]):.9f}"] * 16) + "\n") * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (2, 1)])
def test_non_finite_is_refused(bad, where):
    rows = np.ones((4, 2), np.float32)
    rows[where] = bad
    with pytest.raises(ValueError, match=f"finite.*row {where[0]}, column {where[1]}"):
        _text.format_rows(b"", rows, (3, 3))


def test_no_rows():
    assert _text.format_rows(b"v ", np.zeros((0, 3), np.float32), (3, 3, 3)) == b""
    assert _text.format_faces(b"f ", np.zeros((0, 3), np.int32)) == b""


@pytest.mark.parametrize(
    ("prefix", "shape", "decimals", "what"),
    [
        (b"", (2, 2), (3,), "decimals"),
        (b"", (2, 2), (3, 10), "decimals"),
        (b"", (2, 2), (3, -1), "decimals"),
        (b"", (2, 17), (3,) * 17, "rows"),
        (b"", (2, 0), (), "rows"),
        (b"p" * 65, (2, 1), (3,), "prefix"),
    ],
)
def test_arguments_out_of_range(prefix, shape, decimals, what):
    with pytest.raises(ValueError, match=what):
        _text.format_rows(prefix, np.zeros(shape, np.float32), decimals)


def test_other_arrays_are_refused():
    with pytest.raises(ValueError):
        _text.format_rows(b"", np.zeros((2, 2)), (3, 3))
    with pytest.raises(ValueError):
        _text.format_rows(b"", np.zeros((4, 4), np.float32)[:, ::2], (3, 3))
    with pytest.raises(ValueError):
        _text.format_faces(b"", np.zeros((2, 3), np.int64))
    with pytest.raises(TypeError):
        _text.format_rows(b"", None, (3,))


def test_read_only_arrays():
    rows, triangles = column([1]), np.array([[0, 1, 2]], np.int32)
    rows.flags.writeable = triangles.flags.writeable = False
    assert _text.format_rows(b"", rows, (0,)) == b"1\n"
    assert _text.format_faces(b"", triangles) == b"0 1 2\n"


def test_locale_does_not_matter():
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "German_Germany.1252"):
            try:
                locale.setlocale(locale.LC_NUMERIC, name)
                break
            except locale.Error:
                continue
        else:
            pytest.skip("no locale with a decimal comma")
        assert _text.format_rows(b"", column([1.5, 1e30]), (1,)) == b"1.5\n1000000015047466219876688855040.0\n"
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


def test_faces():
    triangles = np.array([[0, 9, 10], [99, 100, 101], [12345, 999_999, 2**31 - 1]], np.int32)
    assert _text.format_faces(b"3 ", triangles) == b"3 0 9 10\n3 99 100 101\n3 12345 999999 2147483647\n"
    assert _text.format_faces(b"f ", triangles[:1], 1, 1) == b"f 1/1 10/10 11/11\n"
    assert _text.format_faces(b"f ", triangles[:1], 11, uv_offset=1) == b"f 11/1 20/10 21/11\n"
    far = _text.format_faces(b"p" * 64, triangles[2:], 2**32, 2**32)
    assert far == b"p" * 64 + b"4294979641/4294979641 4295967295/4295967295 6442450943/6442450943\n"


@pytest.mark.parametrize("where", [(0, 0), (1, 2)])
def test_negative_index_is_refused(where):
    triangles = np.ones((2, 3), np.int32)
    triangles[where] = -5
    with pytest.raises(ValueError, match=f"-5 in row {where[0]}"):
        _text.format_faces(b"", triangles, 1)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((b"", np.zeros((2, 4), np.int32)), "triangles"),
        ((b"", np.zeros((2, 3), np.int32), -1), "offset"),
        ((b"", np.zeros((2, 3), np.int32), 2**32 + 1), "offset"),
        ((b"", np.zeros((2, 3), np.int32), 0, 2**40), "uv_offset"),
        ((b"", np.zeros((2, 3), np.int32), 10**30), "offset"),
        ((b"", np.zeros((2, 3), np.int32), 0, -(10**30)), "uv_offset"),
        ((b"p" * 65, np.zeros((2, 3), np.int32)), "prefix"),
    ],
)
def test_face_arguments_out_of_range(arguments, what):
    with pytest.raises(ValueError, match=what):
        _text.format_faces(*arguments)
