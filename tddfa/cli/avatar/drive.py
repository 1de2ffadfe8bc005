"""Write what a face does in a video as an animation of an avatar: any .glb whose morph targets have ARKit's names."""

from __future__ import annotations

import argparse
from pathlib import Path

from tddfa._shared.files import naming, write_atomic
from tddfa._shared.reading.regular import read_regular
from tddfa._shared.terminal.parser import UsageError
from tddfa._shared.terminal.progress import progress
from tddfa.cli._common import FAILED, add_model_options, filled, load_aligner, load_networks, print_line
from tddfa.cli._frames import add_tracking_options, make_tracker, warn_about_smoothing
from tddfa.cli._output_options import check_mesh
from tddfa.cli._paths import check_file
from tddfa.cli.avatar._options import add_avatar_options, make_performer

_MAX_BYTES = 1 << 30  # of an avatar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa avatar drive``."""
    parser.add_argument("model", type=Path, metavar="MODEL.glb", help="the avatar")
    parser.add_argument(
        "video", type=filled("a video file, a URL or a folder"), metavar="VIDEO",
        help="a video file, a URL, or a folder of images",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.glb", help="the avatar with the animation")
    add_avatar_options(parser, sends=False)
    add_tracking_options(parser)
    add_model_options(parser, convention=False)


def run(options: argparse.Namespace) -> int:
    """Run ``tddfa avatar drive``; return the exit status."""
    from tddfa import video
    from tddfa.avatar.animation import Keyframes
    from tddfa.avatar.retarget import Avatar

    if options.out.suffix.lower() != ".glb":
        raise UsageError(f"--out: expected a name that ends in .glb, got {str(options.out)!r}")
    check_file("--out", options.out)
    if options.out.exists() and options.model.exists() and options.out.samefile(options.model):
        raise UsageError(f"--out: expected another file than MODEL.glb, got {options.out}")
    warn_about_smoothing(options)
    aligner = load_aligner(options)
    check_mesh(aligner.decoder, "avatar drive")
    names = aligner.decoder.face_model.arkit_names
    try:
        with naming(options.model):
            data = read_regular(options.model, _MAX_BYTES)
        avatar = Avatar(data, names)
    except ValueError as error:
        raise ValueError(f"{options.model}: {error}") from error
    tracker = make_tracker(options, aligner)
    performer = make_performer(options, aligner, None)
    tracks: dict[int | None, Keyframes] = {}
    with video.open_source(options.video) as reader:
        load_networks(aligner)
        for frame, faces in progress(tracker.run(reader.frames(0, None)), reader.count, unit="frame"):
            for face in faces:
                tracks.setdefault(face.track_id, Keyframes()).add(frame.time, performer(face))
    if not tracks:
        raise ValueError(f"{options.video}: expected a video with a face, got one without; no file was written")
    longest = max(tracks.values(), key=lambda keyframes: len(keyframes.times))
    try:
        animated = avatar.animated(longest.motion())
    except ValueError as error:
        raise ValueError(f"{options.model}: {error}") from error
    write_atomic(options.out, animated)
    others = f", the longest of {len(tracks)} tracks" if len(tracks) > 1 else ""
    print_line(f"{options.video}: {len(longest.times)} frames with the face{others}")
    turned = f"{avatar.head} turns with the head" if avatar.head else "no head bone: the head does not turn"
    print_line(f"  {'shapes':10} {len(avatar.driven)} of {len(names)}; {turned}")
    print_line(f"  {'glb':10} {options.out}")
    return FAILED if reader.damaged else 0
