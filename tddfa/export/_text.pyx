# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Numbers to text in bulk; what the locale says of decimal points does not matter here."""

from cpython.ref cimport PyObject
from libc.math cimport fabs, isfinite, rint
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset


cdef extern from "Python.h":
    # as raw pointers: the resize needs the one reference that there is
    PyObject *PyBytes_FromStringAndSize(const char *text, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **text, Py_ssize_t size) except -1
    char *PyBytes_AS_STRING(PyObject *text)
    void Py_DECREF(PyObject *text)
    const Py_ssize_t PY_SSIZE_T_MAX


cdef enum:
    MAX_PREFIX = 64
    MAX_COLUMNS = 16
    MAX_DECIMALS = 9
    # sign and digits of the largest float32
    MAX_WHOLE = 40
    # digits of an int32 plus the largest offset
    MAX_INDEX = 10

cdef int64_t MAX_OFFSET = <int64_t>1 << 32
# A float32 from here on is a whole number.
cdef double WHOLE_FROM = 1 << 24
cdef double[10] POWERS = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]

cdef char[200] PAIRS
cdef int _pair
for _pair in range(100):
    PAIRS[2 * _pair] = 48 + _pair // 10
    PAIRS[2 * _pair + 1] = 48 + _pair % 10


cdef inline char *write_whole(char *end, uint64_t number) noexcept nogil:
    """Write `number` so that it ends before `end`, and return where it begins."""
    while number >= 100:
        end -= 2
        memcpy(end, PAIRS + 2 * (number % 100), 2)
        number //= 100
    if number >= 10:
        end -= 2
        memcpy(end, PAIRS + 2 * number, 2)
    else:
        end -= 1
        end[0] = <char>(48 + number)
    return end


cdef inline char *write_fixed(char *out, float value, int decimals) noexcept nogil:
    """Write a finite `value` at `out`, and return where it ends."""
    cdef char[24] digits
    cdef char *end = digits + 24
    cdef char *begin = end
    cdef double size = fabs(<double>value)
    cdef uint64_t scaled
    cdef int _
    if size >= WHOLE_FROM:
        # No fraction is asked of snprintf, so it writes no decimal point of some locale.
        out += snprintf(out, MAX_WHOLE + 1, "%.0f", <double>value)
        if decimals:
            out[0] = 46
            out += 1
        memset(out, 48, decimals)
        return out + decimals
    # The product is exact: 24 bits times the 21 of 5**9 fit into a double. So rint rounds the true value.
    scaled = <uint64_t>rint(size * POWERS[decimals])
    if value < 0 and scaled:
        out[0] = 45
        out += 1
    if decimals:
        for _ in range(decimals):
            begin -= 1
            begin[0] = <char>(48 + scaled % 10)
            scaled //= 10
        begin -= 1
        begin[0] = 46
    begin = write_whole(begin, scaled)
    memcpy(out, begin, end - begin)
    return out + (end - begin)


cdef Py_ssize_t room(Py_ssize_t rows, Py_ssize_t row_bytes) except -1:
    # never 0: a bytes object of no length is shared and must not be resized
    if rows >= PY_SSIZE_T_MAX // row_bytes:
        raise MemoryError(f"text of {rows} rows of up to {row_bytes} bytes")
    return rows * row_bytes + 1


cdef bytes cut(PyObject *text, const char *end):
    """Take over `text`, which was written up to `end`."""
    _PyBytes_Resize(&text, end - PyBytes_AS_STRING(text))
    result = <bytes>text
    Py_DECREF(text)
    return result


