"""More to train on, made of what there is: ``tddfa train prepare KIND``, or ``python -m tddfa.cli.train.prepare KIND``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli._common import FAILED, fraction, integer, print_error, print_line

if TYPE_CHECKING:
    from tddfa.model.face_model import FaceModel
    from tddfa.train.data.crops import Crops
    from tddfa.train.data.samples import Sample

KINDS = {
    "turned": "faces of --crops turned to the side (face profiling, Zhu et al., CVPR 2016)",
    "edited": "faces of --crops with closed eyes, opened mouths, raised brows, ...",
    "synthetic": "rendered heads in any pose and light, with textures and backgrounds of --crops",
    "agreeing": "the --crops whose labels the network of --config agrees with to --max-error",
    "inner": "the --crops without their jaw: what is known are the 51 landmarks inside the face",
    "refitted": "the --crops with their jaw where the network of --config, one that learnt jaws, sees it",
    "photos": "faces of --photos with true landmarks (.pts beside each)",
    "nonfaces": "windows without a face, of --photos with boxes of all their faces (.txt beside each)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train prepare``."""
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=kinds)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write: crops-NN.tar and labels.npz")
    parser.add_argument(
        "--crops", type=Path, action="append", default=[], metavar="FOLDER",
        help="labelled crops to make it of; again for more; nothing is made of those marked for validation",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], metavar="SOURCE",
        help="leave out the crops of this source; again for more",
    )  # fmt: skip
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photos to make it of")
    parser.add_argument(
        "--first", type=fraction, default=1.0, metavar="SHARE",
        help="only the first so many of the photos by name, 0..1 (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=integer(1, 10_000_000), default=2000, metavar="N", help="how many (default: 2000)"
    )
    parser.add_argument(
        "--max-error", type=float, default=7.0, metavar="PERCENT",
        help="how far label and network may be apart, %% of the face's size (default: 7)",
    )  # fmt: skip
    parser.add_argument("--seed", type=integer(0, 2**31), default=0, metavar="N", help="of all chance (default: 0)")
    parser.add_argument("--source", default="photos", metavar="NAME", help="what the labels call the photos")
    parser.add_argument(
        "-c", "--config", default="open_mb05", metavar="NAME|FILE.yml",
        help="whose face model the labels are of; agreeing, refitted: its network too (default: %(default)s)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Make a folder of crops; 0, or 1 with a message."""
    from tddfa.cli._common import expected_errors, own_config

    begin = time.perf_counter()
    try:
        from tddfa.model.assets import config_path, verified
        from tddfa.model.config import Config
        from tddfa.model.face_model import FaceModel
        from tddfa.train.data.samples import write_samples

        options.config = own_config(options.config)
        config = Config.load(config_path(options.config))
        model = FaceModel.load(verified(config.face_model))
        if options.kind in ("agreeing", "inner", "refitted"):
            print_line(f"{options.out}: {_relabelled(options, model)}")
            return 0
        made = 0

        def counted() -> Iterator[Sample]:
            nonlocal made
            from tqdm import tqdm

            for sample in tqdm(_samples(options, model), total=_total(options)):
                yield sample
                made += 1

        write_samples(options.out, counted(), model)
    except expected_errors() as error:
        print_error(str(error))
        return FAILED
    took = time.perf_counter() - begin
    print_line(f"{options.out}: {made} crops in {took:.0f} s, {1e3 * took / made:.1f} ms each")
    return 0


def _relabelled(options: argparse.Namespace, model: FaceModel) -> str:
    """Write crops as they are with other labels, or fewer of them; what was done, for people."""
    from tddfa.aligner import Aligner
    from tddfa.train.data.shards import write_shard
    from tddfa.train.labels.agreement import write_agreeing
    from tddfa.train.labels.refit import inner_labels, refitted

    crops = _crops(options)
    if options.kind == "agreeing":
        _, left_out = write_agreeing(options.out, crops, Aligner.load(options.config), options.max_error)
        return f"{len(crops) - left_out} crops; {left_out} left out"
    if options.kind == "inner":
        labels = inner_labels(crops.labels, model)
    else:
        labels = refitted(crops, Aligner.load(options.config).regressor, model)
    write_shard(options.out, [crops.jpeg(row) for row in range(len(crops))], labels)
    return f"{len(crops)} crops"


def _total(options: argparse.Namespace) -> int | None:
    return None if options.kind == "photos" else int(options.count)


def _samples(options: argparse.Namespace, model: FaceModel) -> Iterator[Sample]:
    if options.kind in ("photos", "nonfaces"):
        from tddfa.train.data.photos import first_by_name, nonface_samples, photo_samples

        if options.photos is None:
            raise ValueError(f"--photos: expected a folder for {options.kind}, got none")
        photos = first_by_name(options.photos, options.first)
        if options.kind == "photos":
            return photo_samples(photos, options.source)
        return nonface_samples(photos, options.count, options.seed)

    crops = _crops(options).split(validation=False)
    if options.kind == "turned":
        from tddfa.train.synthesis.profiling import turned_samples

        return turned_samples(crops, options.count, options.seed, model)
    if options.kind == "edited":
        from tddfa.train.synthesis.edits import edited_samples

        return edited_samples(crops, options.count, options.seed, model)
    from tddfa.train.synthesis.synthetic_crops import synthetic_samples

    return synthetic_samples(crops, options.count, options.seed, model)


def _crops(options: argparse.Namespace) -> Crops:
    import numpy as np

    from tddfa.train.data.crops import Crops

    if not options.crops:
        raise ValueError(f"--crops: expected a folder for {options.kind}, got none")
    crops = Crops.open(options.crops)
    return crops.take(~np.isin(crops.labels.source, options.without))


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m tddfa.cli.train.prepare``."""
    parser = argparse.ArgumentParser(prog="tddfa train prepare", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
