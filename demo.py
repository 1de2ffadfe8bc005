"""Align the faces of photos, as ``tddfa image`` does: ``python demo.py -f photo.jpg -o 3d``."""

from tddfa.__main__ import demo

if __name__ == "__main__":
    raise SystemExit(demo("image"))
