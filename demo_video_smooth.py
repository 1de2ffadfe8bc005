"""Track the faces of a video, smoothed by look-ahead: ``python demo_video_smooth.py -f in.mp4``."""

from tddfa.__main__ import demo

if __name__ == "__main__":
    raise SystemExit(demo("video", "--smooth", "lookahead"))
