"""Track the faces in front of a camera, smoothed, as ``tddfa webcam`` does: ``python demo_webcam_smooth.py -o 3d``."""

from tddfa.__main__ import demo

if __name__ == "__main__":
    raise SystemExit(demo("webcam"))
