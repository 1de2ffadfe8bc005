"""What the pictures and the page of a benchmark say of its errors, and what its data look like in a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_BOX, _EYES = "NME by the square root of the truth's box", "NME by the distance of the outer eye corners"
_LANDMARKS = "truth green, found red, crop from the truth"


@dataclass(frozen=True)
class Words:
    """Of a benchmark.

    Attributes
    ----------
    data : str
        Where its data lie, in DIR; short, for the help.
    errors : mapping of str to (str, float)
        Unit of a curve -> what the error is, and where the axis of the cumulative curve ends.
    sheet : str
        What is drawn on the contact sheet.
    unit : str
        Of the numbers there.
    """

    data: str
    errors: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    sheet: str = ""
    unit: str = ""


WORDS = {
    "aflw2000-3d": Words(
        "DIR/aflw2000: photos with a .mat beside each", {"%": (_BOX, 10)}, f"{_LANDMARKS}; {_BOX}, %", "%"
    ),
    "aflw": Words(
        "DIR/AFLW_GT_crop: 3DDFA's crops, with its AFLW_GT_crop.list and AFLW_GT_*.npy",
        {"%": (_BOX, 10)}, f"{_LANDMARKS}; {_BOX}, %", "%",
    ),
    "300w": Words(
        "DIR/lfpw and other folders: photos with a .pts of 68 points beside each",
        {"%": (_EYES, 10)}, f"{_LANDMARKS}; {_EYES}, %", "%",
    ),
    "biwi": Words(
        "DIR/hpdb: folders 01 to 24 of frame_*_rgb.png and frame_*_pose.txt",
        {"deg": ("angle between the rotations", 30)},
        "found red, crop from the detector; angle between the rotations, deg", "deg",
    ),
    "detection": Words(
        "DIR/detect: photos with a .txt of lines 'x1 y1 x2 y2' beside each; or DIR/voc; or DIR/wider (WIDER FACE)",
        {"1 - IoU": ("what the best box of a face does not share with the truth's", 1)},
        "truth green, found red at the detector's own score",
    ),
    "negatives": Words("DIR/negatives: photos without a face", sheet="found red, all false"),
    "jitter": Words("DIR/video/carphone.mp4, or --video FILE"),
    "latency": Words("none: pictures are rendered"),
    "multiview": Words("none: heads are rendered; or DIR/multiview", {"%": (_BOX, 10)}),
    "scans": Words("DIR/scans: .npz with vertices, landmarks and a prediction, mm", {"mm": ("distance", 10)}),
}  # fmt: skip
"""By benchmark."""

# What a label says -> whether more of it is better; the first that is found counts.
_BETTER = (
    ("jitter of the truth", ""), ("constant of pitch", ""), ("left out", ""), ("lag", ""), ("ids given", ""),
    ("AUC", "↑"), ("AP at", "↑"), ("recall", "↑"), ("precision", "↑"), ("correlation", "↑"), ("throughput", "↑"),
    ("missed", "↓"), ("false", "↓"), ("no face there", "↓"), ("without a face", "↓"), ("another id", "↓"),
    ("mean error", "↓"),
)  # fmt: skip
_LESS_IS_BETTER = ("%", "deg", "ms", "mm", "cm", "px", "MB")


def better(label: str, unit: str) -> str:
    """An arrow down where less of a figure is better, one up where more is; none where neither is."""
    return next((arrow for said, arrow in _BETTER if said in label), "↓" if unit in _LESS_IS_BETTER else "")
