"""``tddfa fetch 3ddfa_v2``: download, check and convert the released files of 3DDFA_V2 into the cache folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tddfa._shared.files import write_atomic
from tddfa._shared.packages import reason
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_json
from tddfa.compat import bfm, networks
from tddfa.compat.download import DownloadError, OfflineError, check, digest, download
from tddfa.compat.torch_file import read_state
from tddfa.detector.fetch_yunet import FOREHEAD_CROP
from tddfa.model.assets import cache_folder

COMMIT = "1b6c67601abffc1e9f248b291708aef0e43b55ae"
SOURCE = f"https://raw.githubusercontent.com/cleardusk/3DDFA_V2/{COMMIT}/"

DETECTOR = "FaceBoxes/weights/FaceBoxesProd.pth"
BASES = "configs/bfm_noneck_v3.pkl"
TRIANGLES, UV, INDICES = "configs/tri.pkl", "configs/BFM_UV.mat", "configs/indices.npy"
CODES = "configs/ncc_code.npy"
WHITENING = "configs/param_mean_std_62d_120x120.pkl"
REGRESSORS = {"mb05_120x120": "weights/mb05_120x120.pth", "mb1_120x120": "weights/mb1_120x120.pth"}

FILES = {
    REGRESSORS["mb05_120x120"]: "sha256:f93ed7f1c4c0382b16d7c18480a5f67473c1917a47475a9823924f38aeb27280",
    REGRESSORS["mb1_120x120"]: "git:bb78e0cd616fa578febb725b4be3a3ddd546f6b4",
    DETECTOR: "sha256:c0cb2b1e40710c0aa5fc32a8759b1496a0fe0a126c907ca0ffe35b4bd0709d09",
    BASES: "git:7a44e1e29d658fc5d7303eb07cd820b23daab34a",
    TRIANGLES: "sha256:0562a594d8369f7d1c86306522ff76fd3a2c81cf90ba9443893c1191ad0abbb8",
    UV: "sha256:60be915f601563e274d9737abd54c6b925e8e737fa1c89d3cd64933315629ce1",
    INDICES: "sha256:b341debcdf26492332c1f96ced438e727e74164d1524cab9cca0aedf6ccd39c8",
    CODES: "sha256:edab94fb09d2e25660d62eb068316becf8998e793dfe2ae3ac89196ebc0af981",
    WHITENING: "sha256:090d7150f77cb66c29ddae21e4508fbde59123dcd1dea7facc24a7ed06d1c795",
}
"""The released files and their hashes; ``git`` is the id of the blob in git."""

ACADEMIC = "The Basel Face Model is for academic use only: https://faces.dmi.unibas.ch/bfm"

_MAX_MADE_BYTES = 1 << 20
# Increase it when the same files give another result.
_CONVERTER = 3
_CONFIG = """\
# 3DDFA_V2's {name}, converted by tddfa. What each key means: tddfa/model/config.py.
model: {model}
face_model: {face_model}

crop:
  size: 120
  box_shift_y: 0.14
  box_scale: 1.58
  landmark_scale: 1.4142135623730951
  rounded: true        # crop as 3DDFA_V2 does; false (or --exact-crop) crops at the exact edges

"""
_DETECTOR = """\
detector:
  model: {detector}
  score: 0.5
  iou: 0.3
  max_height: 720
  max_width: 1080
"""
WITH_OURS = "open_mb05_3ddfa_v2"
"""Name of the config of ``open_mb05`` with 3DDFA_V2's detector."""
_WITH_OURS = f"""\
# open_mb05 with 3DDFA_V2's detector, converted by tddfa. What each key means: tddfa/model/config.py.
base: open_mb05

{FOREHEAD_CROP}"""


@dataclass
class Report:
    """Result of `fetch`.

    Attributes
    ----------
    ready : list of str
        Names of the configs that can be used.
    problems : list of str
        One line per error.
    notes : list of str
        One line per file that was converted or existed already.
    """

    ready: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def folder() -> Path:
    """Folder of the converted files."""
    return cache_folder() / "3ddfa_v2"


