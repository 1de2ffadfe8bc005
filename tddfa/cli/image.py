"""``tddfa image``: photos in; images, 3D files and numbers out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.files import output_path
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa.cli._camera_options import CameraChoice, add_camera_options, camera_choice
from tddfa.cli._common import (
    Steps,
    add_model_options,
    add_out_option,
    faces_text,
    has_display,
    load_aligner,
    load_networks,
    print_line,
    print_warning,
)
from tddfa.cli._output_options import (
    add_kinds_option,
    add_output_options,
    check_kinds,
    check_needs,
    kinds_help,
    output_options,
    uses_camera,
    warn_without_effect,
)
from tddfa.cli._paths import Photo, add_page_option, check_targets, input_files, photos
from tddfa.cli._summary import do_photos

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tddfa.aligner import Aligner
    from tddfa.outputs import Outputs

DEMO: dict[str, Any] = {
    "inputs": ["examples/inputs/astronaut.jpg"],
    "out": Path("examples/results"),
    "kind_in_mesh_names": True,
}
"""Defaults of demo.py."""

# Kinds that show no more of a face than its pose.
_FAST_KINDS = ("6dof", "pose", "box")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser: Parser = commands.add_parser(
        "image",
        help="align the faces of photos",
        description="Align every face of photos. Draw the faces, and save them as 3D files and numbers.\n"
        "Images are named DIR/<photo>_<kind>.jpg, meshes DIR/<photo>.<kind>.\n"
        "Exit status: 0; 1 if a photo failed; 255 if there was no face.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=lambda: kinds_help(parser, files=True),
    )
    parser.set_defaults(run=run_image, kind_in_mesh_names=False)
    parser.add_inputs(
        "-f", "--img-fp", metavar="PHOTO", help="photos, folders of photos, or patterns such as 'photos/*.jpg'"
    )
    add_kinds_option(parser, files=True)
    add_out_option(parser, "the files")
    parser.add_argument(
        "--json", action="store_true",
        help="also write DIR/<photo>.json: boxes, landmarks, pose, expression, 6DoF (default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--landmarks-csv", action="store_true",
        help="also write DIR/<photo>_landmarks_<face>.csv: 68 lines x,y,z, px; faces count from 0 (default: no)",
    )  # fmt: skip
    add_page_option(parser)
    parser.add_argument(
        "--fast", action="store_true",
        help="use the detector alone, which gives each face the average shape; for the kinds pose (the default with "
        "--fast), 6dof and box; the .json and .csv files hold shape, landmarks and expression of the average face "
        "(default: align each face)",
    )  # fmt: skip
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE",
        help="boxes to use in place of the detector, in px: lines 'x1 y1 x2 y2' for one photo, or a .json file of "
        "photo names and lists of boxes (default: run the detector)",
    )  # fmt: skip
    parser.add_argument(
        "--show-flag", type=_boolean, default=True, metavar="true|false",
        help="show each image in a window, if there is a display (default: true)",
    )  # fmt: skip
    add_model_options(parser)
    add_camera_options(parser, exif=True)
    add_output_options(parser, files=True)


def run_image(options: argparse.Namespace) -> int:
    """Run ``tddfa image``; return the exit status."""
    _check_fast(options)
    if not (options.opt or options.json or options.landmarks_csv):
        raise UsageError("-o none: expected --json or --landmarks-csv with it, or there would be no result")
    if options.background == "transparent" and options.format == "jpg":
        raise UsageError("--background transparent: expected --format png or webp, got jpg")
    inputs = input_files(options.inputs)
    paths = inputs.paths
    boxes = _given_boxes(options.boxes, paths)
    camera = camera_choice(options)
    check_needs(options.opt)
    warn_without_effect(options, options.opt, "--json", options.json)
    images = photos(paths, options.page)
    # "exif" and "assumed" are no files, and no outputs either
    sources = [*paths, Path(options.intrinsics), *([] if options.boxes is None else [options.boxes])]
    check_targets(options.out, [photo.stem for photo in images], _endings(options), sources)
    aligner = load_aligner(options)
    check_kinds(aligner, options.opt)
    load_networks(aligner, detects=boxes is None, aligns=not options.fast)
    steps = Steps()
    return do_photos(images, inputs, steps, _Run(options, aligner, camera, boxes, steps).photo)


def _check_fast(options: argparse.Namespace) -> None:
    """Check that ``--fast`` goes with the other options; warn of those that have no effect with it.

    Raises
    ------
    UsageError
        If it does not; the message names them.
    """
    default = options.parser.get_default
    for name in ("min_score", "tiles") if options.boxes is not None else ():
        if getattr(options, name) != default(name):
            print_warning(f"--{name.replace('_', '-')}: no effect with --boxes")
    if not options.fast:
        return
    if options.opt is default("opt"):
        options.opt = ["pose"]
    other = [kind for kind in options.opt if kind not in _FAST_KINDS]
    if other:
        raise UsageError(
            f"--fast: expected -o {', '.join(_FAST_KINDS)}, got {', '.join(other)}; "
            "other kinds need the shape of each face"
        )
    if options.boxes is not None:
        raise UsageError("--fast: cannot be used with --boxes, because it takes poses from the detector")
    for name in ("refine", "rotations"):
        if getattr(options, name) != default(name):
            print_warning(f"--{name}: no effect with --fast")


class _Run:
    """One run of the command, photo by photo."""

    def __init__(
        self,
        options: argparse.Namespace,
        aligner: Aligner,
        camera: CameraChoice,
        boxes: dict[str, NDArray[np.float64]] | None,
        steps: Steps,
    ) -> None:
        self.options, self.aligner, self.camera, self.boxes, self.steps = options, aligner, camera, boxes, steps
        self.windows = options.show_flag and has_display()

    def photo(self, photo: Photo) -> int:
        """Align the faces of a photo, save all that is asked for, and return how many faces there are."""
        outputs = self._align(photo)
        stem = output_path(self.options.out, photo.stem)
        if self.options.json:
            print_line(f"  {'json':10} {outputs.save_json(stem, photo.path.name, source=photo.path, page=photo.page)}")
        if self.options.landmarks_csv:
            print_line(f"  {'landmarks':10} {' '.join(map(str, outputs.save_landmarks(stem)))}")
        for kind in self.options.opt if outputs.faces else ():
            # an image that is too large for one format is not too large for the others
            with self.steps.step(f"{photo.name}: {kind}"):
                self._save(outputs, kind, stem)
                self._show(outputs, kind, photo.path)
        return len(outputs.faces)

    def _align(self, photo: Photo) -> Outputs:
        from tddfa._shared import image_io
        from tddfa.outputs import Outputs

        started = time.perf_counter()
        path = photo.path
        image = image_io.read(path, page=photo.page)
        # without EXIF data a photo fails only if a kind needs its camera
        needed = self.options.json or uses_camera(self.options.opt)
        intrinsics = self.camera(image.shape[:2], path) if needed else None
        try:
            if self.options.fast:
                least = 0.5 if self.options.min_score is None else self.options.min_score
                faces = self.aligner.detect_poses(image, min_score=least)
            else:
                faces = self.aligner(image, boxes=None if self.boxes is None else self.boxes[str(path)], name=path)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{photo.name}: {error}") from error
        elapsed = 1000 * (time.perf_counter() - started)
        print_line(f"{photo.name}: {faces_text(len(faces))} ({elapsed:.0f} ms, {self.aligner.device})")
        return Outputs(image, faces, self.aligner, output_options(self.options, intrinsics))

    def _save(self, outputs: Outputs, kind: str, stem: Path) -> None:
        from tddfa.outputs import KINDS

        print_line(f"  {kind:10} {' '.join(map(str, outputs.save(kind, stem)))}")
        summary = KINDS[kind].summary
        if summary is None:
            return
        for index, line in enumerate(summary(outputs)):
            # the index is that of the face in the JSON
            which = f"{index}: " if len(outputs.faces) > 1 else ""
            print_line(f"  {'':10} {which}{line}")

    def _show(self, outputs: Outputs, kind: str, path: Path) -> None:
        import cv2

        from tddfa.outputs import image_kinds

        if not self.windows or kind not in image_kinds():
            return
        title = f"{path.name} {kind} - press any key to continue"
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        cv2.imshow(title, outputs.draw(kind))
        # a window that was closed with the mouse receives no key
        while cv2.waitKey(100) < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) > 0:
            pass
        cv2.destroyWindow(title)


def _endings(options: argparse.Namespace) -> list[str]:
    """Endings of the names of all files that a run may write, as regular expressions."""
    from tddfa.outputs import KINDS

    settings = output_options(options, None)
    endings = [ending for kind in options.opt for ending in KINDS[kind].endings(settings)]
    if options.landmarks_csv:
        endings.append(r"_landmarks_\d+\.csv")
    return [r"\.json", *endings] if options.json else endings


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text.lower() in ("true", "yes", "1")


def _given_boxes(file: Path | None, paths: Sequence[Path]) -> dict[str, NDArray[np.float64]] | None:
    """Read the boxes of every photo from a text file (for one photo) or a JSON file.

    Raises
    ------
    ConfigError, ValueError
        If the file cannot be read, has another content, or lacks a photo.
    """
    if file is None:
        return None
    from tddfa.detector import BoxFile

    boxes = BoxFile(file)
    if not boxes.has_names and len(paths) != 1:
        raise ValueError(f"{file}: expected one photo for lines of boxes, got {len(paths)}; give a .json file")
    return {str(path): boxes.rows(path)[:, :5] for path in paths}
