"""AFLW2000-3D (Zhu et al., 2016): 68 points in 2D and in 3D, by yaw, and head pose.

There are three protocols. 3DDFA's ``benchmark_aflw2000.py`` has the 2D NME by the square root of the area of the box of
the labelled landmarks; the headline is the mean of three yaw bins. JVCR has the 3D NME and the GTE. img2pose has the
head pose, with the angles of ``Pose_Para``: of the detected faces, the one whose box has the highest IoU with the
labelled box is measured.

The labels are in the landmark convention of 300W-LP. A model that supports it (`tddfa.FaceModel.convention`) is
measured in it, and also with its own landmarks, which are its default output. If the model's own convention is that of
300W-LP, both figures are equal.

Data: DIR/aflw2000 (or AFLW2000, AFLW2000-3D, or DIR itself) with images and a .mat of the same name beside each.
Optional files are aflw2000_reannotated.npz (names, points) or 3DDFA's AFLW2000-3D-Reannotated.pts68.npy, and 3DDFA's
AFLW2000-3D-new.pose.npy. They are searched in DIR, in the folder of the images, and in the folder test.configs of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tddfa.aligner import Aligner
from tddfa.datasets import files as sources
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.crops import CROP_SOURCES, CROPS, Aligned
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, number
from tddfa.geometry.boxes import box_iou

_BENCHMARK = BENCHMARKS["aflw2000-3d"]
FOLDERS = ("aflw2000", "AFLW2000", "AFLW2000-3D")
"""Names of the folder."""
SHAPES: dict[str, tuple[int | None, ...]] = {"pt3d_68": (3, 68), "Pose_Para": (1, None)}
"""Arrays of a .mat file."""
LARGEST_ANGLE = 99.0
"""Images with an angle beyond this are left out of the head pose, as in the papers."""
_BIN_LISTS = {"": "", "new_bins": ", 3DDFA's new bins"}
# Landmark convention in keys -> in labels: the model's own, and that of the labels.
_CONVENTIONS = {"": "", "300w-lp": ", landmark convention of 300W-LP"}


@dataclass(frozen=True, eq=False)
class _Image:
    """Labels and predictions.

    The keys of `labels` are label sets, the keys of `yaw` are names of `_BIN_LISTS`, and the keys of `predicted` are
    landmark convention and source of the crop. `mean_face` is the result of `tddfa.evaluate.crops.mean_face`.
    """

    name: str
    path: str
    ground_truth: Floats
    pose: Floats
    labels: Mapping[str, Floats]
    yaw: Mapping[str, float]
    aligned: Aligned
    predicted: Mapping[tuple[str, str], Floats | None]
    mean_face: Floats


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the docstring of the module.

    Raises
    ------
    DataMissing
        If the images are missing.
    ValueError
        If a file is damaged; the message names it.
    """
    folder = sources.first_folder(setup.data, FOLDERS, "*.mat")
    if folder is None:
        raise DataMissing(f"no images with .mat files in {setup.data}: expected {_BENCHMARK.data}")
    everything = sorted(folder.glob("*.mat"))
    folders = [each for base in (setup.data, folder) for each in (base, base / "test.configs")]
    reannotated = _reannotated(folders, everything)
    new_yaw = _by_name(folders, "AFLW2000-3D-new.pose.npy", (None,), everything)
    labels = setup.chosen(everything)

    def job(path: Path) -> _Image:
        return _read(setup.data, path, reannotated, new_yaw, setup.aligner)

    done = sources.parallel_map(job, labels)
    images = [image for _, image in zip(setup.track(labels, "AFLW2000-3D"), done, strict=True)]
    return _result(images, _conventions(setup.aligner), reannotated is not None, new_yaw is not None)


