"""``tddfa video``: the frames of a video in, tracked and drawn; a video and the faces as data out."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.files import output_path
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa._shared.terminal.progress import progress
from tddfa.cli._camera_options import CameraChoice, camera_choice, is_asked_for
from tddfa.cli._common import (
    FAILED,
    INTERRUPTED,
    add_out_option,
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
    add_kinds_option,
    check_kinds,
    check_mesh,
    check_needs,
    kinds_help,
    output_options,
    uses_camera,
    warn_without_effect,
)
from tddfa.cli._paths import check_file, source_stem
from tddfa.cli.avatar._options import add_avatar_options, make_performer, make_sender, warn_without_avatar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.avatar import Performer
    from tddfa.avatar.vmc import VmcSender
    from tddfa.tracking.records import Recorder
    from tddfa.tracking.tracker import Tracker
    from tddfa.types import Face
    from tddfa.video import Frame, Reader, Writer

# Frames that may wait between two stages: enough to even out a slow one, few enough to bound the memory.
_QUEUE_LENGTH = 8

DEMO: dict[str, Any] = {"inputs": ["examples/inputs/videos/crossing.mp4"], "out": Path("examples/results/videos")}
"""Defaults of demo_video.py and demo_video_smooth.py."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser: Parser = commands.add_parser(
        "video",
        help="track the faces of a video",
        description="Track every face of a video. Write a video of each kind as H.264 with the sound, and the faces as "
        "data.\nVideos are named DIR/<source>_<kind>_smooth.mp4, without _smooth if nothing is smoothed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=lambda: kinds_help(parser, files=False),
    )
    parser.set_defaults(run=run_video)
    parser.add_inputs(
        "-f", "--video-fp", metavar="SOURCE", help="a video file, a URL, or a folder of images", many=False
    )
    add_kinds_option(parser, files=False)
    add_out_option(parser, "the videos")
    parser.add_argument(
        "--save", type=_record_file, action="append", default=[], metavar="FILE",
        help="also write the faces to a .jsonl, .npz or .parquet file, as animated heads to a .glb file, or the first "
        "track to a .livelink.csv file; may be given several times (default: no)",
    )  # fmt: skip
    parser.add_argument("--no-video", action="store_true", help="write no video, only what --save names (default: no)")
    parser.add_argument("--compare", action="store_true", help="put the source on the left of the result (default: no)")
    number: dict[str, Any] = {"type": integer(-1, 10**9), "default": -1, "metavar": "N"}  # -1 as in 3DDFA_V2
    parser.add_argument("-s", "--start", **number, help="first frame, from 0 (default: the first)")
    parser.add_argument("-e", "--end", **number, help="last frame, included (default: the last)")
    add_avatar_options(parser)
    add_common_options(parser)


def _record_file(text: str) -> Path:
    """Parse the name of a file of faces."""
    from tddfa import avatar
    from tddfa.avatar import takes
    from tddfa.tracking.records import SUFFIXES

    path = Path(text)
    if path.suffix.lower() not in SUFFIXES and not avatar.is_take(path):
        hint = ""
        if path.suffix.lower() == ".csv":
            hint = f"; Live Link Face's format is {path.with_suffix('.livelink.csv').name!r}"
        endings = ", ".join((*SUFFIXES, *takes.SUFFIXES))
        raise argparse.ArgumentTypeError(f"expected a name that ends in {endings}, got {text!r}{hint}")
    return path


