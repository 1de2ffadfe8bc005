"""More training data from what there is: ``tddfa train prepare KIND OUT`` makes crops, or changes their labels."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tddfa._shared.terminal.parser import UsageError
from tddfa._shared.terminal.progress import progress
from tddfa.cli._common import add_config_option, add_fraction_option, folder, integer, own_config, print_line

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.model.face_model import FaceModel
    from tddfa.train.data.crops import Crops
    from tddfa.train.data.samples import Sample


class Kind(NamedTuple):
    """What ``tddfa train prepare`` makes: samples, or the given crops with other labels or without some of them.

    What is no crop is written by `write`, which yields how much is done.
    """

    help: str
    samples: Callable[[argparse.Namespace, FaceModel], Iterator[Sample]] | None = None
    relabel: Callable[[argparse.Namespace, FaceModel], tuple[Crops, int]] | None = None
    write: Callable[[argparse.Namespace, FaceModel], Iterator[int]] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train prepare``."""
    kinds = "; ".join(f"{name}: {kind.help}" for name, kind in KINDS.items())
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=kinds)
    parser.add_argument(
        "out", type=folder, metavar="OUT", help="folder to write: crops-NN.tar and labels.npz, or scans-NNNNN.npz"
    )
    parser.add_argument(
        "--crops",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="labelled crops to use; may be given several times; crops marked for validation are not used",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="SOURCE",
        help="leave out the crops of this source; may be given several times",
    )
    parser.add_argument(
        "--meshes",
        type=Path,
        metavar="FOLDER",
        help="scans for marked, each with a .npz of the same name: v10, 68 indices",
    )
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photos to use")
    parser.add_argument(
        "--list", type=Path, metavar="FILE.json", help="JVCR's list of --photos and their landmarks in 3D"
    )
    add_fraction_option(parser, "--first", 1.0, "fraction of the photos, the first by name")
    parser.add_argument(
        "--count",
        type=integer(1, 10_000_000),
        default=2000,
        metavar="N",
        help="number of crops or scans (default: 2000)",
    )
    parser.add_argument(
        "--points",
        type=integer(1000, 65_535),
        default=8192,
        metavar="N",
        help="points of each scan that are stored (default: 8192)",
    )
    parser.add_argument(
        "--max-error",
        type=float,
        default=7.0,
        metavar="PERCENT",
        help="maximum distance of label and prediction, %% of the face's size (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=integer(0, 2**31), default=0, metavar="N", help="seed of all random numbers (default: 0)"
    )
    parser.add_argument("--source", default="photos", metavar="NAME", help="name of the photos in the labels")
    add_config_option(parser, "the model whose face model the labels are of; agreeing, refitted: its network too")


def run(options: argparse.Namespace) -> int:
    """Make a folder of crops; return the exit status."""
    from tddfa.model.assets import config_path, verified
    from tddfa.model.config import Config
    from tddfa.model.face_model import FaceModel
    from tddfa.train.data.samples import write_samples

    begin = time.perf_counter()
    kind = KINDS[options.kind]
    options.config = own_config(options.config)
    model = FaceModel.load(verified(Config.load(config_path(options.config)).face_model))
    if kind.relabel is not None:
        crops, left_out = kind.relabel(options, model)
        if not len(crops):
            raise ValueError(f"{options.kind}: all {left_out} crops are left out; no folder was written")
        crops.write(options.out)
        print_line(f"{options.out}: {len(crops)} crops; {left_out} left out")
        return 0
    if kind.write is not None:
        done = 0
        for done in kind.write(options, model):
            print_line(f"{options.out}: {done} of {options.count}, {time.perf_counter() - begin:.0f} s")
        return 0
    assert kind.samples is not None
    total = None if options.kind == "photos" else options.count
    count = write_samples(options.out, progress(kind.samples(options, model), total, unit="crop"), model)
    seconds = time.perf_counter() - begin
    print_line(f"{options.out}: {count} crops in {seconds:.0f} s, {1e3 * seconds / count:.1f} ms each")
    return 0