def _read(
    data: Path,
    path: Path,
    reannotated: Mapping[str, Floats] | None,
    new_yaw: Mapping[str, Floats] | None,
    aligner: Aligner,
) -> _Image:
    image = sources.image_beside(path)
    if image is None:
        raise ValueError(f"{path}: expected its image beside it, got none")
    arrays = sources.read_mat(path, SHAPES)
    ground_truth, pose = arrays["pt3d_68"].T, np.degrees(arrays["Pose_Para"][0, :3])
    if len(pose) < 3 or not metrics.spans_box(ground_truth):
        raise ValueError(f"{path}: expected three angles and landmarks that span a box")
    labels, yaw = {"original": ground_truth[:, :2]}, {"": float(metrics.wrapped(pose[1]))}
    try:
        if reannotated is not None:
            labels["reannotated"] = reannotated[path.stem]
        if new_yaw is not None:
            yaw["new_bins"] = float(metrics.wrapped(new_yaw[path.stem]))
    except KeyError:
        raise ValueError(f"{path}: expected re-annotated points and a new yaw of that name, got none") from None
    aligned = crops.align(aligner, image, ground_truth)
    landmarks = aligner.decoder.landmarks
    predicted = {
        (convention, crop): None if face is None else landmarks(face, convention or None).astype(np.float64)
        for convention in _conventions(aligner)
        for crop, face in aligned.faces.items()
    }
    mean_face = crops.mean_face(aligner, ground_truth, _conventions(aligner)[-1] or None)
    name = sources.relative_name(image, data)
    return _Image(path.stem, name, ground_truth, pose, labels, yaw, aligned, predicted, mean_face)


def _conventions(aligner: Aligner) -> list[str]:
    return [name for name in _CONVENTIONS if not name or name in aligner.face_model.landmark_offsets]


def _reannotated(folders: Sequence[Path], labels: Sequence[Path]) -> dict[str, Floats] | None:
    path = sources.first_file(folders, ["aflw2000_reannotated.npz"])
    if path is None:
        return _by_name(folders, "AFLW2000-3D-Reannotated.pts68.npy", (None, None, 68), labels)
    arrays = sources.read_arrays(path, ("names", "points"))
    names, points = arrays["names"], arrays["points"]
    fits = names.ndim == 1 and points.shape == (len(names), 2, 68)
    if not fits or names.dtype.kind != "U" or points.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: expected names (n,) of text and points (n, 2, 68) of numbers, "
            f"got {names.shape} {names.dtype} and {points.shape} {points.dtype}"
        )
    return {str(name): _columns(path, each) for name, each in zip(names, points, strict=True)}


def _by_name(
    folders: Sequence[Path], name: str, shape: tuple[int | None, ...], labels: Sequence[Path]
) -> dict[str, Any] | None:
    """Rows of one of 3DDFA's arrays by image. The rows follow 3DDFA's list of images, or else the sorted names."""
    path = sources.first_file(folders, [name])
    if path is None:
        return None
    rows = sources.read_array(path, shape)
    listed = sources.first_file(folders, ["AFLW2000-3D_crop.list"])
    names = [label.stem for label in labels]
    if listed is not None:
        names = [Path(line).stem for line in sources.read_list(listed)]
    if len(rows) != len(names):
        raise ValueError(
            f"{path}: expected a row for each of {len(names)} images, got {len(rows)}; "
            "AFLW2000-3D_crop.list beside it lists the images of the rows"
        )
    return {each: row if row.ndim == 0 else _columns(path, row) for each, row in zip(names, rows, strict=True)}


def _columns(path: Path, points: Any) -> Floats:
    columns = np.asarray(points, dtype=np.float64)[:2].T
    if columns.shape != (68, 2) or not metrics.spans_box(columns):
        raise ValueError(f"{path}: expected 68 finite points that span a box for every image")
    return columns


