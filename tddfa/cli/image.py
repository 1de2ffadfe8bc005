"""``tddfa image``: photos in, pictures and 3D files out."""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._camera_options import CameraChoice, add_camera_options, camera_choice, is_asked_for
from tddfa.cli._common import (
    FAILED,
    NO_FACE,
    add_model_options,
    expected_errors,
    fraction,
    has_display,
    integer,
    load_aligner,
    print_error,
    print_line,
    print_warning,
)
from tddfa.cli._paths import check_targets, input_files, output_stems
from tddfa.kinds import KINDS, MESHES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.outputs import Outputs
    from tddfa.types import Face

_EXAMPLE = "examples/inputs/astronaut.jpg"
_MAX_BOX_BYTES = 64 << 20


class _Failed(Exception):
    """Some outputs of a photo could not be made, which has been said; it has faces all the same."""

    def __init__(self, faces: int) -> None:
        super().__init__(faces)
        self.faces = faces


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "image",
        help="align the faces of photos",
        description="Align every face of photos; draw and save what was found.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run_image)
    parser.add_argument(
        "-f", "--img_fp", nargs="+", metavar="PATH", default=[_EXAMPLE],
        help="photos, folders of photos, or patterns such as 'photos/*.jpg' (default: examples/inputs/astronaut.jpg)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--opt", type=_kinds, metavar="KIND[,KIND…]", default=["2d_sparse"],
        help=f"what to make, out of {', '.join(KINDS)} (default: 2d_sparse)",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("examples/results"), metavar="DIR",
        help="where the files go: DIR/<photo>_<kind>.<suffix> (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--show_flag", "--show-flag", type=_flag, default=True, metavar="true|false",
        help="show each picture in a window, where there is a display (default: true)",
    )  # fmt: skip
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE",
        help="skip the detector: lines 'x1 y1 x2 y2' in px for one photo, or a .json of photo name -> list of boxes",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="write DIR/<photo>.json: boxes, landmarks and which are seen, pose, 6DoF, …"
    )
    add_camera_options(parser, exif=True)
    look = parser.add_argument_group("how the files look")
    look.add_argument("--format", choices=("jpg", "png", "webp"), default="jpg", help="of pictures (default: jpg)")
    look.add_argument("--background", choices=("image", "black"), default="image", help="of 3d, depth, pncc, 6dof")
    look.add_argument(
        "--alpha", type=fraction, default=0.85, metavar="0..1", help="opacity of 3d, 6dof (default: 0.85)"
    )
    look.add_argument(
        "--pose_style", "--pose-style", choices=("box", "axes"), default="box", help="of pose (default: box)"
    )
    look.add_argument(
        "--uv_size",
        "--uv-size",
        type=integer(16, 8192),
        default=512,
        metavar="PX",
        help="side of uv_tex (default: 512)",
    )
    look.add_argument(
        "--uv_mask", "--uv-mask", action="store_true", help="with uv_tex: a picture of what was seen, mirrored, filled"
    )
    look.add_argument(
        "--raw", choices=("png", "npy"),
        help="with depth: the numbers too, as 16-bit PNG (1/16 px a step, 0 is empty) or float32 px (NaN is empty)",
    )  # fmt: skip
    look.add_argument("--ascii", action="store_true", help="ply as text")
    look.add_argument(
        "--vertex_colors",
        "--vertex-colors",
        action="store_true",
        help="the photo's colours on the vertices of 3D files",
    )


def run_image(options: argparse.Namespace) -> int:
    """Do ``tddfa image``; return the exit status."""
    if options.img_fp == [_EXAMPLE] and not Path(_EXAMPLE).exists():
        print_error("-f: expected photos")
        return FAILED
    paths, complete = input_files(options.img_fp)
    failed = not complete
    try:
        boxes = None if options.boxes is None else _read_boxes(options.boxes, paths)
        camera = camera_choice(options)
        _check_kinds(options)
        aligner = load_aligner(options)
    except (ValueError, OSError, ImportError) as error:
        print_error(str(error))
        return FAILED
    stems = output_stems(paths)
    try:
        # "exif" and "assumed" are no files, and no outputs either
        settings = [path for path in (options.boxes, Path(options.intrinsics)) if path is not None]
        check_targets(options.out, stems, _tails(options), [*paths, *settings])
    except ValueError as error:
        print_error(str(error))
        return FAILED
    windows = options.show_flag and has_display()
    faces_seen = 0
    for path, stem in zip(paths, stems, strict=True):
        try:
            faces_seen += _one(path, options.out / stem, options, aligner, boxes, camera, windows)
        except BrokenPipeError:
            raise  # nobody reads on: no fault of the photo's
        except _Failed as error:
            faces_seen += error.faces
            failed = True
        except expected_errors() as error:
            # the other files of the run still get done
            print_error(str(error) or f"{path}: {type(error).__name__}")
            failed = True
    if failed:
        return FAILED
    return 0 if faces_seen else NO_FACE


def _check_kinds(options: argparse.Namespace) -> None:
    """Say what would be missed only when all else is done: a package, or that an option does nothing.

    Raises
    ------
    ImportError
        If a kind needs a package that is not installed.
    """
    if "glb" in options.opt and importlib.util.find_spec("trimesh") is None:
        raise ImportError("-o glb needs trimesh: pip install 'tddfa[glb]'")
    if is_asked_for(options) and not options.json and "6dof" not in options.opt:
        print_warning("--intrinsics, --fov, --focal: no effect without -o 6dof or --json")
    if options.raw is not None and "depth" not in options.opt:
        print_warning("--raw: no effect without -o depth")
    if options.uv_mask and "uv_tex" not in options.opt:
        print_warning("--uv_mask: no effect without -o uv_tex")


