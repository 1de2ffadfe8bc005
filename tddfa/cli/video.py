"""``tddfa video``: frames in, tracked, drawn, and out again as a video and data."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._camera_options import CameraChoice, camera_choice, is_asked_for
from tddfa.cli._common import (
    FAILED,
    expected_errors,
    load_aligner,
    print_error,
    print_line,
    print_warning,
)
from tddfa.cli._frames import add_common_options, draw_frame, ended_properly, look_of, remark_on_smoothing, tracker_of
from tddfa.cli._paths import check_folder, source_stem

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face
    from tddfa.video import Frame

logger = logging.getLogger(__name__)

# Frames that wait between two stages: enough to even out a slow one, little enough to bound the memory.
_DEPTH = 8


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    video = commands.add_parser(
        "video", help="follow the faces of a video", allow_abbrev=False,
        description="Follow every face of a video; write it as H.264 with its sound, and the faces as data.",
    )  # fmt: skip
    video.set_defaults(run=run_video)
    video.add_argument(
        "-f", "--video_fp", default="examples/inputs/videos/crossing.mp4", metavar="SOURCE",
        help="a video, an address, a folder of pictures (default: %(default)s)",
    )  # fmt: skip
    add_common_options(video)
    video.add_argument("-s", "--start", type=int, default=-1, metavar="N", help="first frame (default: the first)")
    video.add_argument(
        "-e", "--end", type=int, default=-1, metavar="N", help="last frame, included (default: the last)"
    )
    video.add_argument("--compare", action="store_true", help="the source beside the result")
    video.add_argument("--save", type=Path, metavar="FILE", help="the faces too, as .jsonl, .npz or .parquet")
    video.add_argument(
        "--no_video", "--no-video", action="store_true", help="write no video, only what --save asks for"
    )


def run_video(options: argparse.Namespace) -> int:
    """Do ``tddfa video``; return the exit status."""
    from tddfa import video

    try:
        if not options.no_video:
            check_folder("--out", options.out)
        camera = camera_choice(options)
        if is_asked_for(options) and options.opt != "6dof" and options.save is None:
            print_warning("--intrinsics, --fov, --focal: no effect without -o 6dof or --save")
        remark_on_smoothing(options)
        aligner = load_aligner(options)
        tracker = tracker_of(options, aligner)
        with ended_properly(), video.open_source(options.video_fp) as reader:
            return _follow(options, aligner, tracker, camera, reader)
    except BrokenPipeError:
        raise
    except expected_errors() as error:
        print_error(str(error) or type(error).__name__)
        return FAILED


def _follow(options: argparse.Namespace, aligner: Aligner, tracker: Tracker, camera: CameraChoice, reader: Any) -> int:
    import numpy as np

    from tddfa import video
    from tddfa.outputs import describe
    from tddfa.tracking.records import Recorder

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
                look = look_of(options, camera, frame.image.shape[:2])
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
    print_line(
        f"{reader.name}: {frames} frames, {faces_seen} with faces, "
        f"{'1 person' if len(ids) == 1 else f'{len(ids)} people'} "
        f"({seconds:.1f} s, {frames / max(seconds, 1e-9):.0f} fps, {aligner.device})"
    )
    before, after = tracker.jitter_before.value, tracker.jitter_after.value
    if before == before:  # NaN where nobody was seen
        smoothed = "" if options.smooth == "none" else f", {after:.2f} % smoothed"
        print_line(f"  jitter     {before:.2f} % of the face's size{smoothed}")
    if interrupted:
        print_line("  interrupted: the files hold what was done till then")
    if writer is not None:
        print_line(f"  {options.opt:10} {target}")
    if recorder is not None:
        print_line(f"  faces      {options.save}")
    return 130 if interrupted else 0


def _threaded(frames: Any) -> Any:
    from tddfa import video

    return video.threaded(frames, _DEPTH)


def _with_progress(tracked: Any, total: int | None) -> Iterator[tuple[Frame, list[Face]]]:
    from tqdm import tqdm

    # in a pipe, a bar would be a thousand lines
    return iter(tqdm(tracked, total=total, unit="frame", disable=not sys.stderr.isatty(), leave=False))
