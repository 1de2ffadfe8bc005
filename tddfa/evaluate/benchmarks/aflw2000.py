"""AFLW2000-3D (Zhu et al., 2016): 68 points by yaw, in 2D and in 3D, and head pose.

Protocols: 3DDFA's ``benchmark_aflw2000.py`` (2D NME by the square root of the area of the box of the truth's landmarks;
the headline is the mean of three yaw bins), JVCR's 3D NME and GTE, and img2pose's head pose (angles of ``Pose_Para``;
of the detector's faces the one whose box overlaps most with the truth's).

The labels are by the landmark convention of 300W-LP. A model that has it (`tddfa.FaceModel.convention`) is measured by it
besides its own landmarks, which are what a user gets; where these are by it already, the figures are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tddfa.aligner import Aligner
from tddfa.datasets import files as sources
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.crops import CROPS, Aligned
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, number
from tddfa.geometry.boxes import box_iou

NAME = "aflw2000-3d"
LAYOUT = (
    "DIR/aflw2000 (or AFLW2000, AFLW2000-3D, or DIR itself) with photos and a .mat of the same name beside each; "
    "where they are, also aflw2000_reannotated.npz (names, points) or 3DDFA's AFLW2000-3D-Reannotated.pts68.npy, and "
    "its AFLW2000-3D-new.pose.npy, in DIR, in that folder or in test.configs there"
)

_FOLDERS = ("aflw2000", "AFLW2000", "AFLW2000-3D")
_SHAPES: dict[str, tuple[int | None, ...]] = {"pt3d_68": (3, 68), "Pose_Para": (1, None)}
# Photos with an angle beyond this are left out of the head pose, as in the papers.
_LARGEST_ANGLE = 99.0
_BIN_LISTS = {"": "", "new_bins": ", 3DDFA's new bins"}
# The labels' landmark convention, and what figures by it are called; those by the model's own have no name.
_MARKUP = "300w-lp"
_SENSES = {"": "", _MARKUP: ", landmarks as 300W-LP has them"}


@dataclass(frozen=True, eq=False)
class _Photo:
    """Labels, and what was found; `yaw` by names of `_BIN_LISTS`, `points` by label set, `found` by sense and crop."""

    name: str
    path: str
    truth: Floats
    pose: Floats
    points: Mapping[str, Floats]
    yaw: Mapping[str, float]
    aligned: Aligned
    found: Mapping[tuple[str, str], Floats | None]


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the module's docstring, and `LAYOUT`.

    Raises
    ------
    DataMissing
        If the photos are not there.
    ValueError
        If a file is damaged; the message names it.
    """
    folder = sources.first_folder(setup.data, _FOLDERS, "*.mat")
    if folder is None:
        raise DataMissing(f"no photos with .mat files in {setup.data}: expected {LAYOUT}")
    everything = sorted(folder.glob("*.mat"))
    places = [place for base in (setup.data, folder) for place in (base, base / "test.configs")]
    reannotated = _reannotated(places, everything)
    new_yaw = _by_name(places, "AFLW2000-3D-new.pose.npy", (None,), everything)
    labels = setup.chosen(everything)

    def job(path: Path) -> _Photo:
        return _read(setup.data, path, reannotated, new_yaw, setup.aligner)

    done = sources.worked(job, labels)
    photos = [photo for _, photo in zip(setup.track(labels, "AFLW2000-3D"), done, strict=True)]
    return _result(photos, _senses(setup.aligner), reannotated is not None, new_yaw is not None)


def _read(
    data: Path,
    path: Path,
    reannotated: Mapping[str, Floats] | None,
    new_yaw: Mapping[str, Floats] | None,
    aligner: Aligner,
) -> _Photo:
    photo = sources.photo_beside(path)
    if photo is None:
        raise ValueError(f"{path}: expected its photo beside it, found none")
    arrays = sources.read_mat(path, _SHAPES)
    truth, pose = arrays["pt3d_68"].T, np.degrees(arrays["Pose_Para"][0, :3])
    if len(pose) < 3 or not metrics.box_length(truth) > 0:
        raise ValueError(f"{path}: expected three angles and landmarks that span a box")
    points, yaw = {"original": truth[:, :2]}, {"": float(metrics.wrapped(pose[1]))}
    try:
        if reannotated is not None:
            points["reannotated"] = reannotated[path.stem]
        if new_yaw is not None:
            yaw["new_bins"] = float(metrics.wrapped(new_yaw[path.stem]))
    except KeyError:
        raise ValueError(f"{path}: expected its re-annotated points and new yaw too, found none of that name") from None
    aligned = crops.align(aligner, photo, truth)
    found = {
        (sense, crop): None if face is None else aligner.decoder.landmarks(face, sense or None).astype(np.float64)
        for sense in _senses(aligner) for crop, face in aligned.found.items()
    }  # fmt: skip
    return _Photo(path.stem, sources.below(photo, data), truth, pose, points, yaw, aligned, found)