def config_text(name: str, model: str, face_model: str, detector: str) -> str:
    """Text of the config of one of 3DDFA_V2's regressors."""
    # a JSON string is a YAML one: a path may hold any character
    paths = {"model": model, "face_model": face_model, "detector": detector}
    return (_CONFIG + _DETECTOR).format(
        name=name, **{key: json.dumps(path, ensure_ascii=False) for key, path in paths.items()}
    )


def fetch(
    checkout: str | os.PathLike[str] | None = None,
    bases: str | os.PathLike[str] | None = None,
    *,
    progress: bool = False,
    source: str = SOURCE,
    print_line: Callable[[str], None] = lambda _: None,
) -> Report:
    """Download, check and convert 3DDFA_V2's files.

    Parameters
    ----------
    checkout : path or None
        Folder with the files of its repository; None downloads them.
    bases : path or None
        Another face model: ``bfm_noneck_v3.pkl``, or a ``.npz`` with the same arrays.
    progress : bool
        Show progress bars on stderr.
    source : str
        Base address of the files.
    print_line : callable
        Called with the name of each file that is downloaded.

    Returns
    -------
    Report
        A missing file gives one problem; the other files are still converted.
    """
    report = Report()
    if bases is not None and not Path(bases).is_file():
        # otherwise the face model of an earlier run would be used
        report.problems.append(f"{bases}: no such face model")
        return report
    sources = _Sources()
    _collect(sources, checkout, bases, progress, source, print_line)
    if sources.offline is not None:
        report.problems.append(sources.offline)
    target = folder()
    try:
        made = _Made(target)
        detector = _detector(sources, made, report)
        if detector:
            text = _WITH_OURS + _DETECTOR.format(detector=detector)
            write_atomic(target / f"{WITH_OURS}.yml", text.encode())
            report.notes.append(f"{WITH_OURS}.yml: open_mb05 with this detector")
        face_model = _face_model(sources, made, report)
        for name, path in REGRESSORS.items():
            model = _regressor(name, path, sources, made, report)
            if model and detector and face_model:
                write_atomic(target / f"{name}.yml", config_text(name, model, face_model, detector).encode())
                report.ready.append(name)
    except OSError as error:
        report.problems.append(f"{target}: cannot be written: {error.strerror or error}")
    return report


@dataclass
class _Sources:
    """Checked source files, and the errors of the others."""

    paths: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    offline: str | None = None


def _collect(
    sources: _Sources,
    checkout: str | os.PathLike[str] | None,
    bases: str | os.PathLike[str] | None,
    progress: bool,
    source: str,
    print_line: Callable[[str], None],
) -> None:
    if bases is not None:
        sources.paths[BASES] = Path(bases)
    for name, known in FILES.items():
        if name == BASES and bases is not None:
            continue
        try:
            if checkout is None:
                path = folder() / "source" / name
                print_line(name)
                sources.paths[name] = download(source + name, path, known, progress=progress)
            else:
                path = Path(checkout) / name
                if not path.is_file():
                    raise DownloadError(f"{path}: no such file")
                wrong = check(path, known)
                if wrong is not None:
                    raise DownloadError(f"{path}: not the released file: {wrong}")
                sources.paths[name] = path
        except OfflineError as error:
            sources.offline = (
                f"{error}: on a machine with a network, run `git clone https://github.com/cleardusk/3DDFA_V2`, bring "
                "the folder here and run `tddfa fetch 3ddfa_v2 --from FOLDER`"
            )
            return
        except OSError as error:
            sources.missing[name] = str(error)