def _one(
    path: Path,
    stem: Path,
    options: argparse.Namespace,
    aligner: Aligner,
    boxes: dict[str, Any] | None,
    camera: CameraChoice,
    windows: bool,
) -> int:
    """Do one photo; return the number of its faces."""
    from tddfa._shared import image_io
    from tddfa.outputs import Options, Outputs

    started = time.perf_counter()
    image = image_io.read(path)
    # a photo that tells nothing of its camera is no trouble to kinds that need none
    intrinsics = camera(image.shape[:2], path) if options.json or "6dof" in options.opt else None
    try:
        faces = aligner(image, boxes=None if boxes is None else boxes[str(path)])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    elapsed = f"{1000 * (time.perf_counter() - started):.0f} ms, {aligner.device}"
    count = {0: "no face", 1: "1 face"}.get(len(faces), f"{len(faces)} faces")
    print_line(f"{path}: {count} ({elapsed})")
    outputs = Outputs(
        image,
        faces,
        aligner,
        Options(
            suffix=f".{options.format}",
            background=options.background,
            alpha=options.alpha,
            pose_style=options.pose_style,
            uv_size=options.uv_size,
            uv_mask=options.uv_mask,
            raw_depth=options.raw,
            ascii=options.ascii,
            vertex_colors=options.vertex_colors,
            intrinsics=intrinsics,
        ),
    )
    if options.json:
        print_line(f"  json       {outputs.save_json(stem, path.name)}")
    if not faces:
        return 0
    failed = False
    for kind in options.opt:
        try:
            written = outputs.save(kind, stem)
        except BrokenPipeError:
            raise
        except expected_errors() as error:
            # a picture too wide for one format is not too wide for the others
            print_error(str(error) or f"{path}: {kind}: {type(error).__name__}")
            failed = True
            continue
        print_line(f"  {kind:10} {' '.join(str(name) for name in written)}")
        if kind == "pose":
            for k, face in enumerate(faces):
                yaw, pitch, roll = face.camera.euler_degrees()
                print_line(f"             {_who(k, faces)}yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}")
        if kind == "6dof":
            _tell_6dof(outputs)
        if windows and kind not in MESHES:
            _show(outputs, kind, path)
    if failed:
        raise _Failed(len(faces))
    return len(faces)


def _tell_6dof(outputs: Outputs) -> None:
    from tddfa.draw.six_dof import told_distance

    about = "~" if outputs.options.intrinsics is None else ""
    for k, pose in enumerate(outputs.poses):
        who = _who(k, outputs.faces)
        if pose is None:
            print_line(f"             {who}this camera cannot show it so")
            continue
        distance = told_distance(pose.distance, outputs.aligner.face_model.unit)
        yaw, pitch, roll = pose.euler_degrees()
        print_line(f"             {who}{about}{distance}, yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}")


def _who(index: int, faces: Sequence[Face]) -> str:
    """The face's place in the JSON too, where there are several."""
    return f"{index}: " if len(faces) > 1 else ""


def _kinds(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(f"expected one or more of {','.join(KINDS)}, got {text!r}")
    return list(dict.fromkeys(kinds))


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text.lower() in ("true", "yes", "1")


def _tails(options: argparse.Namespace) -> list[str]:
    """What follows a photo's name in those of the outputs, as regular expressions."""
    tails = [r"\.json"] if options.json else []
    for kind in options.opt:
        tails.append(rf"_{kind}\.{kind if kind in MESHES else options.format}")
    if "obj" in options.opt:
        tails += [r"_obj\.mtl", r"_obj(_\d+)?\.png"]
    if "depth" in options.opt and options.raw is not None:
        tails.append(r"_depth_raw\.png" if options.raw == "png" else r"_depth\.npy")
    if "uv_tex" in options.opt and options.uv_mask:
        tails.append(r"_uv_tex_mask\.png")
    return tails


def _read_boxes(file: Path, paths: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """Boxes by photo, of a text file (for one photo) or a JSON file.

    Raises
    ------
    ValueError
        If the file is something else, or if it does not speak of every photo.
    """
    import numpy as np

    try:
        if file.stat().st_size > _MAX_BOX_BYTES:
            raise ValueError(f"{file}: expected at most {_MAX_BOX_BYTES >> 20} MiB of boxes")
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".json":
            content = json.loads(text)
        else:
            if len(paths) != 1:
                raise ValueError(f"{file}: lines of boxes are for one photo, got {len(paths)}; give a .json")
            lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
            content = {paths[0].name: [[float(word) for word in line] for line in lines if line]}
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: not a file of boxes: {error}") from error
    except ValueError as error:
        if str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: expected lines 'x1 y1 x2 y2', {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected photo names and their boxes, got {type(content).__name__}")
    boxes = {}
    for path in paths:
        rows = content.get(path.name, content.get(str(path)))
        if rows is None:
            raise ValueError(f"{file}: no boxes for {path.name}")
        try:
            array = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.zeros(1)
        if array.size and (array.ndim != 2 or array.shape[1] not in (4, 5)):
            raise ValueError(f"{file}: {path.name}: expected rows x1 y1 x2 y2, in px")
        boxes[str(path)] = array
    return boxes


def _show(outputs: Outputs, kind: str, path: Path) -> None:
    import cv2

    title = f"{path.name} {kind} - any key goes on"
    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    cv2.imshow(title, outputs.picture(kind))
    # a window that is closed by hand takes no key any more
    while cv2.waitKey(100) < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) > 0:
        pass
    cv2.destroyWindow(title)
