"""``tddfa scan``: 3D scans in; landmarks, images and a fitted face model out."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.files import output_path, write_atomic
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa.cli._common import Steps, add_out_option, integer, print_line, print_warning
from tddfa.cli._output_options import Kinds
from tddfa.cli._paths import Photo, check_targets, input_files, output_stems
from tddfa.cli._summary import do_photos

if TYPE_CHECKING:
    from tddfa.scan.face import ScanFace
    from tddfa.scan.landmarker import ScanLandmarker
    from tddfa.scan.mesh import Scan

# those of tddfa.scan.files.writing and its neighbours, whose import would slow --help down
_KINDS = ("json", "npz", "csv", "pp", "image")
_UNITS = ("auto", "mm", "cm", "m", "in")
_SNAPS = ("geodesic", "euclidean", "none")
_SUFFIXES = (".obj", ".ply", ".stl", ".glb")
# A face with a lower score is probably none.
_LOW = 0.35


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser: Parser = commands.add_parser(
        "scan",
        help="find 68 landmarks on 3D scans of faces",
        description="Find 68 landmarks on 3D scans of faces (.obj .ply .stl .glb): meshes or clouds, in any pose.\n"
        "Files are DIR/<scan>.json, .npz, .csv, .pp (MeshLab) and DIR/<scan>_landmarks.jpg, in the unit and frame\n"
        "of the scan. Exit status: 0; 1 if a scan failed; 255 if there was no face.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_scan)
    parser.add_inputs("-f", "--scan", metavar="FILE", help="scans, folders of scans, or patterns such as 'scans/*.ply'")
    add_out_option(parser, "the files")
    parser.add_argument(
        "-o", "--opt", nargs="+", action=Kinds, names=lambda: _KINDS, default=list(_KINDS), metavar="KIND",
        help=f"files to write, with spaces or commas between them: {', '.join(_KINDS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--unit", choices=_UNITS, default="auto", help="unit of the scans (default: estimated from the face)"
    )
    parser.add_argument(
        "--up", type=_direction, metavar="AXIS|X,Y,Z",
        help="direction of up in the scans: x, -x, y, -y, z, -z or three numbers (default: found)",
    )  # fmt: skip
    # -x and -1,0,0 are no options
    parser._negative_number_matcher = re.compile(r"-(?:[xyzXYZ]$|\.?\d)")
    parser.add_argument(
        "--snap", choices=_SNAPS, default="geodesic",
        help="distances of the refinement to vertices of the scan (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--points", type=integer(100, 200_000), metavar="N",
        help="number of points that the network sees at once (default: as in its training)",
    )  # fmt: skip
    parser.add_argument(
        "--heat", type=integer(0, 67), metavar="K",
        help="also write DIR/<scan>_heat<K>.ply, the scan in the colours of the heat of landmark K",
    )  # fmt: skip
    parser.add_argument(
        "--no-register", dest="register", action="store_false",
        help="return the landmarks that the network finds; by default, the face model is registered to the surface, "
        "starting from these landmarks, and the landmarks of the registered model are returned",
    )  # fmt: skip
    parser.add_argument(
        "--fit-mesh", action="store_true",
        help="also write the registered face model: DIR/<scan>_fit.glb with the scan's colours, "
        "DIR/<scan>_distance.ply in the colours of the distance, and its coefficients in the .npz (default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="FILE.onnx", help="network of tddfa train scan (default: the released one)"
    )
    parser.add_argument("--threads", type=integer(1, 1024), metavar="N", help="threads (default: one per core)")


def run_scan(options: argparse.Namespace) -> int:
    """Run ``tddfa scan``; return the exit status."""
    if options.fit_mesh and not options.register:
        raise UsageError("--fit-mesh: cannot be used with --no-register, because it writes the registered face model")
    inputs = input_files(options.inputs, suffixes=_SUFFIXES, kind="scan")
    stems = output_stems(inputs.paths)
    check_targets(options.out, stems, _endings(options), inputs.paths)
    from tddfa.scan.landmarker import ScanLandmarker

    landmarker = ScanLandmarker.load(
        options.weights,
        snap=options.snap,
        points=options.points,
        register=options.register,
        device="cpu",
        threads=options.threads,
    )
    scans = [Photo(path, None, stem) for path, stem in zip(inputs.paths, stems, strict=True)]
    return do_photos(scans, inputs, Steps(), _Run(options, landmarker).scan, unit="scan")


class _Run:
    def __init__(self, options: argparse.Namespace, landmarker: ScanLandmarker) -> None:
        self.options, self.landmarker = options, landmarker

    def scan(self, entry: Photo) -> int:
        """Find the landmarks of a scan, save all that is asked for, and return how many faces there are."""
        from tddfa.scan.files.reading import read_scan

        begin = time.perf_counter()
        scan = read_scan(entry.path)
        read = time.perf_counter()
        face = self.landmarker(scan, unit=self.options.unit, up=self.options.up)
        done = time.perf_counter()
        what = "points" if scan.is_cloud else "triangles"
        size = f"{len(scan.vertices) if scan.is_cloud else len(scan.triangles):,} {what}"
        times = f"read in {read - begin:.1f} s, {done - read:.1f} s"
        if face is None:
            print_line(f"{entry.name}: no face ({size}, {times})")
            return 0
        print_line(f"{entry.name}: score {face.score:.2f}, {face.unit} ({size}, {times})")
        for warning in face.warnings:
            print_warning(f"{entry.name}: {warning}")
        if face.score < _LOW:
            print_warning(f"{entry.name}: the score is low: this may not be a face, or the scan is damaged")
        self._save(entry, scan, face)
        return 1

    def _save(self, entry: Photo, scan: Scan, face: ScanFace) -> None:
        from tddfa._shared import image_io
        from tddfa.scan.files import writing

        def write(name: str, data: bytes) -> None:
            print_line(f"  {write_atomic(output_path(self.options.out, name), data)}")

        fitted = face.fitted if self.options.fit_mesh else None
        for kind in self.options.opt:
            if kind == "image":
                path = output_path(self.options.out, f"{entry.stem}_landmarks.jpg")
                print_line(f"  {image_io.write(path, writing.drawn(scan, face))}")
            elif kind == "npz":
                write(f"{entry.stem}.npz", writing.npz_bytes(face, fitted))
            else:
                write(f"{entry.stem}.{kind}", writing.KINDS[kind](entry.path.name, face))
        if self.options.heat is not None:
            write(f"{entry.stem}_heat{self.options.heat}.ply", writing.heat_ply(scan, face, self.options.heat))
        if fitted is not None:
            write(f"{entry.stem}_fit.glb", writing.fit_glb(fitted))
            write(f"{entry.stem}_distance.ply", writing.distance_ply(fitted))
            print_line(f"  {writing.distance_text(fitted)}")


def _endings(options: argparse.Namespace) -> list[str]:
    """Endings of the names of all files that a run may write, as regular expressions."""
    endings = [r"_landmarks\.jpg" if kind == "image" else rf"\.{kind}" for kind in options.opt]
    endings += [] if options.heat is None else [rf"_heat{options.heat}\.ply"]
    return [*endings, r"_fit\.glb", r"_distance\.ply"] if options.fit_mesh else endings


def _direction(text: str) -> tuple[float, float, float]:
    sign = -1.0 if text.startswith("-") else 1.0
    axis = text.lstrip("+-").lower()
    if axis in ("x", "y", "z"):
        x, y, z = (sign * (axis == name) for name in "xyz")
        return x, y, z
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected x, -x, y, -y, z, -z or three numbers, got {text!r}") from error
    if not 0 < x * x + y * y + z * z < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a direction, got {text!r}")
    return x, y, z