class _Made:
    """Converted files, with the hash of the sources of each."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._file = target / "made.json"
        try:
            content = parse_json(read_text(self._file, _MAX_MADE_BYTES))
            self._keys = {str(name): str(key) for name, key in content.items()}
        except (OSError, ValueError, AttributeError):  # absent or damaged: all is converted again
            self._keys = {}

    def there(self, name: str) -> bool:
        """Whether a file was converted before, from any sources."""
        return name in self._keys and (self.target / name).is_file()

    def make(self, name: str, sources: Mapping[str, Path], convert: Callable[[], bytes]) -> bool:
        """Convert, unless the file exists and was made from the same sources; return whether it was converted now."""
        key = fingerprint(sources)
        if self.there(name) and self._keys[name] == key:
            return False
        data = convert()
        write_atomic(self.target / name, data)
        self._keys[name] = key
        write_atomic(self._file, json.dumps(self._keys, indent=1).encode())
        return True


def fingerprint(sources: Mapping[str, Path]) -> str:
    """Hash of the sources of a conversion and the version of the converter."""
    lines = [f"{name} {digest(path, 'sha256')}" for name, path in sorted(sources.items())]
    return hashlib.sha256("\n".join([str(_CONVERTER), *lines]).encode()).hexdigest()


def _make(
    name: str,
    needed: tuple[str, ...],
    sources: _Sources,
    made: _Made,
    report: Report,
    convert: Callable[[], bytes],
) -> str | None:
    missing = [sources.missing.get(path, path) for path in needed if path not in sources.paths]
    if missing:
        if made.there(name):
            report.notes.append(f"{name}: already there")
            return name
        if sources.offline is None:
            report.problems.append(f"{name}: not made: {'; '.join(missing)}")
        return None
    try:
        done = made.make(name, {path: sources.paths[path] for path in needed}, convert)
    except ImportError as error:
        report.problems.append(f"{name}: not made: {reason(error)}")
        return None
    except ValueError as error:
        report.problems.append(f"{name}: not made: {error}")
        return None
    report.notes.append(f"{name}: {'converted' if done else 'already there'}")
    return name


def _detector(sources: _Sources, made: _Made, report: Report) -> str | None:
    return _make(
        "faceboxes.onnx", (DETECTOR,), sources, made, report, lambda: convert_detector(sources.paths[DETECTOR])
    )


def _regressor(name: str, path: str, sources: _Sources, made: _Made, report: Report) -> str | None:
    return _make(
        f"{name}.onnx", (path, WHITENING), sources, made, report,
        lambda: convert_regressor(sources.paths[path], sources.paths[WHITENING]),
    )  # fmt: skip


def _face_model(sources: _Sources, made: _Made, report: Report) -> str | None:
    needed = (BASES, TRIANGLES, UV, INDICES, CODES)

    def convert() -> bytes:
        bases, triangles, uv, indices, codes = (sources.paths[name] for name in needed)
        data = bfm.face_model(bases, triangles, uv, indices)
        _check_codes(data, bases, codes)
        return data

    name = _make("bfm_noneck_v3.npz", needed, sources, made, report, convert)
    if name is not None:
        report.notes.append(ACADEMIC)
    return name


def _check_codes(data: bytes, bases: Path, codes: Path) -> None:
    """Check the mean face by the released PNCC codes, which are its normalised coordinates."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        mean = file["mean"]
    low, high = mean.min(axis=0), mean.max(axis=0)
    released = np.load(codes, allow_pickle=False)
    if released.shape != (3, len(mean)) or np.abs((mean - low) / (high - low) - released.T).max() > 1e-4:
        raise ValueError(f"{bases}: its mean face is not that of {CODES}")


def convert_detector(weights: Path) -> bytes:
    """Convert the ``.pth`` of FaceBoxes to ONNX."""
    try:
        return networks.detector(read_state(weights))
    except networks.ConversionError as error:
        raise ValueError(f"{weights}: {error}") from error


def convert_regressor(weights: Path, whitening: Path) -> bytes:
    """Convert the ``.pth`` of MobileNet, and the whitening of its outputs, to ONNX."""
    statistics = bfm.read_pickled(whitening)
    if not isinstance(statistics, dict) or not all(
        isinstance(statistics.get(key), np.ndarray) for key in ("mean", "std")
    ):
        raise ValueError(f"{whitening}: expected the arrays mean and std")
    try:
        return networks.regressor(read_state(weights), statistics["mean"], statistics["std"])
    except networks.ConversionError as error:
        raise ValueError(f"{weights}: {error}") from error
