# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Greedy non-maximum suppression; the arguments are checked in nms.py."""

from libc.stdlib cimport calloc, free


def nms(const float[:, ::1] xyxy, const int[::1] order, float threshold, int max_boxes, int[::1] kept):
    """Write the indices of the boxes that are kept into `kept`, best first, and return their number.

    `order` lists the boxes best first. `kept` has room for all of them. A box is suppressed if its overlap with
    a better one that is kept is at least `threshold`.
    """
    cdef int n = <int>order.shape[0]
    cdef int count = 0
    cdef int a, b, i, j
    cdef float width, height, overlap, area_i, area_j
    cdef char *gone = <char *>calloc(max(n, 1), 1)
    if gone == NULL:
        raise MemoryError()
    with nogil:
        for a in range(n):
            if gone[a]:
                continue
            i = order[a]
            kept[count] = i
            count += 1
            if count >= max_boxes:
                break
            area_i = (xyxy[i, 2] - xyxy[i, 0] + 1) * (xyxy[i, 3] - xyxy[i, 1] + 1)
            for b in range(a + 1, n):
                if gone[b]:
                    continue
                j = order[b]
                width = min(xyxy[i, 2], xyxy[j, 2]) - max(xyxy[i, 0], xyxy[j, 0]) + 1
                if width <= 0:
                    continue
                height = min(xyxy[i, 3], xyxy[j, 3]) - max(xyxy[i, 1], xyxy[j, 1]) + 1
                if height <= 0:
                    continue
                area_j = (xyxy[j, 2] - xyxy[j, 0] + 1) * (xyxy[j, 3] - xyxy[j, 1] + 1)
                overlap = width * height
                if overlap >= threshold * (area_i + area_j - overlap):
                    gone[b] = 1
    free(gone)
    return count
