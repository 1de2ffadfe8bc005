"""``tddfa evaluate``: benchmarks on the data there are, as tables, JSON, plots and contact sheets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa.cli._common import FAILED, add_model_options, expected_errors, integer, load_aligner, print_error, print_line
from tddfa.cli._paths import check_file, check_folder

if TYPE_CHECKING:
    from tddfa.evaluate.result import Result, Setup

_DATA = Path("data")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    from tddfa.evaluate.report.words import WORDS

    parser = commands.add_parser(
        "evaluate", help="measure how good a model is", allow_abbrev=False,
        description="Run benchmarks. Each makes a table and a .json file; those that have errors of single faces make\n"
        "plots too, and those that have photos a contact sheet of the worst.",
        epilog="benchmarks and their data (DIR is that of --data):\n"
        + "\n".join(f"  {name:12} {words.data}" for name, words in WORDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    parser.add_argument("benchmark", nargs="*", metavar="BENCHMARK", help="which; with --write: folders of results")
    parser.add_argument("--all", action="store_true", help="all of them whose data are there")
    parser.add_argument(
        "--data", type=Path, default=_DATA, metavar="DIR", help="where the data sets lie (default: %(default)s)"
    )
    add_model_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the files go (default: results/evaluate/CONFIG, with --limit CONFIG_limitN)",
    )
    parser.add_argument(
        "--limit", type=integer(1, 10**9), metavar="N", help="at most N photos of each data set, evenly spread"
    )
    parser.add_argument("--no-plots", "--no_plots", action="store_true", help="neither plots nor contact sheets")
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="jitter: the video (default: DIR/video/carphone.mp4)"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE.md",
        help="measure nothing: put the results of the folders given side by side on a page",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Do ``tddfa evaluate``; return the exit status."""
    try:
        if options.write is not None:
            return _write(options)
        names = _chosen(options)
        if options.out is not None:
            check_folder("--out", options.out)
        aligner = load_aligner(options)
        from tddfa.evaluate.report.table import identity
        from tddfa.evaluate.result import Setup

        made_by = identity(aligner, options.config, options.precision, options.threads, options.exact_crop)
        out = options.out or _usual_folder(options, made_by["config"])
        check_folder("--out", out)
    except BrokenPipeError:
        raise
    except expected_errors() as error:
        print_error(str(error) or type(error).__name__)
        return FAILED
    # a part is not taken for the whole later on: the results say so themselves
    part = {} if options.limit is None else {"limit": options.limit}
    setup = Setup(options.data, aligner, options.limit, _track)
    return _Run(options, setup, {**made_by, **part}, out).all(names)


def _usual_folder(options: argparse.Namespace, config: str) -> Path:
    """Where the files go unless `--out` says: no other model, and no part of the data, writes over a result."""
    variants = [options.precision] * (options.precision != "float") + ["exact_crop"] * options.exact_crop
    if options.refine is not None:
        variants.append(f"refine{options.refine}")
    if options.landmarks is not None:
        variants.append(f"landmarks_{options.landmarks}")
    limit = [] if options.limit is None else [f"limit{options.limit}"]
    return Path("results/evaluate") / "_".join([config, *variants, *limit])


def _chosen(options: argparse.Namespace) -> list[str]:
    from tddfa.evaluate.benchmarks import MODULES, module

    if options.all == bool(options.benchmark):
        raise ValueError(f"BENCHMARK: expected names, or --all, one of both; there are {', '.join(MODULES)}")
    names = list(MODULES) if options.all else list(dict.fromkeys(options.benchmark))
    for name in options.benchmark:
        module(name)  # a wrong name is told before any work is done
    # what was not asked for may be missing where no data are needed
    if not options.data.is_dir() and (options.all or options.data != _DATA):
        raise ValueError(f"--data: {options.data}{' is not a folder' if options.data.exists() else ': no such folder'}")
    return names


