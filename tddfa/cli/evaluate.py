"""``tddfa evaluate``: data sets in; tables, JSON, plots and contact sheets out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.files import output_path, sha256_of, write_atomic
from tddfa._shared.terminal.parser import UsageError, as_usage_error
from tddfa._shared.terminal.progress import progress
from tddfa.cli._common import FAILED, Steps, add_model_options, folder, integer, load_aligner, print_line, print_lines
from tddfa.cli._paths import check_file, check_folder

if TYPE_CHECKING:
    from tddfa.bench.face_landmarker import FaceLandmarker
    from tddfa.evaluate.benchmarks import Benchmark
    from tddfa.evaluate.result import Result, Setup

_DATA = Path("data")
# Options that some benchmarks take -> their names in `Benchmark.options`.
_OF_BENCHMARKS = {"video": "video", "split": "split", "scan_weights": "scan_weights", "peer_mediapipe": "peer"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    from tddfa.evaluate.benchmarks import BENCHMARKS

    parser = commands.add_parser(
        "evaluate",
        help="measure the accuracy of a model",
        description="Run benchmarks. Each prints a table and writes a .json file; those with an error per face also\n"
        "write plots, and those with images a contact sheet of the worst.",
        epilog="benchmarks and their data (DIR is that of --data):\n"
        + "\n".join(f"  {name:12} {record.data}" for name, record in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_evaluate)
    parser.add_argument(
        "benchmark", nargs="*", metavar="BENCHMARK", help="names of benchmarks; with --write: folders of results"
    )
    parser.add_argument("--all", action="store_true", help="run all benchmarks that have their data (default: no)")
    parser.add_argument(
        "--data", type=Path, default=_DATA, metavar="DIR", help="folder of the data sets (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder for the files (default: results/evaluate/CONFIG; with --limit: CONFIG_limitN)",
    )
    parser.add_argument(
        "--limit",
        type=integer(1, 10**9),
        metavar="N",
        help="use at most N images of each data set, evenly spread (default: all)",
    )
    parser.add_argument(
        "--no-plots", action="store_true", help="write neither plots nor contact sheets (default: both)"
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="video for the benchmark jitter (default: DIR/video/carphone.mp4)"
    )
    parser.add_argument(
        "--split",
        choices=("report", "choose"),
        default="report",
        help="photos that cfp, closed-eyes, identity and crop-robustness use: report for the photos of reported "
        "results, choose for the photos by which a training is chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--peer-mediapipe",
        metavar="PYTHON",
        help="cfp and closed-eyes: also measure MediaPipe's Face Landmarker, in an interpreter with mediapipe==0.10.21 "
        "(default: no)",
    )
    parser.add_argument(
        "--face-landmarker",
        type=Path,
        metavar="FILE.task",
        help="model for --peer-mediapipe: face_landmarker.task (default: none)",
    )
    parser.add_argument(
        "--scan-weights", type=Path, metavar="FILE.onnx",
        help="network of tddfa train scan for the benchmark scans (default: the released one)",
    )  # fmt: skip
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE.md",
        help="measure nothing; write the results of the given folders to one page, side by side",
    )
    add_model_options(parser)


def run_evaluate(options: argparse.Namespace) -> int:
    """Run ``tddfa evaluate``; return the exit status."""
    from tddfa.evaluate.report.table import identity
    from tddfa.evaluate.result import Setup

    if options.write is not None:
        return _write(options)
    names = _chosen(options)
    _check_options(options, names)
    if options.out is not None:
        check_folder("--out", options.out)
    aligner = load_aligner(options)
    made_by = identity(
        aligner, options.config, aligner.precision, options.threads, options.exact_crop, options.fit_mesh
    )
    out = options.out or _default_folder(options, made_by["config"], aligner.precision)
    check_folder("--out", out)
    # the results record that they are of a part of the data
    part = {} if options.limit is None else {"limit": options.limit}
    setup = Setup(options.data, aligner, options.limit, _with_progress)
    with _peer(options) as options.peer:
        return _Run(options, setup, {**made_by, **part}, out).all(names)


def _check_options(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Check options of single benchmarks before any work: that one of these takes them, and that their files exist."""
    from tddfa.evaluate.benchmarks import BENCHMARKS, benchmark

    taken = {option for name in names for option in benchmark(name).options}
    for option, word in _OF_BENCHMARKS.items():
        if getattr(options, option) not in (None, "report") and word not in taken:
            those = ", ".join(name for name, record in BENCHMARKS.items() if word in record.options)
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag}: expected a benchmark that uses it ({those}), got {', '.join(names)}")
    for option in ("video", "scan_weights"):
        path = getattr(options, option)
        if path is not None and not path.is_file():
            raise ValueError(f"--{option.replace('_', '-')}: {path}: no such file")
    if (options.peer_mediapipe is None) != (options.face_landmarker is None):
        given = "--peer-mediapipe" if options.face_landmarker is None else "--face-landmarker"
        raise UsageError(f"--peer-mediapipe, --face-landmarker: expected both or neither, got only {given}")
    if options.face_landmarker is not None and not options.face_landmarker.is_file():
        raise ValueError(f"--face-landmarker: {options.face_landmarker}: no such file")


def _peer(options: argparse.Namespace) -> AbstractContextManager[FaceLandmarker | None]:
    if options.peer_mediapipe is None:
        return nullcontext()
    from tddfa.bench.face_landmarker import FaceLandmarker

    return FaceLandmarker(options.peer_mediapipe, options.face_landmarker)