def _senses(aligner: Aligner) -> list[str]:
    return [sense for sense in _SENSES if not sense or sense in aligner.face_model.landmark_offsets]


def _reannotated(places: Sequence[Path], labels: Sequence[Path]) -> dict[str, Floats] | None:
    path = sources.first_file(places, ["aflw2000_reannotated.npz"])
    if path is None:
        return _by_name(places, "AFLW2000-3D-Reannotated.pts68.npy", (None, None, 68), labels)
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
    places: Sequence[Path], name: str, shape: tuple[int | None, ...], labels: Sequence[Path]
) -> dict[str, Any] | None:
    """Rows of one of 3DDFA's arrays, by photo: they are in the order of its list, which is that of the names."""
    path = sources.first_file(places, [name])
    if path is None:
        return None
    rows = sources.read_array(path, shape)
    listed = sources.first_file(places, ["AFLW2000-3D_crop.list"])
    names = [label.stem for label in labels]
    if listed is not None:
        names = [Path(line).stem for line in sources.read_list(listed)]
    if len(rows) != len(names):
        raise ValueError(
            f"{path}: expected a row for each of {len(names)} photos, got {len(rows)}; "
            "AFLW2000-3D_crop.list beside it tells which photos they are of"
        )
    return {each: row if row.ndim == 0 else _columns(path, row) for each, row in zip(names, rows, strict=True)}


def _columns(path: Path, points: Any) -> Floats:
    found = np.asarray(points, dtype=np.float64)[:2].T
    if found.shape != (68, 2) or not np.isfinite(found).all() or not metrics.box_length(found) > 0:
        raise ValueError(f"{path}: expected 68 finite points that span a box for every photo")
    return found


def _result(photos: Sequence[_Photo], senses: Sequence[str], reannotated: bool, new_bins: bool) -> Result:
    aligned = [photo.aligned for photo in photos]
    sets = ["original", "reannotated"] if reannotated else ["original"]
    lists = ["", "new_bins"] if new_bins else [""]
    yaw = {name: np.array([photo.yaw[name] for photo in photos]) for name in lists}
    errors = {
        (sense, crop, labels): np.array([
            np.nan if (points := photo.found[sense, crop]) is None else metrics.nme_box(points, photo.points[labels])
            for photo in photos
        ])
        for sense in senses for crop in CROPS for labels in sets
    }  # fmt: skip
    figures = [crops.missed_figure(aligned)]
    for (sense, crop, labels), values in errors.items():
        for name in lists:
            figures += _by_bin(sense, crop, labels, name, values, yaw[name])
    spoken = {metrics.nme_3d: ("nme_3d", "3D NME"),
              metrics.ground_truth_error: ("gte", "GTE (3D, by the outer eye distance)")}  # fmt: skip
    for sense in senses:
        for crop in CROPS:
            for measure, (name, label) in spoken.items():
                values = np.array([
                    np.nan if (points := photo.found[sense, crop]) is None else measure(points, photo.truth)
                    for photo in photos
                ])  # fmt: skip
                label = f"{label}{_SENSES[sense]}, {CROPS[crop]}{_rest(crop)}"
                figures.append(Figure(_joined(name, sense, crop), label, metrics.mean(values), "%"))
    figures += _pose_figures(photos)

    settings: dict[str, Any] = {
        "photos": len(photos), "labels": ", ".join(sets), "crops": ", ".join(CROPS),
        "bins": "Pose_Para" + (", AFLW2000-3D-new.pose.npy" if new_bins else ""),
    }  # fmt: skip
    for name in lists:
        for low, high in metrics.YAW_BINS:
            count = int(metrics.in_bin(yaw[name], low, high).sum())
            settings[_joined("photos", name, f"{low}-{high}")] = count
    beyond = int((np.abs(yaw[""]) > 90).sum())
    settings["photos.over_90"] = beyond
    headline = errors["", "truth", "original"]
    return Result(
        NAME,
        settings,
        tuple(figures),
        tuple(
            _row(photo, {_joined("nme_2d", *key): values[i] for key, values in errors.items()})
            for i, photo in enumerate(photos)
        ),
        tuple(
            crops.curve(f"{CROPS[crop]}, {labels} labels", values.tolist(), "%", yaw[""].tolist())
            for (sense, crop, labels), values in errors.items()
            if not sense
        ),
        crops.worst([p.path for p in photos], headline.tolist(), [p.truth for p in photos], aligned),
        _notes(beyond, len(senses) > 1, reannotated, new_bins),
    )


