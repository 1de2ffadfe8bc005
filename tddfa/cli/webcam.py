"""``tddfa webcam``: faces before a camera, live, in a window; without a display, to a file."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._camera_options import CameraChoice, camera_choice
from tddfa.cli._common import FAILED, expected_errors, has_display, integer, load_aligner, print_error, print_line
from tddfa.cli._frames import add_common_options, draw_frame, ended_properly, look_of, remark_on_smoothing, tracker_of
from tddfa.cli._paths import check_folder
from tddfa.kinds import PICTURES as KINDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.tracking.tracker import Tracker
    from tddfa.video import Frame


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    webcam = commands.add_parser(
        "webcam", help="follow the faces before a camera", allow_abbrev=False,
        description=(
            f"Follow every face before a camera, live. Keys: 1-{len(KINDS)} switch the kind, space pauses, "
            "s saves a still, q quits."
        ),
    )  # fmt: skip
    webcam.set_defaults(run=run_webcam)
    webcam.add_argument(
        "--source", default="0", metavar="0|URL|FILE", help="number of the camera, address, or video (default: 0)"
    )
    add_common_options(webcam)
    webcam.add_argument("--mirror", action="store_true", help="as in a mirror")
    webcam.add_argument("--frames", type=integer(1, 10**9), metavar="N", help="end after N frames")


def run_webcam(options: argparse.Namespace) -> int:
    """Do ``tddfa webcam``; return the exit status."""
    from tddfa import video

    try:
        check_folder("--out", options.out)
        camera = camera_choice(options)
        remark_on_smoothing(options)
        aligner = load_aligner(options)
        tracker = tracker_of(options, aligner)
        with ended_properly(), video.open_source(options.source) as reader:
            windows = has_display()
            if not windows:
                print_line("no display, or an OpenCV without windows: writing a video in place of showing it")
            return _Live(options, aligner, tracker, camera, windows).run(reader)
    except KeyboardInterrupt:
        return 0
    except expected_errors() as error:
        print_error(str(error) or type(error).__name__)
        return FAILED


def _unused(path: Path) -> Path:
    """Number a name so that it writes over nothing of an earlier session."""
    numbers = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in numbers if not name.exists())


class _Live:
    """The loop of ``tddfa webcam``: newest frame, faces, picture, window."""

    def __init__(
        self, options: argparse.Namespace, aligner: Aligner, tracker: Tracker, camera: CameraChoice, windows: bool
    ) -> None:
        self.options, self.aligner, self.tracker, self.windows = options, aligner, tracker, windows
        self.kind, self.camera = options.opt, camera
        self.paused = self.ended = False
        self.shown: deque[float] = deque(maxlen=30)
        self.picture: NDArray[np.uint8] | None = None

    def run(self, reader: Any) -> int:
        import cv2

        from tddfa import video

        with contextlib.ExitStack() as stack:
            if self.windows:
                cv2.namedWindow("tddfa", cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            newest = stack.enter_context(video.live(reader))
            writer = None
            frames = 0
            for frame, faces in self.tracker.run(self._frames(newest)):
                look = look_of(self.options, self.camera, frame.image.shape[:2])
                self.picture = draw_frame(frame.image, faces, self.aligner, self.kind, look)
                self.shown.append(time.perf_counter())
                if self.windows:
                    self._show(len(faces), newest)
                else:
                    if writer is None:
                        target = _unused(self.options.out / f"webcam_{self.kind}.mp4")
                        writer = stack.enter_context(video.Writer(target, fps=reader.fps or 30.0))
                        print_line(f"  {self.kind:10} {target}")
                    writer.write(self.picture, frame.time)
                frames += 1
                if self.ended or frames == self.options.frames:
                    break
        print_line(f"{frames} frames, {newest.dropped} dropped, {self._fps():.0f} fps ({self.aligner.device})")
        return 0

    def _frames(self, newest: Any) -> Iterator[Frame]:
        import dataclasses

        import cv2

        for frame in newest:
            if self.options.mirror:
                frame = dataclasses.replace(frame, image=cv2.flip(frame.image, 1))
            yield frame
            while self.paused and not self.ended:
                self._keys(50)
                self.ended |= cv2.getWindowProperty("tddfa", cv2.WND_PROP_VISIBLE) < 1
            if self.ended:
                return

    def _fps(self) -> float:
        return (len(self.shown) - 1) / (self.shown[-1] - self.shown[0]) if len(self.shown) > 1 else 0.0

    def _show(self, count: int, newest: Any) -> None:
        import cv2

        picture = self.picture.copy()  # type: ignore[union-attr]
        text = f"{self._fps():.0f} fps  {1000 * newest.latency:.0f} ms  {count} faces  {newest.dropped} dropped"
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
        plate = picture[: height + below + 14, : width + 20]
        plate[:] = plate // 3
        cv2.putText(picture, text, (10, height + 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (245, 245, 245), 1, cv2.LINE_AA)
        cv2.imshow("tddfa", picture)
        self._keys(1)
        # closed by hand
        self.ended |= cv2.getWindowProperty("tddfa", cv2.WND_PROP_VISIBLE) < 1

    def _keys(self, wait_ms: int) -> None:
        import cv2

        from tddfa._shared import image_io

        key = cv2.waitKey(wait_ms) & 0xFF
        if key in (ord("q"), 27):
            self.ended = True
        elif key == ord(" "):
            self.paused = not self.paused
        elif key == ord("s") and self.picture is not None:
            path = _unused(self.options.out / f"webcam_{self.kind}.jpg")
            print_line(f"  still      {image_io.write(path, self.picture)}")
        elif ord("1") <= key < ord("1") + len(KINDS):
            self.kind = KINDS[key - ord("1")]
