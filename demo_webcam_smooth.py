"""Follow the faces before a camera, smoothed: ``python demo_webcam_smooth.py -o 3d``; the same as ``tddfa webcam``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["webcam", *sys.argv[1:]]))
