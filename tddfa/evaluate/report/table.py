"""Results to be read: a table on the screen, and JSON that says what made it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tddfa import __version__
from tddfa.aligner import Aligner
from tddfa.datasets.files import below
from tddfa.evaluate.benchmarks import MODULES
from tddfa.evaluate.result import Figure, Result
from tddfa.model.assets import config_path
from tddfa.model.config import Config

MADE_BY = {
    "tddfa": "tddfa",
    "config": "config",
    "precision": "precision",
    "model_sha256": "regressor, sha256",
    "detector_sha256": "detector, sha256",
    "face_model_sha256": "face model, sha256",
    "exact_crop": "--exact-crop",
    "refine": "--refine",
    "convention": "landmarks by the landmark convention",
    "onnxruntime": "ONNX Runtime",
    "numpy": "NumPy",
    "opencv": "OpenCV",
    "device": "device",
    "threads": "threads of a network",
}
"""Settings that say what made a result, which `identity` gives -> for people."""

# Units of what is measured; anything else is counted, and whole numbers of it are shown as such.
_DIGITS = {"%": 2, "deg": 2}
_MEASURES = ("", "%", "deg", "ms", "s", "px", "mm", "cm", "fps", "MB", "IoU")


def identity(
    aligner: Aligner, config: str, precision: str = "float", threads: int | None = None, exact_crop: bool = False
) -> dict[str, Any]:
    """What a result was made by: versions, and hashes of the files behind a config.

    No date and no commit: the same files give the same result.

    Parameters
    ----------
    aligner : Aligner
        As loaded, to tell where it runs.
    config : str
        Name or ``.yml`` file, as `Aligner.load` takes it.
    precision, threads, exact_crop
        As given to `Aligner.load`.
    """
    settings = Config.load(config_path(config)).with_precision(precision)
    return {
        "tddfa": __version__,
        "config": settings.name,
        "precision": precision,
        "model_sha256": _sha256(settings.model),
        "detector_sha256": _sha256(settings.detector.model),
        "face_model_sha256": _sha256(settings.face_model),
        "exact_crop": exact_crop,
        "refine": aligner.refine,
        "convention": aligner.decoder.convention,
        "onnxruntime": _installed("onnxruntime-gpu", "onnxruntime"),
        "numpy": _installed("numpy"),
        "opencv": _installed("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
        "device": aligner.device,
        "threads": "one a core" if threads is None else threads,
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _installed(*names: str) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def signed(result: Result, made_by: Mapping[str, Any], data: Path) -> Result:
    """Add what made it, and name the pictures relative to the data folder, so that results compare equal anywhere."""
    worst = tuple(replace(case, path=below(Path(case.path), data)) for case in result.worst)
    return replace(result, settings={**made_by, **result.settings}, worst=worst)


def shown(figure: Figure) -> str:
    """The number of a figure, without its unit; a dash where there is none."""
    if figure.value is None:
        return "–"
    if figure.unit not in _MEASURES and figure.value.is_integer():
        return f"{figure.value:.0f}"
    return f"{figure.value:.{_DIGITS.get(figure.unit, 3)}f}"


def table(result: Result) -> str:
    """A result as lines for the screen: figures below each other, then the notes."""
    values = [shown(figure) for figure in result.figures]
    left = max((len(figure.label) for figure in result.figures), default=0)
    right = max((len(value) for value in values), default=0)
    settings = "".join(f"  {result.settings[name]}" for name in ("config", "device") if name in result.settings)
    if "limit" in result.settings:
        settings += f"  {limited(result.settings['limit'])}"
    lines = [f"{result.benchmark}{settings}"]
    lines += [
        f"  {figure.label:{left}}  {value:>{right}} {figure.unit}".rstrip()
        for figure, value in zip(result.figures, values, strict=True)
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def limited(limit: Any) -> str:
    """What is said of a result that is of a part of the data."""
    return f"at most {limit} of each set"


def load_folder(folder: Path) -> dict[str, Result]:
    """The results that ``tddfa evaluate`` wrote into a folder, by benchmark, in the order in which they are run.

    Raises
    ------
    ValueError
        If there is none, or if a ``.json`` file of the folder is something else.
    """
    results = {}
    for path in sorted(folder.glob("*.json")):
        result = Result.load(path)
        results[result.benchmark] = result
    if not results:
        raise ValueError(f"{folder}: expected .json files that tddfa evaluate wrote, found none")
    order = [*MODULES, *sorted(set(results) - set(MODULES))]
    return {name: results[name] for name in order if name in results}