def _result(images: Sequence[_Image], conventions: Sequence[str], reannotated: bool, new_bins: bool) -> Result:
    aligned = [image.aligned for image in images]
    sets = ["original", "reannotated"] if reannotated else ["original"]
    lists = ["", "new_bins"] if new_bins else [""]
    yaw = {name: np.array([image.yaw[name] for image in images]) for name in lists}
    errors = {
        (convention, crop, labels): _errors(
            metrics.nme_box, images, convention, crop, [image.labels[labels] for image in images]
        )
        for convention in conventions
        for crop in CROPS
        for labels in sets
    }
    figures = [crops.missed_figure(aligned)]
    for (convention, crop, labels), values in errors.items():
        for name in lists:
            figures += _by_bin(convention, crop, labels, name, values, yaw[name])
    for convention in conventions:
        for crop in CROPS:
            figures += _figures_3d(images, convention, crop)
    figures += _mean_face_figures(images)
    figures += _pose_figures(images)

    settings: dict[str, Any] = {
        "images": len(images),
        "labels": ", ".join(sets),
        "crops": CROP_SOURCES,
        "bins": "Pose_Para" + (", AFLW2000-3D-new.pose.npy" if new_bins else ""),
    }
    for name in lists:
        for low, high in metrics.YAW_BINS:
            count = int(metrics.in_bin(yaw[name], low, high).sum())
            settings[_joined("images", name, f"{low}-{high}")] = count
    beyond = int((np.abs(yaw[""]) > 90).sum())
    settings["images.over_90"] = beyond
    headline = errors["", "ground_truth", "original"]
    return Result(
        _BENCHMARK.name,
        settings,
        tuple(figures),
        tuple(
            _row(image, {_joined("nme_2d", *key): values[i] for key, values in errors.items()})
            for i, image in enumerate(images)
        ),
        tuple(
            crops.curve(f"{CROPS[crop]}, {labels} labels", values.tolist(), "%", yaw[""].tolist())
            for (convention, crop, labels), values in errors.items()
            if not convention
        ),
        crops.worst(
            [image.path for image in images], headline.tolist(), [image.ground_truth for image in images], aligned
        ),
        _notes(beyond, len(conventions) > 1, reannotated, new_bins),
    )


def _errors(
    metric: Callable[[Floats, Floats], float],
    images: Sequence[_Image],
    convention: str,
    crop: str,
    ground_truth: Sequence[Floats],
) -> Floats:
    """An error per image; NaN where the face is missed."""
    predicted = [image.predicted[convention, crop] for image in images]
    return np.array(
        [
            np.nan if points is None else metric(points, target)
            for points, target in zip(predicted, ground_truth, strict=True)
        ]
    )


def _notes(beyond: int, in_both: bool, reannotated: bool, new_bins: bool) -> tuple[str, ...]:
    notes = [
        f"Images with a yaw beyond 90 degrees ({beyond}) belong to no yaw bin; the mean of all images includes them. "
        "(3DDFA's own script puts them into the last bin.)",
        "Angles are wrapped to -180..180 before they are sorted into bins.",
        "The crop from the ground truth is that of the original labels, for both label sets.",
    ]
    if in_both:
        notes.append(
            "All labels are in the landmark convention of 300W-LP. Figures that do not name it, the plots and the "
            "contact sheet are of the model's own landmarks."
        )
    if not reannotated:
        notes.append("No re-annotated labels were found.")
    if not new_bins:
        notes.append(
            "AFLW2000-3D-new.pose.npy (3DDFA's second list of yaw bins) was not found: its figures are missing."
        )
    return tuple(notes)


def _where(crop: str) -> str:
    return f"{CROPS[crop]}{', detected faces only' * (crop == 'detector')}"


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _by_bin(convention: str, crop: str, labels: str, bins: str, values: Floats, yaw: Floats) -> Iterator[Figure]:
    prefix = _joined("nme_2d", convention, crop, labels, bins)
    label = f"2D NME{_CONVENTIONS[convention]}, {_where(crop)}, {labels} labels{_BIN_LISTS[bins]}"
    means = []
    for low, high in metrics.YAW_BINS:
        means.append(metrics.mean(values[metrics.in_bin(yaw, low, high)]))
        yield Figure(f"{prefix}.{low}-{high}", f"{label}, yaw {low}-{high}", means[-1], "%", "lower")
    yield Figure(f"{prefix}.bins", f"{label}, mean of the bins", float(np.mean(means)), "%", "lower")
    if not bins:
        yield Figure(f"{prefix}.all", f"{label}, mean of all images", metrics.mean(values), "%", "lower")


