# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Crops of all faces of several images in one call, without the GIL."""

from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector


cdef extern from "crops.h" namespace "tddfa" nogil:
    cdef struct Image:
        const uint8_t *pixels
        int64_t height
        int64_t width
        int64_t row_stride

    cdef struct Square:
        double left
        double top
        double side
        double angle

    void c_crop "tddfa::crop"(const Image &image, const Square &square, int64_t size, cbool flipped, uint8_t *out)


def crop_all(images, const int64_t[:] image, const double[:, :] squares, uint8_t[:, :, :, ::1] out, bint flipped=False):
    cdef int64_t faces = squares.shape[0], size = out.shape[1], k
    cdef vector[Image] sources
    cdef Square square
    cdef const uint8_t[:, :, :] pixels
    if squares.shape[1] != 4 or image.shape[0] != faces:
        raise ValueError(
            f"image, squares: expected shapes (n,) and (n, 4), got ({image.shape[0]},) and "
            f"({faces}, {squares.shape[1]})")
    if out.shape[0] != faces or out.shape[2] != size or out.shape[3] != 3:
        raise ValueError(f"out: expected shape ({faces}, size, size, 3), got "
                         f"({out.shape[0]}, {size}, {out.shape[2]}, {out.shape[3]})")
    held = []  # the views keep the arrays
    for each in images:
        pixels = each
        if pixels.shape[2] != 3 or pixels.strides[2] != 1 or pixels.strides[1] != 3:
            raise ValueError("images: expected pixels of 3 bytes, side by side")
        held.append(each)
        sources.push_back(Image(&pixels[0, 0, 0], pixels.shape[0], pixels.shape[1], pixels.strides[0]))
    for k in range(faces):
        if not 0 <= image[k] < <int64_t>sources.size():
            raise ValueError(f"image: expected indices of {sources.size()} images, got {image[k]}")
    with nogil:
        for k in range(faces):
            square = Square(squares[k, 0], squares[k, 1], squares[k, 2], squares[k, 3])
            c_crop(sources[image[k]], square, size, flipped, &out[k, 0, 0, 0])
