"""Track the faces of a video without smoothing: ``python demo_video.py -f in.mp4 -o 3d``."""

from tddfa.__main__ import demo

if __name__ == "__main__":
    raise SystemExit(demo("video", "--smooth", "none"))