def run_video(options: argparse.Namespace) -> int:
    """Run ``tddfa video``; return the exit status."""
    from tddfa import avatar, video

    (source,) = options.inputs
    start, end = _range(options)
    if options.no_video:
        options.opt = []
    if not (options.opt or options.save or options.osc):
        option = "--no-video" if options.no_video else "-o none"
        raise UsageError(f"{option}: expected --save FILE or --osc HOST:PORT with it, or there would be no result")
    targets = _targets(options)
    for path in targets.values():
        check_file("--out", path)
    _check_saved(options)
    camera = camera_choice(options)
    check_needs(options.opt)
    warn_without_effect(options, options.opt, "--save", bool(options.save))
    warn_about_smoothing(options)
    takes = [path for path in options.save if avatar.is_take(path)]
    moves_avatar = options.osc is not None or bool(takes)
    warn_without_avatar(options, used=moves_avatar)
    aligner = load_aligner(options)
    check_kinds(aligner, options.opt)
    if moves_avatar:
        check_mesh(aligner.decoder, "--osc" if options.osc is not None else f"--save {takes[0].name}")
    tracker = make_tracker(options, aligner)
    with video.open_source(source) as reader:
        load_networks(aligner)
        run = _Run(options, aligner, camera, reader, targets)
        interrupted = run.all(tracker, start, end)
        if not run.frames and not interrupted:
            raise ValueError(f"{reader.name}: expected frame {start} or a later one, got none")
        run.print_results(tracker, interrupted=interrupted)
        if interrupted:
            return INTERRUPTED
        return FAILED if reader.damaged else 0


def _targets(options: argparse.Namespace) -> dict[str, Path]:
    """The video of each kind."""
    stem, suffix = source_stem(options.inputs[0]), "" if options.smooth == "none" else "_smooth"
    return {kind: output_path(options.out, f"{stem}_{kind}{suffix}.mp4") for kind in options.opt}


def _check_saved(options: argparse.Namespace) -> None:
    """Check the files of ``--save`` before anything is done."""
    (source,) = options.inputs
    for path in options.save:
        check_file("--save", path)
        for used in (source, options.intrinsics, options.neutral):
            if path.exists() and Path(str(used)).exists() and path.samefile(str(used)):
                raise UsageError(f"--save: expected another file than {used}, which is an input")
    twice = [path for position, path in enumerate(options.save) if path in options.save[:position]]
    if twice:
        raise UsageError(f"--save: expected each file once, got {twice[0]} twice")


def _range(options: argparse.Namespace) -> tuple[int, int | None]:
    """Return the first frame and the last one, None for the last of the video."""
    start, end = max(options.start, 0), options.end if options.end >= 0 else None
    if end is not None and end < start:
        raise UsageError(f"-e/--end: expected {start} or more, got {end}")
    return start, end


