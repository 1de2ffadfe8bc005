"""``tddfa align``: photos in; aligned crops for face recognition out."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tddfa._shared.files import output_path, write_atomic
from tddfa._shared.terminal.parser import Parser, as_usage_error
from tddfa.cli._common import (
    Steps,
    add_model_options,
    add_out_option,
    faces_text,
    fraction,
    integer,
    load_aligner,
    load_networks,
    print_line,
    print_warning,
)
from tddfa.cli._output_options import check_mesh
from tddfa.cli._paths import Photo, add_page_option, check_targets, input_files, photos
from tddfa.cli._summary import do_photos

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.types import Face

_SIZES = (32, 1024)
_MAX_FACES = 100_000
# Degrees: of a head turned farther, the fraction that no photo shows is printed.
_MOSTLY_SEEN_UP_TO = 40


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``. It accepts the option names of img2pose too."""
    parser: Parser = commands.add_parser(
        "align",
        help="crop aligned faces from photos, for face recognition",
        description="Crop every face of photos as networks for face recognition expect it: upright, of one size,\n"
        "with eyes, nose and mouth at the points of ArcFace's template. Crops are named DIR/<photo>_<k>,\n"
        "where k counts from 0 in the order of --order.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_align)
    parser.add_inputs(
        "-f", "--images-path", metavar="PHOTO", help="photos, folders of photos, or patterns such as 'photos/*.jpg'"
    )
    add_out_option(parser, "the crops", "results/aligned")
    parser.add_aliases("--out", "--output-path")
    parser.add_argument(
        "--json", action="store_true",
        help="also write DIR/<photo>.json: box, score, pose, five points and matrix of each crop (default: no)",
    )  # fmt: skip
    add_page_option(parser)
    parser.add_argument(
        "--format", choices=("jpg", "png"), default="jpg", help="format of crops (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=integer(*_SIZES), default=112, metavar="PX",
        help="side of a crop; most networks expect 112 (default: %(default)s; img2pose: 224)",
    )  # fmt: skip
    parser.add_aliases("--size", "--face-size")
    parser.add_argument(
        "--template", choices=("arcface", "auto"), default="arcface",
        help="five points of ArcFace, or auto: the best of the five views of img2pose (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--frontal", action="store_true",
        help="rotate each head to the front and fill hidden parts by mirroring; always uses the template of ArcFace "
        "(default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--frontal-mask", action="store_true",
        help="with --frontal, also write DIR/<photo>_<k>_mask.png: 255 is visible in the photo, 170 mirrored, "
        "85 filled, 0 outside of the photo (default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--order", choices=("position", "confidence", "size"), default="position",
        help="which faces come first: position for nearest to the centre of the photo, in head sizes; confidence for "
        "highest score; size for largest (default: %(default)s)",
    )  # fmt: skip
    parser.add_aliases("--order", "--order-method")
    parser.add_argument(
        "--max-faces", type=integer(1, _MAX_FACES), metavar="N",
        help="crop the first N faces of each photo, in the order of --order (default: all; img2pose: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--det-threshold", type=fraction, metavar="0..1",
        help="lowest score of a detection (default: as in the config, 0.25 in open_mb05; img2pose: 0.7)",
    )  # fmt: skip
    parser.add_argument(
        "--nms-threshold", type=_overlap, metavar="0..1",
        help="if two detections overlap by this IoU or more, only the better one is kept (default: as in the config, "
        "usually 0.3; img2pose: 0.6)",
    )  # fmt: skip
    parser.add_argument("--min-size", metavar="PX", help="option of img2pose, as --max-size: accepted, without effect")
    parser.add_aliases("--min-size", "--max-size")
    # the template's points are those of 300-W, the convention of our models
    add_model_options(parser, convention=False)


def run_align(options: argparse.Namespace) -> int:
    """Run ``tddfa align``; return the exit status."""
    inputs = input_files(options.inputs)
    images = photos(inputs.paths, options.page)
    if options.frontal_mask and not options.frontal:
        print_warning("--frontal-mask: no effect without --frontal")
    endings = [
        rf"_\d+\.{options.format}",
        *([r"_\d+_mask\.png"] if options.frontal and options.frontal_mask else []),
        *([r"\.json"] if options.json else []),
    ]
    check_targets(options.out, [photo.stem for photo in images], endings, inputs.paths)
    aligner = load_aligner(options)
    if options.frontal:
        check_mesh(aligner.decoder, "--frontal")
    _set_thresholds(aligner, options)
    load_networks(aligner)
    steps = Steps()
    return do_photos(images, inputs, steps, lambda photo: _align_photo(photo, options, aligner, steps))


def _align_photo(photo: Photo, options: argparse.Namespace, aligner: Aligner, steps: Steps) -> int:
    """Crop the faces of a photo; return how many faces it has."""
    from tddfa._shared import image_io
    from tddfa.face_crops.aligned import ordered

    started = time.perf_counter()
    image = image_io.read(photo.path, page=photo.page)
    detected = aligner(image, name=photo.path)
    elapsed = f"{1000 * (time.perf_counter() - started):.0f} ms, {aligner.device}"
    faces = ordered(detected, options.order, image.shape[:2])[: options.max_faces]
    left_out = "" if len(faces) == len(detected) else f", {len(faces)} wanted"
    print_line(f"{photo.name}: {faces_text(len(detected))}{left_out} ({elapsed})")
    written: list[Path] = []
    records: list[dict[str, Any]] = []
    for k, face in enumerate(faces):
        target = output_path(options.out, f"{photo.stem}_{k}.{options.format}")
        with steps.step("cannot be aligned", prefix=f"{photo.name}: face {k}: "):
            crop = _crop(image, face, options, aligner)
            written.append(image_io.write(target, crop.image))
            records.append({"file": target.name, **_describe(face, options), "mirrored": _fraction(crop)})
            if crop.mask is not None and options.frontal_mask:
                written.append(image_io.write(output_path(options.out, f"{photo.stem}_{k}_mask.png"), crop.mask))
            if crop.mirrored is not None and _turn(face) > _MOSTLY_SEEN_UP_TO:
                print_line(f"  face {k}: {100 * crop.mirrored:.0f} % of the face is mirrored or filled")
    if written:
        print_line(f"  {'frontal' if options.frontal else 'aligned':10} {' '.join(map(str, written))}")
    if options.json:
        print_line(f"  {'json':10} {_write_json(photo, image.shape[:2], records, aligner.precision, options)}")
    return len(detected)


def _write_json(
    photo: Photo,
    size: tuple[int, int],
    records: list[dict[str, Any]],
    precision: str,
    options: argparse.Namespace,
) -> Path:
    from tddfa.types import SCHEMA

    content = {
        "schema": SCHEMA,
        "source": str(photo.path),
        **({} if photo.page is None else {"page": photo.page}),
        "width": size[1],
        "height": size[0],
        "size": options.size,
        "template": "arcface" if options.frontal else options.template,
        "frontal": options.frontal,
        "precision": precision,
        "faces": records,
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    return write_atomic(output_path(options.out, f"{photo.stem}.json"), text.encode())


class _Crop(NamedTuple):
    """A crop; of a frontal one also the source of its pixels, and the fraction of the face that no pixel shows."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None
    mirrored: float | None = None


def _crop(image: NDArray[np.uint8], face: Face, options: argparse.Namespace, aligner: Aligner) -> _Crop:
    if options.frontal:
        from tddfa.face_crops.frontal import frontal_view

        return _Crop(*frontal_view(image, face, aligner.decoder.mesh(face), size=options.size))
    from tddfa.face_crops.aligned import align_face

    return _Crop(align_face(image, face, size=options.size, template=options.template))


def _fraction(crop: _Crop) -> float | None:
    return None if crop.mirrored is None else round(crop.mirrored, 3)


def _turn(face: Face) -> float:
    """Angle by which the head is turned away from the viewer, degrees."""
    return math.degrees(math.acos(max(-1.0, min(1.0, float(face.camera.rotation[2, 2])))))


def _describe(face: Face, options: argparse.Namespace) -> dict[str, Any]:
    """Describe a crop: px of the photo, degrees, and the matrix from px of the photo to px of the crop."""
    import numpy as np

    from tddfa.face_crops.aligned import alignment, five_points

    matrix = None if options.frontal else np.round(alignment(face, options.size, options.template), 6).tolist()
    record = face.to_dict()
    return {
        **{name: record[name] for name in ("box", "score", "pose")},
        "points": np.round(five_points(face), 3).tolist(),
        "matrix": matrix,
    }


def _set_thresholds(aligner: Aligner, options: argparse.Namespace) -> None:
    given = {"score": options.det_threshold, "iou": options.nms_threshold}
    for name, value in given.items():
        if value is not None and aligner.detector is not None:
            with as_usage_error({"score": "--det-threshold", "iou": "--nms-threshold"}[name]):
                aligner.detector = aligner.detector.with_options(**{name: value})


def _overlap(text: str) -> float:
    value = fraction(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"expected a number over 0 and up to 1, got {text!r}")
    return value
