"""The benchmarks: one record each, in the order in which they are run and shown.

A benchmark is a module with a function ``evaluate(setup, **options) -> Result``, and its record in `BENCHMARKS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # help texts need the records alone
    from tddfa.evaluate.result import Result, Setup


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: its name, its module, its data and the texts of its plots.

    Attributes
    ----------
    name : str
        Name on the command line, and in the names of the result files.
    module : str
        Imported when it is needed.
    data : str
        Expected files in the data folder, DIR: one line for help texts and messages. The docstring of the module lists
        all variants.
    axes : mapping of str to (str, float)
        Unit of a curve -> name of the error, and end of the axis of the cumulative plot.
    sheet_title : str
        Title of the contact sheet.
    sheet_unit : str
        Unit of the errors on the contact sheet.
    options : tuple of str
        Options of ``tddfa evaluate`` that ``evaluate`` takes in addition to the setup.
    """

    name: str
    module: str
    data: str
    axes: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    sheet_title: str = ""
    sheet_unit: str = ""
    options: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the module's docstring."""
        return str(importlib.import_module(self.module).__doc__).partition("\n")[0]

    def evaluate(self, setup: Setup, **options: Any) -> Result:
        """Run the benchmark.

        Raises
        ------
        DataMissing
            If its data are missing.
        ValueError
            If a file is damaged, or an option out of range; the message names it.
        """
        result: Result = importlib.import_module(self.module).evaluate(setup, **options)
        return result


_BOX = "NME by the square root of the area of the ground truth's box"
_EYES = "NME by the distance of the outer eye corners"
_LANDMARKS = "ground truth green, predicted red, crop from the ground truth"

_RECORDS = (
    Benchmark(
        "aflw2000-3d",
        "tddfa.evaluate.benchmarks.aflw2000",
        data="DIR/aflw2000: images with a .mat beside each",
        axes={"%": (_BOX, 10)},
        sheet_title=f"{_LANDMARKS}; {_BOX}, %",
        sheet_unit="%",
    ),
    Benchmark(
        "aflw",
        "tddfa.evaluate.benchmarks.aflw",
        data="DIR/AFLW_GT_crop: 3DDFA's crops, with its AFLW_GT_crop.list and AFLW_GT_*.npy",
        axes={"%": (_BOX, 10)},
        sheet_title=f"{_LANDMARKS}; {_BOX}, %",
        sheet_unit="%",
    ),
    Benchmark(
        "300w",
        "tddfa.evaluate.benchmarks.ibug",
        data="DIR/lfpw and other folders: images with a .pts of 68 points beside each",
        axes={"%": (_EYES, 10)},
        sheet_title=f"{_LANDMARKS}; {_EYES}, %",
        sheet_unit="%",
    ),
    Benchmark(
        "biwi",
        "tddfa.evaluate.benchmarks.biwi",
        data="DIR/hpdb: folders 01 to 24 of frame_*_rgb.png and frame_*_pose.txt",
        axes={"deg": ("angle between the rotations", 30)},
        sheet_title="predicted red, crop from the detector; angle between the rotations, deg",
        sheet_unit="deg",
    ),
    Benchmark(
        "detection",
        "tddfa.evaluate.benchmarks.detection",
        data="DIR/detect: images with a .txt of lines 'x1 y1 x2 y2' beside each; or DIR/voc; or DIR/wider (WIDER FACE)",
        axes={"1 - IoU": ("overlap error of the best detection of each face", 1)},
        sheet_title="ground truth green, detected red, at the detector's own score threshold",
    ),
    Benchmark(
        "detection-stress",
        "tddfa.evaluate.benchmarks.detection_stress",
        data="DIR/lfpw and other folders: images with a .pts of 68 points beside each; DIR/negatives for backgrounds",
    ),
    Benchmark(
        "detector-pose",
        "tddfa.evaluate.benchmarks.detector_pose",
        data="DIR/aflw2000: images with a .mat beside each",
    ),
    Benchmark(
        "score",
        "tddfa.evaluate.benchmarks.score",
        data="photos of 300w and of aflw2000-3d; DIR/negatives and DIR/detect for windows without a face",
    ),
    Benchmark(
        "negatives",
        "tddfa.evaluate.benchmarks.negatives",
        data="DIR/negatives: images without a face",
        sheet_title="false detections red",
    ),
    Benchmark(
        "jitter",
        "tddfa.evaluate.benchmarks.jitter",
        data="DIR/video/carphone.mp4, or --video FILE",
        options=("video",),
    ),
    Benchmark("latency", "tddfa.evaluate.benchmarks.latency", data="none: images are rendered"),
    Benchmark(
        "multiview",
        "tddfa.evaluate.benchmarks.multiview",
        data="none: heads are rendered; or DIR/multiview",
        axes={"%": (_BOX, 10)},
    ),
    Benchmark(
        "cfp",
        "tddfa.evaluate.benchmarks.hard_cases.cfp",
        data="DIR/cfp: photos PPP_profile_NN.jpg and PPP_frontal_NN.jpg, and cfp.npz with 30 points each",
        axes={"%": ("mean distance of 30 points by the square root of the area of their box", 15)},
        sheet_title="30 human points green, predicted red, crop from the points; mean distance of the 30 points, %",
        sheet_unit="%",
        options=("split", "peer"),
    ),
    Benchmark(
        "closed-eyes",
        "tddfa.evaluate.benchmarks.hard_cases.closed_eyes",
        data="DIR/cew: images of closed eyes; DIR/lfpw: images with a .pts file beside each",
        sheet_title="closed eyes with the lowest weight of a blink",
        options=("split", "peer"),
    ),
    Benchmark(
        "identity",
        "tddfa.evaluate.benchmarks.hard_cases.identity",
        data="DIR/cfp: that of the benchmark cfp",
        options=("split",),
    ),
    Benchmark(
        "crop-robustness",
        "tddfa.evaluate.benchmarks.hard_cases.crop_robustness",
        data="DIR/lfpw: images with a .pts file of 68 points beside each",
        options=("split",),
    ),
    Benchmark(
        "scans",
        "tddfa.evaluate.benchmarks.scans",
        data="none: synthetic scans (configs/evaluate/scans.yml); or DIR/scans: .npz with vertices, landmarks and a "
        "prediction, mm",
        axes={"mm": ("distance", 10)},
        sheet_title="landmarks on synthetic scans, from the front; mean distance from the ground truth, mm",
        sheet_unit="mm",
        options=("scan_weights",),
    ),
)

BENCHMARKS = {record.name: record for record in _RECORDS}
"""Name on the command line -> record."""


def benchmark(name: str) -> Benchmark:
    """Look up a benchmark.

    Raises
    ------
    ValueError
        If there is no benchmark of that name; the message lists them.

    Examples
    --------
    >>> benchmark("negatives").data
    'DIR/negatives: images without a face'
    """
    if name not in BENCHMARKS:
        raise ValueError(f"{name}: no such benchmark; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