def _notes(beyond: int, by_both: bool, reannotated: bool, new_bins: bool) -> tuple[str, ...]:
    notes = [
        f"Photos turned beyond 90 degrees ({beyond}) belong to no yaw bin; the mean over all photos counts them. "
        "(3DDFA's own script puts them into the last bin.)",
        "Angles are brought into -180..180 before they are put into bins.",
        "The crop from the truth is that of the original labels, for both label sets.",
    ]
    if by_both:
        notes.append(
            "All labels are by 300W-LP's landmark convention. Figures that do not say so are of the model's own landmarks; plots "
            "and the sheet of the worst show those."
        )
    if not reannotated:
        notes.append("No re-annotated labels were found.")
    if not new_bins:
        notes.append(
            "AFLW2000-3D-new.pose.npy (3DDFA's second list of yaw bins) was not found: its figures are missing."
        )
    return tuple(notes)


def _rest(crop: str) -> str:
    return ", of the rest" if crop == "detector" else ""


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _by_bin(sense: str, crop: str, labels: str, bins: str, values: Floats, yaw: Floats) -> Iterator[Figure]:
    prefix = _joined("nme_2d", sense, crop, labels, bins)
    label = f"2D NME{_SENSES[sense]}, {CROPS[crop]}{_rest(crop)}, {labels} labels{_BIN_LISTS[bins]}"
    means = []
    for low, high in metrics.YAW_BINS:
        means.append(metrics.mean(values[metrics.in_bin(yaw, low, high)]))
        yield Figure(f"{prefix}.{low}-{high}", f"{label}, yaw {low}-{high}", means[-1], "%")
    yield Figure(f"{prefix}.bins", f"{label}, mean of the bins", float(np.mean(means)), "%")
    if not bins:
        yield Figure(f"{prefix}.all", f"{label}, mean of all photos", metrics.mean(values), "%")


def _rotation(photo: _Photo, crop: str) -> Floats | None:
    """Model to view; of the detector's faces, the one whose box overlaps most with that of the truth's landmarks."""
    if crop == "truth":
        face = photo.aligned.found["truth"]
    else:
        detected = photo.aligned.detected
        truth = np.concatenate([photo.truth[:, :2].min(axis=0), photo.truth[:, :2].max(axis=0)])
        shared = box_iou(np.array([face.box for face in detected]).reshape(-1, 4), truth[None])[:, 0]
        face = detected[int(shared.argmax())] if len(shared) and shared.max() > 0 else None
    return None if face is None else face.camera.rotation


def _pose_figures(photos: Sequence[_Photo]) -> Iterator[Figure]:
    kept = [photo for photo in photos if (np.abs(photo.pose) <= _LARGEST_ANGLE).all()]
    yield Figure("pose.left_out", "head pose: photos left out, an angle beyond 99 degrees", len(photos) - len(kept),
                 "photos")  # fmt: skip
    for crop in CROPS:
        differences, turned = [], []
        for photo in kept:
            rotation = _rotation(photo, crop)
            if rotation is not None:
                pitch, yaw, roll = photo.pose
                found = metrics.euler_300w_lp(rotation)
                differences.append(metrics.wrapped(np.subtract(found, (yaw, pitch, roll))))
                turned.append(metrics.rotation_angle(rotation, metrics.rotation_300w_lp(yaw, pitch, roll)))
        off = np.array(differences).reshape(-1, 3)
        by_angle = [metrics.mean(np.abs(column)) for column in off.T]
        level = float(np.median(off[:, 1])) if len(off) else float("nan")
        where = f"head pose, {CROPS[crop]}{_rest(crop)}"
        if crop == "detector":
            yield Figure("pose.detector.missed", f"{where}: no face there", len(kept) - len(off), "photos")
        for name, value in zip(("yaw", "pitch", "roll"), by_angle, strict=True):
            yield Figure(f"pose.{crop}.{name}", f"{where}: mean error of {name}", value, "deg")
        yield Figure(f"pose.{crop}.mean", f"{where}: mean of the three", float(np.mean(by_angle)), "deg")
        yield Figure(f"pose.{crop}.pitch_offset", f"{where}: constant of pitch (median)", level, "deg")
        yield Figure(
            f"pose.{crop}.pitch_levelled", f"{where}: mean error of pitch without it",
            metrics.mean(np.abs(off[:, 1] - level)), "deg",
        )  # fmt: skip
        yield Figure(f"pose.{crop}.rotation", f"{where}: mean angle between rotations", metrics.mean(turned), "deg")


def _row(photo: _Photo, errors: Mapping[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"photo": photo.name, "yaw": number(photo.yaw[""])}
    row |= {name: number(value) for name, value in errors.items()}
    for crop in CROPS:
        rotation = _rotation(photo, crop)
        angles = (None,) * 3 if rotation is None else metrics.euler_300w_lp(rotation)
        for name, value, truth in zip(("yaw", "pitch", "roll"), angles, photo.pose[[1, 0, 2]], strict=True):
            row[f"pose.{crop}.{name}"] = None if value is None else number(float(metrics.wrapped(value - truth)))
    return row
