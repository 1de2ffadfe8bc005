"""``tddfa webcam``: faces in front of a camera, live in a window; without a display, in a video file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.files import output_path
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa.cli._camera_options import CameraChoice, camera_choice
from tddfa.cli._common import (
    FAILED,
    add_out_option,
    faces_text,
    has_display,
    integer,
    interrupted_once,
    load_aligner,
    load_networks,
    print_line,
)
from tddfa.cli._frames import (
    add_common_options,
    draw_frame,
    make_tracker,
    warn_about_smoothing,
)
from tddfa.cli._output_options import (
    add_kind_option,
    check_kinds,
    check_mesh,
    check_needs,
    is_kind,
    kinds_help,
    output_options,
)
from tddfa.cli._paths import check_folder
from tddfa.cli.avatar._options import add_avatar_options, make_performer, make_sender, warn_without_avatar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.avatar import Performer
    from tddfa.avatar.vmc import VmcSender
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face
    from tddfa.video import Frame, Writer

_WINDOW = "tddfa"
_ESCAPE = 27

DEMO: dict[str, Any] = {"out": Path("examples/results/videos")}
"""Defaults of demo_webcam_smooth.py."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser: Parser = commands.add_parser(
        "webcam",
        help="track the faces in front of a camera",
        description="Track every face in front of a camera, live in a window. Without a display, write a video.\n"
        "Keys: 1, 2, 3, … switch the kind, in the order below; space pauses; s saves the image; q quits.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=lambda: kinds_help(parser, files=False),
    )
    parser.set_defaults(run=run_webcam)
    parser.add_inputs(
        "-f", "--source", metavar="SOURCE", help="number of a camera, URL, or video file (default: 0)", many=False,
        default=["0"],
    )  # fmt: skip
    add_kind_option(parser)
    add_out_option(parser, "saved images, and for the video")
    parser.add_argument("--mirror", action="store_true", help="flip frames horizontally, as in a mirror (default: no)")
    parser.add_argument(
        "--frames", type=integer(1, 10**9), metavar="N", help="stop after N frames (default: until the source ends)"
    )
    add_avatar_options(parser)
    add_common_options(parser)


def run_webcam(options: argparse.Namespace) -> int:
    """Run ``tddfa webcam``; return the exit status."""
    from tddfa import video

    try:
        check_folder("--out", options.out)
        (source,) = options.inputs
        if is_kind(source) and not Path(source).exists():
            raise UsageError(f"SOURCE: expected a camera, URL or file, got the kind {source}; -o takes one kind")
        camera = camera_choice(options)
        check_needs([options.opt])
        warn_about_smoothing(options)
        warn_without_avatar(options, used=options.osc is not None)
        aligner = load_aligner(options)
        check_kinds(aligner, [options.opt])
        if options.osc is not None:
            check_mesh(aligner.decoder, "--osc")
        tracker = make_tracker(options, aligner)
        with video.open_source(source) as reader:
            load_networks(aligner)
            windows = has_display()
            if not windows:
                print_line("no display, or an OpenCV without windows: writing a video instead")
            _Live(options, aligner, tracker, camera, windows=windows).run(reader)
            if reader.damaged:
                return FAILED
    except KeyboardInterrupt:
        pass  # the usual way to end it without a window
    return 0


def _unused(path: Path) -> Path:
    """Number a name so that it overwrites nothing of an earlier run."""
    numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in numbered if not name.exists())


