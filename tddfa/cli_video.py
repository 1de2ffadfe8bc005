"""``tddfa video`` and ``tddfa webcam``: frames in, tracked, drawn, and out again as a video, a window and data."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli_camera import CameraChoice, add_camera_options, camera_choice, is_asked_for
from tddfa.cli_common import (
    FAILED,
    add_model_options,
    complain,
    has_display,
    load_aligner,
    remark,
    say,
    share,
    trouble,
    whole,
)
from tddfa.cli_paths import check_folder, source_stem
from tddfa.kinds import PICTURES as KINDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.outputs import Options
    from tddfa.tracker import Tracker
    from tddfa.types import Face
    from tddfa.video import Frame

logger = logging.getLogger(__name__)

# Frames that wait between two stages: enough to even out a slow one, little enough to bound the memory.
_DEPTH = 8


def add_parsers(commands: Any) -> None:
    """Add both commands to the parser of ``tddfa``."""
    video = commands.add_parser(
        "video", help="follow the faces of a video", allow_abbrev=False,
        description="Follow every face of a video; write it as H.264 with its sound, and the faces as data.",
    )  # fmt: skip
    video.set_defaults(run=run_video)
    video.add_argument(
        "-f", "--video_fp", default="examples/inputs/videos/crossing.mp4", metavar="SOURCE",
        help="a video, an address, a folder of pictures (default: %(default)s)",
    )  # fmt: skip
    _add_common(video)
    video.add_argument("-s", "--start", type=int, default=-1, metavar="N", help="first frame (default: the first)")
    video.add_argument(
        "-e", "--end", type=int, default=-1, metavar="N", help="last frame, included (default: the last)"
    )
    video.add_argument("--compare", action="store_true", help="the source beside the result")
    video.add_argument("--save", type=Path, metavar="FILE", help="the faces too, as .jsonl, .npz or .parquet")
    video.add_argument(
        "--no_video", "--no-video", action="store_true", help="write no video, only what --save asks for"
    )

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
    _add_common(webcam)
    webcam.add_argument("--mirror", action="store_true", help="as in a mirror")
    webcam.add_argument("--frames", type=whole(1, 10**9), metavar="N", help="end after N frames")


def _add_common(parser: argparse.ArgumentParser) -> None:
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
        "-n_pre", type=whole(0, 100), default=1, metavar="N", help="lookahead: frames before (default: 1)"
    )
    parser.add_argument(
        "-n_next", type=whole(0, 100), default=1, metavar="N", help="lookahead: frames after (default: 1)"
    )
    parser.add_argument("--max-faces", "--max_faces", type=whole(1, 1000), metavar="N", help="follow no more than N")
    parser.add_argument(
        "--detect_every", "--detect-every", type=whole(1, 10**6), default=15, metavar="N",
        help="frames between looks for new faces (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--lost", choices=("score", "size"), default="score",
        help="when a face is lost: by its score, or by 3DDFA_V2's 2020 px (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("examples/results/videos"), metavar="DIR",
        help="where the files go (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--alpha", type=share, default=0.85, metavar="0..1", help="opacity of 3d, 6dof (default: 0.85)")
    parser.add_argument("--background", choices=("image", "black"), default="image", help="of 3d, depth, pncc, 6dof")
    parser.add_argument("--pose_style", "--pose-style", choices=("box", "axes"), default="box", help="of pose")


def _remark_on_smoothing(options: argparse.Namespace) -> None:
    if options.smooth != "lookahead" and (options.n_pre, options.n_next) != (1, 1):
        remark("-n_pre, -n_next: no effect without --smooth lookahead")


def _tracker(options: argparse.Namespace, aligner: Aligner) -> Tracker:
    from tddfa.tracker import Tracker

    return Tracker(
        aligner,
        smooth=options.smooth,
        detect_every=options.detect_every,
        max_faces=options.max_faces,
        lost=options.lost,
        n_pre=options.n_pre,
        n_next=options.n_next,
    )


def _look(options: argparse.Namespace, camera: CameraChoice, size: tuple[int, int]) -> Options:
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


def run_video(options: argparse.Namespace) -> int:
    """Do ``tddfa video``; return the exit status."""
    from tddfa import video

    try:
        if not options.no_video:
            check_folder(options.out)
        camera = camera_choice(options)
        if is_asked_for(options) and options.opt != "6dof" and options.save is None:
            remark("--intrinsics, --fov, --focal: no effect without -o 6dof or --save")
        _remark_on_smoothing(options)
        aligner = load_aligner(options)
        tracker = _tracker(options, aligner)
        with _ended_properly(), video.open_source(options.video_fp) as reader:
            return _follow(options, aligner, tracker, camera, reader)
    except BrokenPipeError:
        raise
    except trouble() as error:
        complain(str(error) or type(error).__name__)
        return FAILED


@contextlib.contextmanager
def _ended_properly() -> Iterator[None]:
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


def _follow(options: argparse.Namespace, aligner: Aligner, tracker: Tracker, camera: CameraChoice, reader: Any) -> int:
    import numpy as np

    from tddfa import video
    from tddfa.outputs import describe
    from tddfa.records import Recorder

    if options.no_video and options.save is None:
        raise ValueError("--no_video: expected --save FILE with it, or nothing would be made")
    start, end = max(options.start, 0), options.end if options.end >= 0 else None
    if end is not None and end < start:
        raise ValueError(f"-e/--end: expected {start} or more, got {end}")
    name = source_stem(options.video_fp)
    # these take longer than all else that is saved
    dense = options.opt == "6dof" or is_asked_for(options)
    smooth = "" if options.smooth == "none" else "_smooth"
    target = options.out / f"{name}_{options.opt}{smooth}.mp4"
    total = reader.count if end is None or reader.count is None else min(end + 1, reader.count)
    total = None if total is None else max(0, total - start)

    frames = faces_seen = 0
    ids: set[int] = set()
    began = time.perf_counter()
    interrupted = False
    writer: Any = None
    recorder: Recorder | None = None
    try:
        with contextlib.ExitStack() as stack:
            # decoding, inference and drawing with encoding overlap: each waits for a few frames at most
            decoded = stack.enter_context(contextlib.closing(_threaded(reader.frames(start, end))))
            tracked = stack.enter_context(contextlib.closing(_threaded(tracker.run(decoded))))
            for frame, faces in _with_progress(tracked, total):
                look = _look(options, camera, frame.image.shape[:2])
                if not options.no_video:
                    if writer is None:
                        sound = options.video_fp if reader.has_audio else None
                        writer = stack.enter_context(
                            video.Writer(target, fps=reader.fps or 30.0, audio_from=sound, shortest=end is not None)
                        )
                    picture = draw_frame(frame.image, faces, aligner, options.opt, look)
                    writer.write(np.hstack([frame.image, picture]) if options.compare else picture, frame.time)
                if options.save is not None:
                    if recorder is None:
                        # not before: a run that fails leaves what an earlier one saved
                        recorder = stack.enter_context(Recorder.open(options.save))
                    recorder.add(
                        frame, faces, partial(describe, aligner=aligner, intrinsics=look.intrinsics, dense=dense)
                    )
                frames += 1
                faces_seen += bool(faces)
                ids |= {face.track_id for face in faces if face.track_id is not None}
    except KeyboardInterrupt:
        # the files are ended properly by now, with what there was
        interrupted = True
    seconds = time.perf_counter() - began
    if not frames and not interrupted:
        raise ValueError(f"{reader.name}: no frame from number {start} on")
    say(
        f"{reader.name}: {frames} frames, {faces_seen} with faces, "
        f"{'1 person' if len(ids) == 1 else f'{len(ids)} people'} "
        f"({seconds:.1f} s, {frames / max(seconds, 1e-9):.0f} fps, {aligner.device})"
    )
    before, after = tracker.jitter_before.value, tracker.jitter_after.value
    if before == before:  # NaN where nobody was seen
        smoothed = "" if options.smooth == "none" else f", {after:.2f} % smoothed"
        say(f"  jitter     {before:.2f} % of the face's size{smoothed}")
    if interrupted:
        say("  interrupted: the files hold what was done till then")
    if writer is not None:
        say(f"  {options.opt:10} {target}")
    if recorder is not None:
        say(f"  faces      {options.save}")
    return 130 if interrupted else 0


def _threaded(frames: Any) -> Any:
    from tddfa import video

    return video.threaded(frames, _DEPTH)


def _with_progress(tracked: Any, total: int | None) -> Iterator[tuple[Frame, list[Face]]]:
    from tqdm import tqdm

    # in a pipe, a bar would be a thousand lines
    return iter(tqdm(tracked, total=total, unit="frame", disable=not sys.stderr.isatty(), leave=False))


def run_webcam(options: argparse.Namespace) -> int:
    """Do ``tddfa webcam``; return the exit status."""
    from tddfa import video

    try:
        check_folder(options.out)
        camera = camera_choice(options)
        _remark_on_smoothing(options)
        aligner = load_aligner(options)
        tracker = _tracker(options, aligner)
        with _ended_properly(), video.open_source(options.source) as reader:
            windows = has_display()
            if not windows:
                say("no display, or an OpenCV without windows: writing a video in place of showing it")
            return _Live(options, aligner, tracker, camera, windows).run(reader)
    except KeyboardInterrupt:
        return 0
    except trouble() as error:
        complain(str(error) or type(error).__name__)
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
                look = _look(self.options, self.camera, frame.image.shape[:2])
                self.picture = draw_frame(frame.image, faces, self.aligner, self.kind, look)
                self.shown.append(time.perf_counter())
                if self.windows:
                    self._show(len(faces), newest)
                else:
                    if writer is None:
                        target = _unused(self.options.out / f"webcam_{self.kind}.mp4")
                        writer = stack.enter_context(video.Writer(target, fps=reader.fps or 30.0))
                        say(f"  {self.kind:10} {target}")
                    writer.write(self.picture, frame.time)
                frames += 1
                if self.ended or frames == self.options.frames:
                    break
        say(f"{frames} frames, {newest.dropped} dropped, {self._fps():.0f} fps ({self.aligner.device})")
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

        from tddfa import image_io

        key = cv2.waitKey(wait_ms) & 0xFF
        if key in (ord("q"), 27):
            self.ended = True
        elif key == ord(" "):
            self.paused = not self.paused
        elif key == ord("s") and self.picture is not None:
            path = _unused(self.options.out / f"webcam_{self.kind}.jpg")
            say(f"  still      {image_io.write(path, self.picture)}")
        elif ord("1") <= key < ord("1") + len(KINDS):
            self.kind = KINDS[key - ord("1")]
