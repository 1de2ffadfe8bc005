"""Shared by ``tddfa video`` and ``tddfa webcam``: their options, the tracker, drawing a frame, and the end of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tddfa.cli._camera_options import add_camera_options
from tddfa.cli._common import add_model_options, integer, print_warning
from tddfa.cli._output_options import add_output_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.outputs import Options
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of both commands: tracking, model, camera, and how the output looks."""
    add_tracking_options(parser)
    add_model_options(parser)
    add_camera_options(parser, exif=False)
    add_output_options(parser, files=False)


def add_tracking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the tracker."""
    group = parser.add_argument_group("tracking")
    group.add_argument(
        "--smooth", choices=("one_euro", "lookahead", "none"), default="one_euro",
        help="smoothing over time: one_euro has no delay; lookahead is the mean over frames before and after, as in "
        "3DDFA_V2 (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--n-pre", type=integer(0, 100), default=1, metavar="N",
        help="frames before, for --smooth lookahead (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--n-next", type=integer(0, 100), default=1, metavar="N",
        help="frames after, for --smooth lookahead (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--max-faces", type=integer(1, 1000), metavar="N", help="track at most N faces (default: all)")
    group.add_argument(
        "--detect-every", type=integer(1, 10**6), default=15, metavar="N",
        help="run the detector on every Nth frame, for new faces (default: %(default)s)",
    )  # fmt: skip


def warn_about_smoothing(options: argparse.Namespace) -> None:
    """Print a warning if options of smoothing have no effect."""
    if options.smooth != "lookahead" and (options.n_pre, options.n_next) != (1, 1):
        print_warning("--n-pre, --n-next: no effect without --smooth lookahead")


def make_tracker(options: argparse.Namespace, aligner: Aligner) -> Tracker:
    """Return the tracker that the options ask for."""
    from tddfa.tracking.tracker import Tracker

    return Tracker(
        aligner,
        smooth=options.smooth,
        detect_every=options.detect_every,
        max_faces=options.max_faces,
        n_pre=options.n_pre,
        n_next=options.n_next,
    )


def draw_frame(
    image: NDArray[np.uint8], faces: Sequence[Face], aligner: Aligner, kind: str, settings: Options
) -> NDArray[np.uint8]:
    """Draw a kind for a frame; the result has the size of the frame, also for a kind that has a size of its own."""
    import numpy as np

    from tddfa.outputs import Outputs, image_kinds

    if image_kinds()[kind].over_image:
        return Outputs(image, faces, aligner, settings).draw(kind)
    canvas = np.zeros_like(image, order="C")
    return _fitted(Outputs(image, faces, aligner, settings).draw(kind), canvas) if faces else canvas


def _fitted(drawn: NDArray[np.uint8], canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image to the size of a black canvas, put it in the middle, and return the canvas."""
    import cv2

    height, width = canvas.shape[:2]
    scale = min(height / drawn.shape[0], width / drawn.shape[1])
    size = max(1, round(drawn.shape[1] * scale)), max(1, round(drawn.shape[0] * scale))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    return canvas
