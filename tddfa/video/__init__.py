"""Frames in (file, camera, URL, folder of pictures, any iterable), frames out (H.264 mp4 with the sound of the input).

Whatever the source is, it comes out as `Frame`: BGR uint8, its index, and its time in the source. Nothing here keeps
more than a few frames in memory.
"""

# OpenCV before PyAV: each brings its own libxcb, and with PyAV's loaded first OpenCV's windows hang (PyAV's issue 978).
import cv2  # noqa: F401

from tddfa.video.frame import Frame, VideoError
from tddfa.video.reader import IMAGES_PER_SECOND, Reader
from tddfa.video.sources import frames, open_source
from tddfa.video.threads import Live, live, threaded
from tddfa.video.writing import TICKS_PER_SECOND, Writer

__all__ = [
    "IMAGES_PER_SECOND", "TICKS_PER_SECOND", "Frame", "Live", "Reader", "VideoError", "Writer", "frames", "live",
    "open_source", "threaded",
]  # fmt: skip
