"""Track the faces of a video without smoothing: ``python demo_video.py -f in.mp4 -o 3d``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["video", "--smooth", "none", *sys.argv[1:]]))
