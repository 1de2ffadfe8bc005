"""``tddfa scale``: very many photos and videos in; Parquet files of their faces out."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from tddfa._shared.packages import needs
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa._shared.terminal.progress import progress_bar
from tddfa.cli._common import (
    FAILED,
    INTERRUPTED,
    NO_FACE,
    add_model_options,
    device_of,
    filled,
    integer,
    load_decoder,
    loading_of,
    print_error,
    print_line,
)
from tddfa.cli._frames import add_tracking_options, warn_about_smoothing
from tddfa.cli._output_options import check_mesh

if TYPE_CHECKING:
    from tddfa.scale import Cluster, Job, Report

_MESHES = ("ply", "obj", "glb")  # those of tddfa.export, whose import would slow --help down


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser: Parser = commands.add_parser(
        "scale",
        help="align very many photos and videos, on all cores or a Ray cluster",
        description="Find and align the faces of very many photos and videos. DST gets faces/*.parquet, a row per\n"
        "face, and errors.parquet, a row per photo that cannot be read. A run that was stopped or killed goes on\n"
        "where it was. Paths may be URLs: s3://, gs://, az://. Needs fsspec, pyarrow and ray[data].",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_scale)
    parser.add_inputs(
        "-f", "--source", metavar="SRC",
        help="photos, videos, folders, patterns, lists of paths (.txt), .parquet files, .tar files of WebDataset",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=filled("a folder or a URL"), metavar="DST",
        help="folder for the results: a path or a URL",
    )  # fmt: skip
    parser.add_argument(
        "--column", metavar="NAME",
        help="column of .parquet files with paths or bytes (default: path, image, bytes, url or file_name)",
    )  # fmt: skip
    parser.add_argument(
        "--dense", action="store_true",
        help="fill the columns visible and six_dof, about 6 ms per face (default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--crops", type=integer(32, 1024), nargs="?", const=112, metavar="PX",
        help="also write aligned crops of this side, 112 without a number, to crops/*.tar (default: no)",
    )  # fmt: skip
    parser.add_argument("--meshes", choices=_MESHES, help="also write coloured meshes to meshes/*.tar (default: no)")
    parser.add_argument(
        "--max-errors", type=integer(0, 10**12), metavar="N",
        help="stop when more photos or videos cannot be read; what is done is kept (default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--retry-errors", action="store_true", help="process shards with errors in earlier runs again (default: no)"
    )
    _add_cluster_options(parser)
    add_tracking_options(parser)
    add_model_options(parser)


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the work is done")
    group.add_argument(
        "--workers", type=integer(0, 10**6), metavar="N",
        help="number of processes, each with its own model; 0 works in this process, without Ray (default: as many as "
        "fit)",
    )  # fmt: skip
    group.add_argument(
        "--address", metavar="HOST:PORT|auto",
        help="address of a Ray cluster (default: RAY_ADDRESS, else Ray is started on this machine)",
    )  # fmt: skip
    group.add_argument("--cpus-per-worker", type=_amount, default=1.0, metavar="X", help="CPUs per worker (default: 1)")
    group.add_argument(
        "--gpus-per-worker", type=_amount, default=0.0, metavar="X",
        help="GPUs per worker; 0.25 puts four workers on a GPU (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--decode-cpus", type=integer(0, 1024), default=0, metavar="N",
        help="CPUs, of any machine, that decode photos for each worker; 0 decodes in the worker (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--shard-size", type=integer(1, 10**6), default=256, metavar="N",
        help="photos per shard: a killed worker repeats at most one shard (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=integer(1, 1024), default=16, metavar="N",
        help="photos whose faces are aligned together (default: %(default)s)",
    )  # fmt: skip


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1024, got {text!r}")
    return value


def run_scale(options: argparse.Namespace) -> int:
    """Run ``tddfa scale``; return the exit status."""
    try:
        from tddfa.scale import Cluster, run
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("fsspec", "pyarrow"):
            raise
        raise ImportError(needs("tddfa scale", "fsspec", "pyarrow", "ray[data]")) from error

    _check(options)
    warn_about_smoothing(options)
    cluster = Cluster(
        workers=options.workers,
        address=options.address,
        cpus_per_worker=options.cpus_per_worker,
        gpus_per_worker=options.gpus_per_worker,
        decode_cpus=options.decode_cpus,
    )
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress_bar(unit="photo"))

        def planned(plan: Any) -> None:
            bar.total = plan.photos + plan.videos
            bar.refresh()

        def progress(count: int) -> None:
            bar.update(count)

        report = run(
            _job(options, cluster), cluster, max_errors=options.max_errors, retry_errors=options.retry_errors,
            planned=planned, progress=progress,
        )  # fmt: skip
    return _print(report, options)


def _check(options: argparse.Namespace) -> None:
    """Check the options before any work, which would bind the folder of the results."""
    if not options.cpus_per_worker:
        raise UsageError("--cpus-per-worker: expected a number over 0, got 0")
    if options.workers == 0:
        for name in ("address", "gpus_per_worker", "decode_cpus"):
            if getattr(options, name):
                raise UsageError(f"--{name.replace('_', '-')}: needs Ray, which --workers 0 does not use")
    decoder = load_decoder(options)
    if options.meshes is not None:
        check_mesh(decoder, "--meshes")


def _job(options: argparse.Namespace, cluster: Cluster) -> Job:
    from tddfa.scale import Job

    device = device_of(options)
    if device == "auto" and not cluster.gpus_per_worker and cluster.workers != 0:
        device = "cpu"  # workers that have asked for no GPU see none
    return Job(
        sources=options.inputs,
        out=options.out,
        column=options.column,
        config=options.config,
        model={"device": device, "precision": options.precision, **loading_of(options)},
        tracking={
            "smooth": options.smooth,
            "detect_every": options.detect_every,
            "max_faces": options.max_faces,
            "n_pre": options.n_pre,
            "n_next": options.n_next,
        },
        dense=options.dense,
        crops=options.crops,
        meshes=options.meshes,
        shard_size=options.shard_size,
        batch_size=options.batch_size,
        threads=options.threads,
    )


def _print(report: Report, options: argparse.Namespace) -> int:
    """Print what a run did; return the exit status."""
    count = report.photos + report.videos
    photos = f"{report.photos} photo{'' if report.photos == 1 else 's'}"
    videos = f" and {report.videos} video{'' if report.videos == 1 else 's'} ({report.frames} frames)"
    done = photos + (videos if report.videos else "")
    before = f"; {report.skipped} of {report.shards} shards were done before" if report.skipped else ""
    working = max(report.seconds - report.start_up, 1e-9)
    print_line(
        f"{done} done{before}; {report.seconds:.1f} s, of which {report.start_up:.1f} s to "
        f"start, {count / working:.1f} per second"
    )
    print_line(f"  {'faces':10} {report.faces} in {options.out}/faces")
    print_line(f"  {'errors':10} {report.errors} in {options.out}/errors.parquet")
    if report.interrupted:
        print_line("  interrupted: run the same command again to continue")
        return INTERRUPTED
    if report.stopped:
        errors = f"--max-errors {options.max_errors}: {report.new_errors} errors"
        print_error(f"{errors}; run the same command again to continue")
        return FAILED
    if report.errors:
        return FAILED
    return 0 if report.faces else NO_FACE