def _default_folder(options: argparse.Namespace, config: str, precision: str) -> Path:
    """Return the folder for the files: another one for each model and part of the data, so that none is overwritten."""
    variants = [precision] * (precision != "float") + ["exact_crop"] * options.exact_crop
    if options.refine is not None:
        variants.append(f"refine{options.refine}")
    if options.tiles is not None:
        variants.append(f"tiles_{options.tiles}")
    if options.min_score is not None:
        variants.append(f"min_score{options.min_score:g}")
    if options.rotations is not None:
        variants.append(f"rotations_{options.rotations}")
    if options.landmarks is not None:
        variants.append(f"landmarks_{options.landmarks}")
    if options.fit_mesh:
        variants.append("fit_mesh")
    if options.scan_weights is not None:
        variants.append(f"scan_{sha256_of(options.scan_weights)[:8]}")  # all networks have one name
    if options.split != "report":
        variants.append(f"split_{options.split}")
    limit = [] if options.limit is None else [f"limit{options.limit}"]
    return Path("results/evaluate") / "_".join([config, *variants, *limit])


def _chosen(options: argparse.Namespace) -> list[str]:
    from tddfa.evaluate.benchmarks import BENCHMARKS, benchmark

    if options.all == bool(options.benchmark):
        got = "both" if options.all else "neither"
        raise UsageError(f"BENCHMARK: expected names or --all, got {got}; names are {', '.join(BENCHMARKS)}")
    names = list(BENCHMARKS) if options.all else list(dict.fromkeys(map(str.lower, options.benchmark)))
    with as_usage_error():
        for name in names:
            benchmark(name)  # raises for a wrong name, before any work is done
    # the default folder may be missing if no benchmark needs data
    if not options.data.is_dir() and (options.all or options.data != _DATA):
        raise ValueError(f"--data: {options.data}{' is not a folder' if options.data.exists() else ': no such folder'}")
    return names


def _with_progress(items: Sequence[Any], label: str) -> Iterator[Any]:
    return progress(items, label=label)


class _Run:
    """Benchmarks one after the other. The results of each are written before the next begins."""

    def __init__(self, options: argparse.Namespace, setup: Setup, made_by: dict[str, Any], out: Path) -> None:
        self.options, self.setup, self.made_by, self.out = options, setup, made_by, out
        self.steps = Steps()
        self.done = 0
        self.hinted = False

    def all(self, names: Sequence[str]) -> int:
        """Run benchmarks; return the exit status."""
        for name in names:
            with self.steps.step(name, prefix=f"{name}: "):
                self._run(name)
        return FAILED if self.steps.failures or not self.done else 0

    def _run(self, name: str) -> None:
        from tddfa.evaluate.benchmarks import benchmark
        from tddfa.evaluate.report.table import signed, table
        from tddfa.evaluate.result import DataMissing

        record = benchmark(name)
        given = {option: getattr(self.options, option) for option in record.options}
        extra = {option: value for option, value in given.items() if value is not None}
        try:
            result = signed(record.evaluate(self.setup, **extra), self.made_by, self.setup.data)
        except DataMissing as error:
            if not self.options.all:
                raise ValueError(str(error)) from error
            print_line(f"skipped: {name}: {error}")
            return
        print_lines(table(result))
        self._save(result, record)
        self.done += 1

    def _save(self, result: Result, record: Benchmark) -> None:
        print_line(f"  {result.save(output_path(self.out, f'{result.benchmark}.json'))}")
        if self.options.no_plots:
            return
        if result.worst:
            print_line(f"  {self._save_sheet(result, record)}")
        try:
            for path in self._save_plots(result, record):
                print_line(f"  {path}")
        except ImportError as error:
            if not self.hinted:
                print_line(f"  {error}")
            self.hinted = True

    def _title(self, result: Result) -> str:
        return f"{result.benchmark}, {self.made_by['config']}"

    def _save_sheet(self, result: Result, record: Benchmark) -> Path:
        from tddfa._shared import image_io
        from tddfa.evaluate.report.contact_sheet import contact_sheet

        head = f"{self._title(result)}; the worst: {record.sheet_title}"
        sheet = contact_sheet(result.worst, self.setup.data, head, record.sheet_unit)
        return image_io.write(output_path(self.out, f"{result.benchmark}_worst.jpg"), sheet)

    def _save_plots(self, result: Result, record: Benchmark) -> Iterator[Path]:
        from tddfa.evaluate.report import plots

        for kind, draw, curves in (
            ("cumulative", plots.cumulative, [curve for curve in result.curves if curve.errors]),
            ("yaw", plots.over_yaw, [curve for curve in result.curves if curve.yaw]),
        ):
            if curves:
                drawn = draw(self._title(result), curves, record.axes)
                yield write_atomic(output_path(self.out, f"{result.benchmark}_{kind}.png"), drawn)


def _write(options: argparse.Namespace) -> int:
    from tddfa.evaluate.report.page import markdown
    from tddfa.evaluate.report.table import load_folder

    folders = [Path(folder) for folder in options.benchmark]
    if not folders or options.all:
        got = "--all" if options.all else "none"
        raise UsageError(f"--write: expected folders of results, such as results/evaluate/open_mb05, got {got}")
    check_file("--write", options.write)
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        got = ", ".join(names)
        raise UsageError(f"--write: expected folders with different names, because they name the columns, got {got}")
    columns = {name: load_folder(folder) for name, folder in zip(names, folders, strict=True)}
    print_line(str(write_atomic(options.write, markdown(columns).encode())))
    return 0