def _turned(options: argparse.Namespace, model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.synthesis.profiling import turned_samples

    return turned_samples(_training_crops(options), options.count, options.seed, model)


def _edited(options: argparse.Namespace, model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.synthesis.edits import edited_samples

    return edited_samples(_training_crops(options), options.count, options.seed, model)


def _synthetic(options: argparse.Namespace, model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.synthesis.synthetic_crops import synthetic_samples

    return synthetic_samples(_training_crops(options), options.count, options.seed, model)


def _clean(options: argparse.Namespace, model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.synthesis.clean_crops import clean_samples

    return clean_samples(options.count, options.seed, model)


def _photos(options: argparse.Namespace, _model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.data.photos import photo_samples

    return photo_samples(_photo_paths(options), options.source)


def _listed(options: argparse.Namespace, _model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.jvcr.lists import listed_samples

    if options.list is None:
        raise UsageError("--list: expected a .json file for listed, got none")
    if options.photos is None:
        raise UsageError("--photos: expected a folder for listed, got none")
    return listed_samples(options.list, options.photos, options.source)


def _nonfaces(options: argparse.Namespace, _model: FaceModel) -> Iterator[Sample]:
    from tddfa.train.data.photos import nonface_samples

    return nonface_samples(_photo_paths(options), options.count, options.seed)


def _scans(options: argparse.Namespace, model: FaceModel) -> Iterator[int]:
    from tddfa.synthetic.scans import TRAINING_SCANS
    from tddfa.train.scan.shards import write_scans

    return write_scans(options.out, model, TRAINING_SCANS, options.seed, options.count, options.points)


def _marked(options: argparse.Namespace, model: FaceModel) -> Iterator[int]:
    from tddfa.train.scan.marked import marked_paths, write_marked

    if options.meshes is None:
        raise UsageError("--meshes: expected a folder for marked, got none")
    options.count = len(marked_paths(options.meshes))
    return write_marked(options.out, options.meshes, model, options.seed, options.points)


def _agreeing(options: argparse.Namespace, _model: FaceModel) -> tuple[Crops, int]:
    from tddfa.train.labels.agreement import agreeing

    crops = _crops(options)
    kept = agreeing(crops, _aligner(options), options.max_error)
    return kept, len(crops) - len(kept)


def _inner(options: argparse.Namespace, model: FaceModel) -> tuple[Crops, int]:
    from tddfa.train.labels.refit import inner_labels

    crops = _crops(options)
    return crops.with_labels(inner_labels(crops.labels, model)), 0


def _refitted(options: argparse.Namespace, model: FaceModel) -> tuple[Crops, int]:
    from tddfa.train.labels.refit import refitted

    crops = _crops(options)
    return crops.with_labels(refitted(crops, _aligner(options).regressor, model)), 0


def _crops(options: argparse.Namespace) -> Crops:
    import numpy as np

    from tddfa.train.data.crops import Crops

    if not options.crops:
        raise UsageError(f"--crops: expected a folder for {options.kind}, got none")
    crops = Crops.open(options.crops)
    unknown = [source for source in options.without if source not in crops.sources]
    if unknown:
        raise UsageError(f"--without: expected one of {', '.join(crops.sources)}, got {unknown[0]!r}")
    kept = crops.take(~np.isin(crops.labels.source, options.without))
    if not len(kept):
        raise ValueError(f"--without: expected a source that is kept, got none: all {len(crops)} crops are left out")
    return kept


def _training_crops(options: argparse.Namespace) -> Crops:
    return _crops(options).split(validation=False)


def _photo_paths(options: argparse.Namespace) -> list[Path]:
    from tddfa.train.data.photos import first_by_name

    if options.photos is None:
        raise UsageError(f"--photos: expected a folder for {options.kind}, got none")
    return first_by_name(options.photos, options.first)


def _aligner(options: argparse.Namespace) -> Aligner:
    from tddfa.aligner import Aligner

    return Aligner.load(options.config)


KINDS = {
    "turned": Kind("faces of --crops turned to the side (face profiling, Zhu et al., CVPR 2016)", _turned),
    "edited": Kind("faces of --crops with closed eyes, opened mouths, raised brows, ...", _edited),
    "synthetic": Kind("rendered heads in any pose and light, with textures and backgrounds of --crops", _synthetic),
    "clean": Kind("rendered heads that are procedural, as their backgrounds: no photo is used", _clean),
    "agreeing": Kind(
        "the --crops whose labels and predictions of --config's network agree to --max-error", relabel=_agreeing
    ),
    "inner": Kind("the --crops without their jaw: the 51 landmarks inside the face alone are known", relabel=_inner),
    "refitted": Kind(
        "the --crops with their jaw where the network of --config predicts it, one that was trained on jaws",
        relabel=_refitted,
    ),
    "photos": Kind("faces of --photos with ground-truth landmarks (a .pts file beside each)", _photos),
    "scans": Kind(
        "synthetic scans for tddfa train scan, with the seeds from --seed on; existing scans are kept",
        write=_scans,
    ),
    "marked": Kind("scans of --meshes with marked landmarks, in the layout of 2S-SGCN", write=_marked),
    "listed": Kind("faces of --photos with landmarks in 3D, by JVCR's --list of 300W-LP or AFLW2000-3D", _listed),
    "nonfaces": Kind("windows without a face, of --photos with boxes of all their faces (.txt beside each)", _nonfaces),
}
"""All kinds: a new one is a row here."""