class _Run:
    """One run of the command: frames are read, tracked, drawn, written and counted."""

    def __init__(
        self,
        options: argparse.Namespace,
        aligner: Aligner,
        camera: CameraChoice,
        reader: Reader,
        targets: Mapping[str, Path],
    ) -> None:
        self.options, self.aligner, self.camera, self.reader = options, aligner, camera, reader
        self.source, self.targets = options.inputs[0], targets
        # these numbers take longer than all others
        self.dense = uses_camera(options.opt) or is_asked_for(options)
        self.frames = self.frames_with_faces = 0
        self.tracks: set[int] = set()
        self.seconds = 0.0
        self.writers: dict[str, Writer] = {}
        self.recorders: dict[Path, Recorder] = {}
        self.performer: Performer | None = None
        self.sender: VmcSender | None = None

    def all(self, tracker: Tracker, start: int, end: int | None) -> bool:
        """Do all frames; return whether the run was interrupted. The files are complete in any case."""
        total = self.reader.count if end is None or self.reader.count is None else min(end + 1, self.reader.count)
        total = None if total is None else max(0, total - start)
        began = time.perf_counter()
        try:
            with interrupted_once() as hold, contextlib.ExitStack() as stack:
                # reading, tracking, and drawing with encoding run at the same time, each in a thread
                decoded = stack.enter_context(contextlib.closing(_threaded(self.reader.frames(start, end))))
                tracked = stack.enter_context(contextlib.closing(_threaded(tracker.run(decoded))))
                for frame, faces in progress(tracked, total, unit="frame"):
                    self._frame(frame, faces, stack, shortest=end is not None)
                hold()
        except KeyboardInterrupt:
            return True
        finally:
            self.seconds = time.perf_counter() - began
        return False

    def _frame(self, frame: Frame, faces: Sequence[Face], stack: contextlib.ExitStack, *, shortest: bool) -> None:
        intrinsics = self.camera(frame.image.shape[:2], None)
        settings = output_options(self.options, intrinsics)
        drawn = {kind: draw_frame(frame.image, faces, self.aligner, kind, settings) for kind in self.targets}
        if self.options.osc is not None:
            self._send(faces, frame.time, intrinsics, stack)
        if not self.frames:
            # not earlier: a run that fails before it leaves the files of an earlier one
            for path in self.options.save:
                self.recorders[path] = stack.enter_context(self._open_recorder(path, intrinsics))
            for kind, target in self.targets.items():
                self.writers[kind] = stack.enter_context(self._open_writer(target, frame, shortest=shortest))
        for kind, image in drawn.items():
            self.writers[kind].write(_beside(frame.image, image) if self.options.compare else image, frame.time)
        decoder, dense = self.aligner.decoder, self.dense
        for recorder in self.recorders.values():
            recorder.add(frame, list(faces), lambda face: face.to_dict(decoder, intrinsics, dense=dense))
        self.frames += 1
        self.frames_with_faces += bool(faces)
        self.tracks |= {face.track_id for face in faces if face.track_id is not None}

    def _send(self, faces: Sequence[Face], at: float, intrinsics: Any, stack: contextlib.ExitStack) -> None:
        performer = self._performer(intrinsics)
        if self.sender is None:
            # a file is read faster than it plays
            self.sender = stack.enter_context(make_sender(self.options, performer, paced=not self.reader.live))
        self.sender.send([performer(face) for face in faces], at)

    def _open_writer(self, target: Path, first: Frame, *, shortest: bool) -> Writer:
        from tddfa import video

        return video.Writer(
            target,
            fps=self.reader.fps or 30.0,
            audio_from=self.source if self.reader.has_audio else None,
            # the clock of the source, and of the records, unless frames before the first are left out
            audio_start=0.0 if first.index == 0 and not self.reader.live else None,
            shortest=shortest,
        )

    def _open_recorder(self, path: Path, intrinsics: Any) -> Recorder:
        from tddfa.avatar import is_take, open_take
        from tddfa.tracking.records import Recorder

        if is_take(path):
            return open_take(path, self._performer(intrinsics), fps=self.reader.fps or 30.0)
        return Recorder.open(path)

    def _performer(self, intrinsics: Any) -> Performer:
        if self.performer is None:
            self.performer = make_performer(self.options, self.aligner, intrinsics)
        return self.performer

    def print_results(self, tracker: Tracker, *, interrupted: bool) -> None:
        """Print how many frames and faces there were, the jitter, and the files."""
        from tddfa import avatar

        print_line(
            f"{self.reader.name}: {'1 frame' if self.frames == 1 else f'{self.frames} frames'}, "
            f"{self.frames_with_faces} with faces, "
            f"{'1 track' if len(self.tracks) == 1 else f'{len(self.tracks)} tracks'} "
            f"({self.seconds:.1f} s, {self.frames / max(self.seconds, 1e-9):.0f} fps, {self.aligner.device})"
        )
        before, after = tracker.jitter_before.value, tracker.jitter_after.value
        if before == before:  # NaN if there was no face
            smoothed = "" if self.options.smooth == "none" else f", {after:.2f} % smoothed"
            print_line(f"  {'jitter':10} {before:.2f} % of the face size{smoothed}")
        if interrupted:
            print_line("  interrupted: the files hold the frames until then")
        for kind in self.writers:
            print_line(f"  {kind:10} {self.targets[kind]}")
        for path, recorder in self.recorders.items():
            written = recorder.faces or not avatar.is_take(path)
            print_line(f"  {'faces':10} {path if written else 'no face: no file was written'}")
        if self.sender is not None:
            print_line(f"  {'osc':10} {self.sender.frames} frames to {self.sender.target}")


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    return np.hstack([left, right])


def _threaded(frames: Any) -> Any:
    from tddfa import video

    return video.threaded(frames, _QUEUE_LENGTH)
