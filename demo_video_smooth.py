"""Track the faces of a video, smoothed by look-ahead: ``python demo_video_smooth.py -f in.mp4``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["video", "--smooth", "lookahead", *sys.argv[1:]]))
