"""Labels from landmarks: ``tddfa train fit PHOTOS OUT`` turns photos with landmarks into labelled crops."""

from __future__ import annotations

import argparse
from pathlib import Path

from tddfa.cli._common import add_config_option, add_fraction_option, folder, own_config, print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train fit``."""
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos, one face each")
    parser.add_argument("out", type=folder, metavar="OUT", help="folder to write: crops, labels.npz, fits.png")
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE.npz",
        help="landmarks (n, k, 2 or 3), px from 0, and names (n,) of the photos (default: a .pts file beside each)",
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE.npz",
        help="positions of the landmarks on the face model: vertices (k,), or triangles and weights (k, 3); and pairs "
        "(p, 2) of landmarks whose distance is fitted too, such as those of the lids (default: the 68 of 300-W)",
    )
    add_fraction_option(parser, "--first", 1.0, "fraction of the photos, the first by name")
    add_fraction_option(
        parser, "--validation", 0.05,
        "fraction of the faces, the last by name, marked for validation and never trained on; at least one of two "
        "faces or more; 0: none",
    )  # fmt: skip
    parser.add_argument("--source", default="photos", metavar="NAME", help="name of the photos in the labels")
    add_config_option(parser, "the model whose face model is fitted")
    parser.add_argument(
        "--deviation",
        choices=("unit", "alike"),
        default="unit",
        help="prior of the coefficients: unit is variance 1, as in the open face model's shape; alike makes each "
        "coefficient move the face by the same amount, for a face model with another scale (default: %(default)s)",
    )
    parser.add_argument(
        "--max-yaw",
        type=float,
        default=90.0,
        metavar="DEGREES",
        help="for faces that are turned farther, store only the landmarks, not the fit: annotators of photos mark "
        "another jaw on a turned face, so the fit would be turned too little; for the 68 landmarks in 2D only "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--max-error",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="leave out fits with a larger error, %% of the face's size (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Fit, write the crops and the contact sheet; return the exit status."""
    from tddfa.fitting.landmarks import Prior
    from tddfa.model.assets import config_path, verified
    from tddfa.model.config import Config
    from tddfa.model.face_model import FaceModel
    from tddfa.train.labels.fit_photos import fit_photos, read_landmarks, read_vertex_map

    model = FaceModel.load(verified(Config.load(config_path(own_config(options.config))).face_model))
    fitted = fit_photos(
        options.out,
        *read_landmarks(options.photos, options.landmarks, options.first),
        model,
        vertex_map=None if options.map is None else read_vertex_map(options.map, model),
        prior=Prior() if options.deviation == "unit" else Prior(shape=None, expression=None),
        source=options.source,
        validation=options.validation,
        max_yaw=options.max_yaw,
        max_error=options.max_error,
    )
    print_line(
        f"{options.out}: {fitted.faces} faces, mean error {fitted.error:.2f} % of their size; "
        f"{fitted.left_out} left out; {fitted.validation} marked for validation"
    )
    return 0