def _figures_3d(images: Sequence[_Image], convention: str, crop: str) -> Iterator[Figure]:
    ground_truth = [image.ground_truth for image in images]
    for name, label, metric in (
        ("nme_3d", "3D NME", metrics.nme_3d),
        ("gte", "GTE (3D, by the outer eye distance)", metrics.ground_truth_error),
    ):
        value = metrics.mean(_errors(metric, images, convention, crop, ground_truth))
        description = f"{label}{_CONVENTIONS[convention]}, {_where(crop)}"
        yield Figure(_joined(name, convention, crop), description, value, "%", "lower")


def _mean_face_figures(images: Sequence[_Image]) -> Iterator[Figure]:
    """Errors of the mean face: every network should have lower errors."""
    for name, label, metric in (
        ("nme_3d", "3D NME", metrics.nme_3d),
        ("gte", "GTE (3D, by the outer eye distance)", metrics.ground_truth_error),
    ):
        value = metrics.mean([metric(image.mean_face, image.ground_truth) for image in images])
        description = f"{label} of the mean face, placed by the crop from the ground truth"
        yield Figure(f"mean_face.{name}", description, value, "%", "lower")


def _rotation(image: _Image, crop: str) -> Floats | None:
    """Model to view; of the detected faces, the one of highest IoU with the box of the labelled landmarks."""
    if crop == "ground_truth":
        face = image.aligned.faces["ground_truth"]
    else:
        detected, points = image.aligned.detected, image.ground_truth[:, :2]
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        iou = box_iou(np.array([face.box for face in detected]).reshape(-1, 4), box[None])[:, 0]
        face = detected[int(iou.argmax())] if len(iou) and iou.max() > 0 else None
    return None if face is None else face.camera.rotation


def _pose_figures(images: Sequence[_Image]) -> Iterator[Figure]:
    kept = [image for image in images if (np.abs(image.pose) <= LARGEST_ANGLE).all()]
    left_out = len(images) - len(kept)
    yield Figure("pose.left_out", "head pose: images left out, an angle beyond 99 degrees", left_out, "images")
    for crop in CROPS:
        differences, rotations = [], []
        for image in kept:
            rotation = _rotation(image, crop)
            if rotation is not None:
                pitch, yaw, roll = image.pose
                differences.append(metrics.wrapped(np.subtract(metrics.euler_300w_lp(rotation), (yaw, pitch, roll))))
                rotations.append(metrics.rotation_angle(rotation, metrics.rotation_300w_lp(yaw, pitch, roll)))
        off = np.array(differences).reshape(-1, 3)
        by_angle = [metrics.mean(np.abs(column)) for column in off.T]
        offset = float(np.median(off[:, 1])) if len(off) else float("nan")
        levelled, angle = metrics.mean(np.abs(off[:, 1] - offset)), metrics.mean(rotations)
        key, where = f"pose.{crop}", f"head pose, {_where(crop)}"
        if crop == "detector":
            yield Figure(
                f"{key}.missed", f"head pose, {CROPS[crop]}: faces missed", len(kept) - len(off), "images", "lower"
            )
        for name, value in zip(("yaw", "pitch", "roll"), by_angle, strict=True):
            yield Figure(f"{key}.{name}", f"{where}: mean error of {name}", value, "deg", "lower")
        yield Figure(f"{key}.mean", f"{where}: mean of the three", float(np.mean(by_angle)), "deg", "lower")
        yield Figure(f"{key}.pitch_offset", f"{where}: offset of pitch (median)", offset, "deg")
        yield Figure(f"{key}.pitch_levelled", f"{where}: mean error of pitch, offset removed", levelled, "deg", "lower")
        yield Figure(f"{key}.rotation", f"{where}: mean angle between rotations", angle, "deg", "lower")


def _row(image: _Image, errors: Mapping[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"image": image.name, "yaw": number(image.yaw[""])}
    row |= {name: number(value) for name, value in errors.items()}
    for crop in CROPS:
        rotation = _rotation(image, crop)
        angles = (None,) * 3 if rotation is None else metrics.euler_300w_lp(rotation)
        for name, value, target in zip(("yaw", "pitch", "roll"), angles, image.pose[[1, 0, 2]], strict=True):
            row[f"pose.{crop}.{name}"] = None if value is None else number(float(metrics.wrapped(value - target)))
    return row
