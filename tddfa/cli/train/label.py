"""Labels of real photos: ``tddfa train label KIND DATA OUT``: turned faces, closed eyes, or better ones of crops."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._common import add_config_option, add_fraction_option, folder, own_config, print_line

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.bench.face_landmarker import FaceLandmarker
    from tddfa.train.labels.real_photos import Labelled

KINDS = ("cfp", "closed-eyes", "blended", "centred")

_SHOWN = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train label``."""
    parser.add_argument(
        "kind",
        choices=KINDS,
        metavar="KIND",
        help="cfp: turned faces with 30 points, one shape per person, pose from the network; persons up to 400, and "
        "401 to 425 for validation; closed-eyes: photos of faces with both eyes closed; blended: crops with labels "
        "that are fitted to landmarks between those of the network and those of MediaPipe, both calibrated on "
        "--truth; centred: crops with labels that are moved sideways to the mean position that the network predicts",
    )
    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="cfp: folder with cfp.npz and the photos; closed-eyes: photos; blended, centred: folder of crops",
    )
    parser.add_argument(
        "out", type=folder, metavar="OUT", help="folder to write: crops, labels.npz; of photos also fits.png"
    )
    parser.add_argument("--truth", type=Path, metavar="FOLDER", help="blended: crops with landmarks that people placed")
    parser.add_argument(
        "--peer-mediapipe",
        metavar="PYTHON",
        help="interpreter with mediapipe==0.10.21, for frontal photos; closed-eyes and blended need it (default: no)",
    )
    parser.add_argument(
        "--face-landmarker", type=Path, metavar="FILE.task", help="model for --peer-mediapipe: face_landmarker.task"
    )
    add_fraction_option(parser, "--first", 0.8, "closed-eyes: fraction of the photos, the first by name")
    add_fraction_option(
        parser, "--validation", 0.25, "closed-eyes: fraction of these, the last by name, marked for validation"
    )
    parser.add_argument(
        "--pose",
        type=float,
        metavar="DEGREES",
        help="how much the pose may differ from that of the network: standard deviation about each axis (default: cfp "
        "2, closed-eyes 4)",
    )
    add_config_option(parser, "the model whose network predicts the pose, and whose face model is fitted")


def run(options: argparse.Namespace) -> int:
    """Label, write the crops and the contact sheet; return the exit status."""
    from contextlib import ExitStack

    from tddfa.aligner import Aligner
    from tddfa.bench.face_landmarker import FaceLandmarker

    if (options.peer_mediapipe is None) != (options.face_landmarker is None):
        given = "--peer-mediapipe" if options.face_landmarker is None else "--face-landmarker"
        raise UsageError(f"--peer-mediapipe, --face-landmarker: expected both or neither, got only {given}")
    if options.kind in ("closed-eyes", "blended") and options.peer_mediapipe is None:
        why = "because the labels are those of MediaPipe"
        raise UsageError(f"{options.kind}: expected --peer-mediapipe PYTHON, {why}; got none")
    if options.kind == "blended" and options.truth is None:
        raise UsageError("blended: expected --truth FOLDER, whose landmarks calibrate network and teacher; got none")
    if options.face_landmarker is not None and not options.face_landmarker.is_file():
        raise ValueError(f"--face-landmarker: {options.face_landmarker}: no such file")
    aligner = Aligner.load(own_config(options.config), device="cpu")
    with ExitStack() as stack:
        teacher = None
        if options.peer_mediapipe is not None:
            teacher = stack.enter_context(FaceLandmarker(options.peer_mediapipe, options.face_landmarker))
        if options.kind in ("blended", "centred"):
            _relabel_crops(options, aligner, teacher)
        else:
            _label_photos(options, aligner, teacher)
    return 0


def _relabel_crops(options: argparse.Namespace, aligner: Aligner, teacher: FaceLandmarker | None) -> None:
    from tddfa.train.data.crops import Crops
    from tddfa.train.labels.blended import relabelled, shifted

    crops, model = Crops.open([options.data]), aligner.face_model
    if options.kind == "centred":
        labels, shift = shifted(crops, aligner.regressor, model)
        crops.with_labels(labels).write(options.out)
        print_line(f"{options.out}: {len(crops)} crops, labels moved by {shift:.2f} px to the right")
        return
    assert teacher is not None
    labels, report = relabelled(crops, Crops.open([options.truth]), aligner.regressor, model, teacher)
    crops.with_labels(labels).write(options.out)
    errors = ", ".join(f"{name} {error:.2f} %" for name, error in report.errors.items())
    print_line(
        f"{options.out}: {len(crops)} crops, {report.fitted} fitted anew, moved by {report.shift:.2f} px to the right"
    )
    print_line(f"error inside the face on --truth, % of its size: {errors}")


def _label_photos(options: argparse.Namespace, aligner: Aligner, teacher: FaceLandmarker | None) -> None:
    from tddfa._shared import image_io
    from tddfa.fitting.landmarks import VertexMap
    from tddfa.train.data.samples import write_samples
    from tddfa.train.labels.fit_photos import CONTACT_SHEET, contact_sheet
    from tddfa.train.labels.real_photos import shown

    labelled, model = _labelled(options, aligner, teacher), aligner.face_model
    if all(sample.camera is None for sample in labelled.samples):
        raise ValueError(
            f"{options.data}: expected fits near the landmarks and near the network's prediction, "
            f"got none for {len(labelled.samples)} photos"
        )
    write_samples(options.out, labelled.samples, model)
    sheet = contact_sheet(shown(labelled.samples, _SHOWN), model, VertexMap.of_300w(model))
    image_io.write(options.out / CONTACT_SHEET, sheet)
    validation = sum(sample.validation for sample in labelled.samples)
    print_line(
        f"{options.out}: {len(labelled.samples)} faces, mean error {labelled.error:.2f} % of their size; "
        f"{validation} marked for validation; {labelled.left_out} without pose or left out"
    )
    print_line(_yaw(labelled))


def _labelled(options: argparse.Namespace, aligner: Aligner, teacher: FaceLandmarker | None) -> Labelled:
    from dataclasses import replace

    from tddfa.datasets.cfp import CHOOSE, TRAINING, read_cfp
    from tddfa.train.data.photos import first_by_name
    from tddfa.train.labels.real_photos import CFP_SETTINGS, CLOSED_SETTINGS, label_closed_eyes, label_people

    settings = CFP_SETTINGS if options.kind == "cfp" else CLOSED_SETTINGS
    if options.pose is not None:
        settings = replace(settings, pose=options.pose)
    if options.kind == "cfp":
        photos = read_cfp(options.data, range(TRAINING.start, CHOOSE.stop))
        if not photos:
            raise ValueError(f"{options.data}: expected cfp.npz with photos of persons 1 to 425, got none")
        return label_people(photos, aligner, teacher, settings, validation=CHOOSE)
    assert teacher is not None
    paths = first_by_name(options.data, options.first)
    return label_closed_eyes(paths, aligner, teacher, settings, validation=round(options.validation * len(paths)))


def _yaw(labelled: Labelled) -> str:
    import numpy as np

    parts = []
    for name, yaw in (("network", labelled.yaw_before), ("fit", labelled.yaw_after)):
        if len(yaw):
            low, middle, high = np.percentile(yaw, (5, 50, 95))
            inside = 100 * np.mean((yaw >= 45) & (yaw <= 75))
            parts.append(f"{name}: {low:.0f}, {middle:.0f}, {high:.0f}, {inside:.0f} % in 45 to 75")
    return f"yaw, degrees, 5th, 50th, 95th percentile: {'; '.join(parts) or 'none'}"