def format_rows(bytes prefix not None, const float[:, ::1] rows not None, tuple decimals not None):
    """Lines of numbers with a fixed count of decimals: `prefix`, then the row's numbers with a space between.

    They are rounded as printf and Python do it: to the nearest, and to the even digit where a number lies
    exactly between two. A number that rounds to zero has no sign.

    Parameters
    ----------
    prefix : bytes
        What each line begins with; at most 64 bytes.
    rows : ndarray (n, k) float32
        C-contiguous; k is 1..16.
    decimals : tuple of int, k long
        Decimals of each column, 0..9.

    Raises
    ------
    ValueError
        If a number is not finite, or an argument is out of its range.
    """
    cdef Py_ssize_t count = rows.shape[0], columns = rows.shape[1], row = 0, column
    cdef Py_ssize_t prefix_bytes = len(prefix), row_bytes
    cdef const char *prefix_text = prefix
    cdef int[MAX_COLUMNS] places
    cdef float value
    cdef bint finite = True
    if prefix_bytes > MAX_PREFIX:
        raise ValueError(f"prefix: expected at most {MAX_PREFIX} bytes, got {prefix_bytes}")
    if not 1 <= columns <= MAX_COLUMNS:
        raise ValueError(f"rows: expected 1..{MAX_COLUMNS} columns, got {columns}")
    if len(decimals) != columns or not all(0 <= place <= MAX_DECIMALS for place in decimals):
        raise ValueError(f"decimals: expected {columns} of 0..{MAX_DECIMALS}, got {decimals}")
    row_bytes = prefix_bytes
    for column in range(columns):
        places[column] = decimals[column]
        # point, decimals, and a space or the line's end
        row_bytes += MAX_WHOLE + places[column] + 2

    cdef PyObject *text = PyBytes_FromStringAndSize(NULL, room(count, row_bytes))
    cdef char *out = PyBytes_AS_STRING(text)
    with nogil:
        while row < count and finite:
            memcpy(out, prefix_text, prefix_bytes)
            out += prefix_bytes
            for column in range(columns):
                value = rows[row, column]
                if not isfinite(value):
                    finite = False
                    break
                out = write_fixed(out, value, places[column])
                out[0] = 32
                out += 1
            if finite:
                (out - 1)[0] = 10
                row += 1
    if not finite:
        Py_DECREF(text)
        raise ValueError(f"rows: expected finite numbers, got {value} in row {row}, column {column}")
    return cut(text, out)


def format_faces(
    bytes prefix not None, const int32_t[:, ::1] triangles not None, offset=0, uv_offset=None
):
    """Lines of three indices: ``prefix a b c``, or ``prefix a/s b/t c/u`` where `uv_offset` is given.

    Parameters
    ----------
    prefix : bytes
        What each line begins with; at most 64 bytes.
    triangles : ndarray (m, 3) int32
        C-contiguous; none below 0.
    offset : int
        Added to each index; 0..2**32.
    uv_offset : int, optional
        Added to the index after the slash; 0..2**32.

    Raises
    ------
    ValueError
        If an index is negative, or an argument is out of its range.
    """
    cdef Py_ssize_t count = triangles.shape[0], row = 0, column, length
    cdef Py_ssize_t prefix_bytes = len(prefix)
    cdef const char *prefix_text = prefix
    cdef bint slash = uv_offset is not None
    cdef int64_t first, second
    cdef int32_t index = 0
    cdef char[MAX_INDEX] digits
    cdef char *end = digits + MAX_INDEX
    cdef char *begin
    if prefix_bytes > MAX_PREFIX:
        raise ValueError(f"prefix: expected at most {MAX_PREFIX} bytes, got {prefix_bytes}")
    if triangles.shape[1] != 3:
        raise ValueError(f"triangles: expected shape (m, 3), got ({count}, {triangles.shape[1]})")
    for name, value in (("offset", offset), ("uv_offset", uv_offset if slash else 0)):
        if not 0 <= value <= MAX_OFFSET:  # before it becomes a number of C, which it may exceed
            raise ValueError(f"{name}: expected 0..{MAX_OFFSET}, got {value}")
    first = offset
    second = uv_offset if slash else 0

    cdef PyObject *text = PyBytes_FromStringAndSize(
        NULL, room(count, prefix_bytes + 3 * (MAX_INDEX + 1) * (2 if slash else 1)))
    cdef char *out = PyBytes_AS_STRING(text)
    with nogil:
        while row < count and index >= 0:
            memcpy(out, prefix_text, prefix_bytes)
            out += prefix_bytes
            for column in range(3):
                index = triangles[row, column]
                if index < 0:
                    break
                begin = write_whole(end, <uint64_t>(index + first))
                length = end - begin
                memcpy(out, begin, length)
                out += length
                if slash:
                    out[0] = 47
                    out += 1
                    if second != first:
                        begin = write_whole(end, <uint64_t>(index + second))
                        length = end - begin
                    memcpy(out, begin, length)
                    out += length
                out[0] = 32
                out += 1
            if index >= 0:
                (out - 1)[0] = 10
                row += 1
    if index < 0:
        Py_DECREF(text)
        raise ValueError(f"triangles: expected indices from 0, got {index} in row {row}")
    return cut(text, out)
