"""Videos: frames from a file, camera, URL, folder of images or iterable; H.264 mp4 with the sound of the input.

Every source gives `Frame` objects: a BGR uint8 image, its index, and its time in the source. Only a few frames are in
memory at a time.
"""

# OpenCV before PyAV: each ships its own libxcb, and OpenCV's windows hang if PyAV's is loaded first (PyAV issue 978).
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
