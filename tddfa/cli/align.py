"""``tddfa align``: photos in, aligned crops for face recognition out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._common import (
    FAILED,
    MISUSED,
    NO_FACE,
    add_model_options,
    expected_errors,
    fraction,
    integer,
    load_aligner,
    print_error,
    print_line,
)
from tddfa.cli._paths import check_targets, input_files, output_stems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.types import Face

_SIZES = (32, 1024)
_MAX_FACES = 100_000


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``; img2pose's names of the options are understood too."""
    parser = commands.add_parser(
        "align",
        help="cut aligned faces out of photos, for recognition",
        description="Cut every face of photos out as recognition networks want it: upright, of one size, its eyes, "
        "nose and mouth where ArcFace's template has them. The crops are called DIR/<photo>_<k>, k from 0 in the "
        "order of --order.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run_align)
    # not a group of which one is required: that tells of a misspelt option's value as if it were a second PATH
    parser.add_argument("images", nargs="*", default=[], metavar="PATH", help="photos, folders of photos, patterns")
    parser.add_argument("-f", "--images_path", "--images-path", nargs="+", metavar="PATH", help="the same")
    parser.add_argument(
        "--out", "--output_path", "--output-path", type=Path, default=Path("aligned"), metavar="DIR",
        help="where the crops go (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-faces", "--max_faces", type=integer(1, _MAX_FACES), metavar="N",
        help="the first N faces of each photo, in the order of --order (default: all; img2pose: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--order", "--order_method", "--order-method", choices=("position", "confidence", "size"), default="position",
        help="nearest to the middle of the photo, in head sizes; or highest score; or largest (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--size", "--face_size", "--face-size", type=integer(*_SIZES), default=112, metavar="PX",
        help="side of a crop: 112 as most networks want it, 224, or another (default: %(default)s; img2pose: 224)",
    )  # fmt: skip
    parser.add_argument(
        "--template", choices=("arcface", "auto"), default="arcface",
        help="ArcFace's five points; or those of img2pose's five views that fit best (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--frontal", action="store_true",
        help="turn each face to the front; what it hides is mirrored. Always in ArcFace's frame",
    )  # fmt: skip
    parser.add_argument(
        "--det-threshold", "--det_threshold", type=fraction, metavar="0..1",
        help="drop boxes of the detector under this score (default: the model's, usually 0.5; img2pose: 0.7)",
    )  # fmt: skip
    parser.add_argument(
        "--nms-threshold", "--nms_threshold", type=_overlap, metavar="0..1",
        help="overlap from which the worse of two boxes goes (default: the model's, usually 0.3; img2pose: 0.6)",
    )  # fmt: skip
    parser.add_argument("--min_size", "--max_size", metavar="PX", help="accepted for img2pose's sake: they do nothing")
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg", help="of the crops (default: jpg)")
    parser.add_argument(
        "--json", action="store_true",
        help="write DIR/<photo>.json: box, score, pose, the five points and the matrix of each crop",
    )  # fmt: skip
    # the crops of a face are the same whatever its landmarks are called
    add_model_options(parser, convention=False)


def run_align(options: argparse.Namespace) -> int:
    """Do ``tddfa align``; return the exit status."""
    photos = [*options.images, *(options.images_path or [])]
    if not photos:
        print_error("PATH: expected photos, folders of photos, or patterns")
        return MISUSED
    paths, complete = input_files(photos)
    failed = not complete
    stems = output_stems(paths)
    try:
        tails = [rf"_\d+\.{options.format}", *([r"\.json"] if options.json else [])]
        check_targets(options.out, stems, tails, paths)
        aligner = load_aligner(options)
        _set_thresholds(aligner, options)
    except (ValueError, OSError, ImportError) as error:
        print_error(str(error))
        return FAILED
    faces_seen = 0
    for path, stem in zip(paths, stems, strict=True):
        try:
            faces, done = _one(path, stem, options, aligner)
        except BrokenPipeError:
            raise  # nobody reads on: no fault of the photo's
        except expected_errors() as error:
            # the other files of the run still get done
            print_error(str(error) or f"{path}: {type(error).__name__}")
            failed = True
            continue
        faces_seen += faces
        failed |= not done
    if failed:
        return FAILED
    return 0 if faces_seen else NO_FACE


def _one(path: Path, stem: str, options: argparse.Namespace, aligner: Aligner) -> tuple[int, bool]:
    """Do one photo; return the number of its faces, and whether all that were wanted could be aligned."""
    from tddfa._shared import image_io
    from tddfa._shared.files import write_atomic
    from tddfa.face_crops.aligned import ordered

    started = time.perf_counter()
    image = image_io.read(path)
    found = aligner(image)
    elapsed = f"{1000 * (time.perf_counter() - started):.0f} ms, {aligner.device}"
    faces = ordered(found, options.order, image.shape[:2])[: options.max_faces]
    count = {0: "no face", 1: "1 face"}.get(len(found), f"{len(found)} faces")
    left_out = "" if len(faces) == len(found) else f", {len(faces)} wanted"
    print_line(f"{path}: {count}{left_out} ({elapsed})")
    written: list[Path] = []
    records: list[dict[str, Any]] = []
    for k, face in enumerate(faces):
        target = options.out / f"{stem}_{k}.{options.format}"
        try:
            written.append(image_io.write(target, _crop(image, face, options, aligner)))
        except expected_errors() as error:
            print_error(f"{path}: face {k}: {str(error) or type(error).__name__}")
            continue
        records.append({"file": target.name, **_describe(face, options)})
    if written:
        print_line(f"  {'frontal' if options.frontal else 'aligned':10} {' '.join(str(name) for name in written)}")
    if options.json:
        content = {
            "source": str(path),
            "width": image.shape[1],
            "height": image.shape[0],
            "size": options.size,
            "template": "arcface" if options.frontal else options.template,
            "frontal": options.frontal,
            "faces": records,
        }
        text = json.dumps(content, indent=1, allow_nan=False)
        print_line(f"  json       {write_atomic(options.out / f'{stem}.json', text.encode())}")
    return len(found), len(records) == len(faces)


def _crop(image: NDArray[np.uint8], face: Face, options: argparse.Namespace, aligner: Aligner) -> NDArray[np.uint8]:
    if options.frontal:
        from tddfa.face_crops.frontal import frontalise

        return frontalise(image, face, aligner.mesh(face), options.size)
    from tddfa.face_crops.aligned import align_face

    return align_face(image, face, options.size, options.template)


def _describe(face: Face, options: argparse.Namespace) -> dict[str, Any]:
    """A crop in plain numbers: px of the photo, degrees; the matrix maps px of the photo to px of the crop."""
    import numpy as np

    from tddfa.face_crops.aligned import alignment, five_points

    matrix = None if options.frontal else np.round(alignment(face, options.size, options.template), 6).tolist()
    return {
        "box": np.round(face.box.astype(np.float64), 2).tolist(),
        "score": round(face.score, 5),
        "pose": {name: round(angle, 3) for name, angle in face.camera.euler_degrees()._asdict().items()},
        "points": np.round(five_points(face), 3).tolist(),
        "matrix": matrix,
    }


def _set_thresholds(aligner: Aligner, options: argparse.Namespace) -> None:
    given = {"score": options.det_threshold, "iou": options.nms_threshold}
    changes = {name: value for name, value in given.items() if value is not None}
    if changes and aligner.detector is not None:
        aligner.detector = dataclasses.replace(aligner.detector, **changes)


def _overlap(text: str) -> float:
    value = fraction(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"expected a number over 0 and up to 1, got {text!r}")
    return value