class _Live:
    """The loop of ``tddfa webcam``: the newest frame is tracked, drawn, and shown or written."""

    def __init__(
        self, options: argparse.Namespace, aligner: Aligner, tracker: Tracker, camera: CameraChoice, *, windows: bool
    ) -> None:
        self.options, self.aligner, self.tracker, self.windows = options, aligner, tracker, windows
        self.kind, self.camera = options.opt, camera
        self.paused = self.ended = False
        self.times: deque[float] = deque(maxlen=30)
        self.image: NDArray[np.uint8] | None = None
        self.writer: Writer | None = None
        self.performer: Performer | None = None
        self.sender: VmcSender | None = None

    def run(self, reader: Any) -> None:
        """Do frames until the window is closed, the source ends, or there were as many as asked for."""
        from tddfa import video

        frames = 0
        with interrupted_once() as hold, contextlib.ExitStack() as stack:
            if self.windows:
                self._open_window()
            newest = stack.enter_context(video.live(reader))
            stack.callback(lambda: self._summarize(frames, newest))
            for frame, faces in self.tracker.run(self._frames(newest)):
                intrinsics = self.camera(frame.image.shape[:2], None)
                if self.options.osc is not None:
                    self._send(faces, frame.time, intrinsics, stack)
                settings = output_options(self.options, intrinsics)
                self.image = draw_frame(frame.image, faces, self.aligner, self.kind, settings)
                self.times.append(time.perf_counter())
                if self.windows:
                    self._show(self.image, len(faces), newest)
                else:
                    self._write(self.image, frame.time, reader.fps or 30.0, stack)
                frames += 1
                if self.ended or frames == self.options.frames:
                    break
            hold()

    def _summarize(self, frames: int, newest: Any) -> None:
        if frames:
            count = f"{frames} frame{'' if frames == 1 else 's'}"
            print_line(f"{count}, {newest.dropped} dropped, {self._fps():.0f} fps ({self.aligner.device})")

    def _frames(self, newest: Any) -> Iterator[Frame]:
        import cv2

        for frame in newest:
            if self.options.mirror:
                frame = dataclasses.replace(frame, image=cv2.flip(frame.image, 1))
            yield frame
            while self.paused and not self.ended:
                self._handle_key(50)
                self.ended |= _is_closed()
            if self.ended:
                return

    def _fps(self) -> float:
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0

    def _open_window(self) -> None:
        import cv2

        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def _show(self, image: NDArray[np.uint8], count: int, newest: Any) -> None:
        import cv2

        shown = image.copy()
        latency = f"{1000 * newest.latency:.0f} ms"
        text = f"{self._fps():.0f} fps  {latency}  {faces_text(count)}  {newest.dropped} dropped"
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
        plate = shown[: height + below + 14, : width + 20]
        plate[:] = plate // 3
        cv2.putText(shown, text, (10, height + 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (245, 245, 245), 1, cv2.LINE_AA)
        cv2.imshow(_WINDOW, shown)
        self._handle_key(1)
        self.ended |= _is_closed()

    def _write(self, image: NDArray[np.uint8], at: float, fps: float, stack: contextlib.ExitStack) -> None:
        from tddfa import video

        if self.writer is None:
            target = _unused(output_path(self.options.out, f"webcam_{self.kind}.mp4"))
            self.writer = stack.enter_context(video.Writer(target, fps=fps))
            print_line(f"  {self.kind:10} {target}")
        self.writer.write(image, at)

    def _send(self, faces: Sequence[Face], at: float, intrinsics: Any, stack: contextlib.ExitStack) -> None:
        if self.performer is None or self.sender is None:
            self.performer = make_performer(self.options, self.aligner, intrinsics)
            self.sender = stack.enter_context(make_sender(self.options, self.performer, paced=False))
        self.sender.send([self.performer(face) for face in faces], at)

    def _handle_key(self, wait_ms: int) -> None:
        import cv2

        from tddfa._shared import image_io
        from tddfa.outputs import image_kinds

        kinds = list(image_kinds())
        key = cv2.waitKey(wait_ms) & 0xFF
        if key in (ord("q"), _ESCAPE):
            self.ended = True
        elif key == ord(" "):
            self.paused = not self.paused
        elif key == ord("s") and self.image is not None:
            path = _unused(output_path(self.options.out, f"webcam_{self.kind}.jpg"))
            print_line(f"  {'image':10} {image_io.write(path, self.image)}")
        elif ord("1") <= key < ord("1") + min(len(kinds), 9):
            self.kind = kinds[key - ord("1")]


def _is_closed() -> bool:
    """Whether the window was closed with the mouse."""
    import cv2

    return cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
