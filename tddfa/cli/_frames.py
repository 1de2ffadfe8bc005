"""What ``tddfa video`` and ``tddfa webcam`` share: options, the tracker, how a frame is drawn, how it all ends."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._camera_options import CameraChoice, add_camera_options
from tddfa.cli._common import add_model_options, fraction, integer, print_warning
from tddfa.kinds import PICTURES as KINDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.outputs import Options
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of both."""
    parser.add_argument(
        "-o", "--opt", choices=KINDS, default="2d_sparse", help="what to draw (default: %(default)s)"
    )  # fmt: skip
    add_model_options(parser)
    add_camera_options(parser, exif=False)
    parser.add_argument(
        "--smooth", choices=("one_euro", "lookahead", "none"), default="one_euro",
        help="one_euro: no delay; lookahead: 3DDFA_V2's mean over frames before and after (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-n_pre", type=integer(0, 100), default=1, metavar="N", help="lookahead: frames before (default: 1)"
    )
    parser.add_argument(
        "-n_next", type=integer(0, 100), default=1, metavar="N", help="lookahead: frames after (default: 1)"
    )
    parser.add_argument("--max-faces", "--max_faces", type=integer(1, 1000), metavar="N", help="follow no more than N")
    parser.add_argument(
        "--detect_every", "--detect-every", type=integer(1, 10**6), default=15, metavar="N",
        help="frames between looks for new faces (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("examples/results/videos"), metavar="DIR",
        help="where the files go (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=fraction, default=0.85, metavar="0..1", help="opacity of 3d, 6dof (default: 0.85)"
    )
    parser.add_argument("--background", choices=("image", "black"), default="image", help="of 3d, depth, pncc, 6dof")
    parser.add_argument("--pose_style", "--pose-style", choices=("box", "axes"), default="box", help="of pose")


def remark_on_smoothing(options: argparse.Namespace) -> None:
    """Say which options of smoothing have no effect."""
    if options.smooth != "lookahead" and (options.n_pre, options.n_next) != (1, 1):
        print_warning("-n_pre, -n_next: no effect without --smooth lookahead")


def tracker_of(options: argparse.Namespace, aligner: Aligner) -> Tracker:
    """Make the tracker that the options ask for."""
    from tddfa.tracking.tracker import Tracker

    return Tracker(
        aligner,
        smooth=options.smooth,
        detect_every=options.detect_every,
        max_faces=options.max_faces,
        n_pre=options.n_pre,
        n_next=options.n_next,
    )


def look_of(options: argparse.Namespace, camera: CameraChoice, size: tuple[int, int]) -> Options:
    """How frames of this height and width are drawn."""
    from tddfa.outputs import Options

    return Options(
        background=options.background,
        alpha=options.alpha,
        pose_style=options.pose_style,
        intrinsics=camera(size, None),
    )


def draw_frame(
    image: NDArray[np.uint8], faces: Sequence[Face], aligner: Aligner, kind: str, look: Options
) -> NDArray[np.uint8]:
    """Draw a kind over a frame; the result has the frame's size, ``uv_tex`` too."""
    import cv2
    import numpy as np

    from tddfa.outputs import Outputs

    if kind != "uv_tex":
        return Outputs(image, faces, aligner, look).picture(kind)
    canvas = np.zeros_like(image, order="C")
    if faces:
        sheets = Outputs(image, faces, aligner, look).picture(kind)
        height, width = canvas.shape[:2]
        scale = min(height / sheets.shape[0], width / sheets.shape[1])
        size = max(1, round(sheets.shape[1] * scale)), max(1, round(sheets.shape[0] * scale))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(sheets, size, interpolation=cv2.INTER_AREA)
    return canvas


@contextlib.contextmanager
def ended_properly() -> Iterator[None]:
    """Whoever tells the process to end (SIGTERM) ends it as Ctrl-C does: with whole files."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