def _track(items: Sequence[Any], label: str) -> Iterator[Any]:
    from tqdm import tqdm

    # in a pipe, a bar would be a thousand lines
    return iter(tqdm(items, desc=label, disable=not sys.stderr.isatty(), leave=False))


class _Run:
    """Benchmarks one after the other; what is done is on the disk before the next begins."""

    def __init__(self, options: argparse.Namespace, setup: Setup, made_by: dict[str, Any], out: Path) -> None:
        self.options, self.setup, self.made_by, self.out = options, setup, made_by, out
        self.hinted = False

    def all(self, names: Sequence[str]) -> int:
        """Run them; return the exit status."""
        from tddfa.evaluate.benchmarks import module
        from tddfa.evaluate.report.table import signed, table
        from tddfa.evaluate.result import DataMissing

        done = failed = 0
        for name in names:
            try:
                result = signed(module(name).evaluate(self.setup, **self._own(name)), self.made_by, self.setup.data)
                print_line(table(result))
                self._save(result)
                done += 1
            except DataMissing as error:
                if self.options.all:
                    print_line(f"skipped: {name}: {self._shorter(name, error)}")
                else:
                    print_error(f"{name}: {self._shorter(name, error)}")
                    failed += 1
            except BrokenPipeError:
                raise
            except expected_errors() as error:
                print_error(f"{name}: {error or type(error).__name__}")
                failed += 1
        return FAILED if failed or not done else 0

    def _shorter(self, name: str, error: Exception) -> str:
        """What is missing, with the layout in as few words as in the help."""
        from tddfa.evaluate.benchmarks import module
        from tddfa.evaluate.report.words import WORDS

        text = str(error)
        if name in WORDS:
            text = text.replace(module(name).LAYOUT, WORDS[name].data)
        return " ".join(text.split())

    def _own(self, name: str) -> dict[str, Any]:
        """What a benchmark takes beside the setup."""
        return {"video": self.options.video} if name == "jitter" and self.options.video is not None else {}

    def _save(self, result: Result) -> None:
        from tddfa._shared import image_io
        from tddfa._shared.files import write_atomic
        from tddfa.evaluate.report import plots
        from tddfa.evaluate.report.contact_sheet import contact_sheet
        from tddfa.evaluate.report.words import WORDS, Words

        words = WORDS.get(result.benchmark, Words(""))
        title = f"{result.benchmark}, {self.made_by['config']}"
        made = [result.save(self.out / f"{result.benchmark}.json")]
        if not self.options.no_plots:
            if result.worst:
                head = f"{title}; the worst: {words.sheet}"
                sheet = contact_sheet(result.worst, self.setup.data, head, words.unit)
                made.append(image_io.write(self.out / f"{result.benchmark}_worst.jpg", sheet))
            try:
                for kind, draw, curves in (
                    ("cumulative", plots.cumulative, [curve for curve in result.curves if curve.errors]),
                    ("yaw", plots.over_yaw, [curve for curve in result.curves if curve.yaw]),
                ):
                    if curves:
                        made.append(
                            write_atomic(self.out / f"{result.benchmark}_{kind}.png", draw(title, curves, words.errors))
                        )
            except ImportError as error:
                if not self.hinted:
                    print_line(f"  {error}")
                self.hinted = True
        for path in made:
            print_line(f"  {path}")


def _write(options: argparse.Namespace) -> int:
    from tddfa._shared.files import write_atomic
    from tddfa.evaluate.report.page import markdown
    from tddfa.evaluate.report.table import load_folder

    folders = [Path(folder) for folder in options.benchmark]
    if not folders or options.all:
        raise ValueError("--write: expected folders of results after it, such as results/evaluate/open_mb05")
    check_file("--write", options.write)
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"--write: expected folders of different names, for they head the columns, got {names}")
    columns = {name: load_folder(folder) for name, folder in zip(names, folders, strict=True)}
    print_line(str(write_atomic(options.write, markdown(columns).encode())))
    return 0
