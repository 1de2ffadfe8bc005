"""Results as tables on the screen, with the versions and hashes of what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tddfa import __version__
from tddfa._shared.files import sha256_of
from tddfa.aligner import Aligner
from tddfa.datasets.files import relative_name
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import Figure, Result
from tddfa.model.assets import config_path, located
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
    "min_score": "--min-score",
    "tiles": "--tiles",
    "rotations": "--rotations",
    "convention": "landmark convention",
    "fit_mesh": "--fit-mesh",
    "onnxruntime": "ONNX Runtime",
    "numpy": "NumPy",
    "opencv": "OpenCV",
    "device": "device",
    "threads": "threads per network",
}
"""Settings of `identity` -> labels."""

# Units of measurements; anything else is a count, and whole numbers of it are shown without decimals.
_DIGITS = {"%": 2, "deg": 2}
_MEASURES = ("", "%", "deg", "ms", "s", "px", "mm", "cm", "fps", "MB", "IoU")


def identity(
    aligner: Aligner,
    config: str,
    precision: str = "float",
    threads: int | None = None,
    exact_crop: bool = False,
    fit_mesh: bool = False,
) -> dict[str, Any]:
    """Versions, and hashes of the files of a config, for the settings of a result.

    There is no date and no commit: the same files give the same result.

    Parameters
    ----------
    aligner : Aligner
        The loaded model, for its device.
    config : str
        Name or ``.yml`` file, as in `Aligner.load`.
    precision, threads, exact_crop, fit_mesh
        As in `Aligner.load`.

    Examples
    --------
    >>> identity(aligner, "open_mb05")["precision"]
    'float'
    """
    settings = Config.load(config_path(config)).with_precision(precision)
    return {
        "tddfa": __version__,
        "config": settings.name,
        "precision": precision,
        "model_sha256": sha256_of(located(settings.model)),
        "detector_sha256": sha256_of(settings.detector.file),
        "face_model_sha256": sha256_of(settings.face_model),
        "exact_crop": exact_crop,
        "refine": aligner.refine,
        "min_score": aligner.min_score,
        "tiles": None if aligner.detector is None else aligner.detector.tiles,
        "rotations": aligner.rotations,
        "convention": aligner.decoder.convention,
        "fit_mesh": fit_mesh,
        "onnxruntime": _installed("onnxruntime-gpu", "onnxruntime"),
        "numpy": _installed("numpy"),
        "opencv": _installed("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
        "device": aligner.device,
        "threads": "one per core" if threads is None else threads,
    }


def _installed(*names: str) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def signed(result: Result, made_by: Mapping[str, Any], data: Path) -> Result:
    """Add versions and hashes to a result; make its image paths relative, so that results are equal on any machine."""
    worst = tuple(replace(case, path=relative_name(Path(case.path), data)) for case in result.worst)
    return replace(result, settings={**made_by, **result.settings}, worst=worst)


def shown(figure: Figure) -> str:
    """Text of the value of a figure, without its unit; a dash where there is none.

    Examples
    --------
    >>> shown(Figure("nme", "NME", 3.456, "%")), shown(Figure("missed", "faces missed", 2, "images"))
    ('3.46', '2')
    """
    if figure.value is None:
        return "–"
    if figure.unit not in _MEASURES and figure.value.is_integer():
        return f"{figure.value:.0f}"
    return f"{figure.value:.{_DIGITS.get(figure.unit, 3)}f}"


def table(result: Result) -> str:
    """A result as text for the screen: one figure per line, then the notes.

    Examples
    --------
    >>> print(table(Result("300w", {}, [Figure("nme", "NME, eyes", 3.456, "%")])))
    300w
      NME, eyes  3.46 %
    """
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
    """Text for a result of a part of the data only."""
    return f"at most {limit} of each set"


def load_folder(folder: Path) -> dict[str, Result]:
    """Load the results in a folder that ``tddfa evaluate`` wrote, by benchmark, in the order in which they are run.

    Raises
    ------
    ValueError
        If there is no result, or if a ``.json`` file of the folder is not one.
    """
    results = {}
    for path in sorted(folder.glob("*.json")):
        result = Result.load(path)
        results[result.benchmark] = result
    if not results:
        raise ValueError(f"{folder}: expected .json files that tddfa evaluate wrote, got none")
    order = [*BENCHMARKS, *sorted(set(results) - set(BENCHMARKS))]
    return {name: results[name] for name in order if name in results}
