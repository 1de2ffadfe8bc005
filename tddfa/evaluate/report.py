"""Results to be read: a table on the screen, JSON that says what made it, and a page of several models side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tddfa import __version__
from tddfa.aligner import Aligner
from tddfa.assets import config_path
from tddfa.config import Config
from tddfa.evaluate.benchmarks import MODULES, module
from tddfa.evaluate.result import Figure, Result
from tddfa.evaluate.sources import below

MADE_BY = {
    "tddfa": "tddfa",
    "config": "config",
    "precision": "precision",
    "model_sha256": "regressor, sha256",
    "detector_sha256": "detector, sha256",
    "face_model_sha256": "face model, sha256",
    "exact_crop": "--exact-crop",
    "onnxruntime": "ONNX Runtime",
    "numpy": "NumPy",
    "opencv": "OpenCV",
    "device": "device",
    "threads": "threads of a network",
}
"""Settings that say what made a result, which `identity` gives -> for people."""

# Units of what is measured; anything else is counted, and whole numbers of it are shown as such.
_MEASURES = ("", "%", "deg", "ms", "s", "px", "mm", "cm", "fps", "MB", "IoU")
_SHOWN_OF_HASH = 12
# The kernel's name and the like: it says more of who measured than of what was.
_NOT_ON_A_PAGE = ("system",)


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
    return f"{figure.value:.3f}"


def table(result: Result) -> str:
    """A result as lines for the screen: figures below each other, then the notes."""
    values = [shown(figure) for figure in result.figures]
    left = max((len(figure.label) for figure in result.figures), default=0)
    right = max((len(value) for value in values), default=0)
    settings = "".join(f"  {result.settings[name]}" for name in ("config", "device") if name in result.settings)
    if "limit" in result.settings:
        settings += f"  {_limited(result.settings['limit'])}"
    lines = [f"{result.benchmark}{settings}"]
    lines += [
        f"  {figure.label:{left}}  {value:>{right}} {figure.unit}".rstrip()
        for figure, value in zip(result.figures, values, strict=True)
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def _limited(limit: Any) -> str:
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


def markdown(columns: Mapping[str, Mapping[str, Result]]) -> str:
    """A page with a table a benchmark and a column a model.

    Parameters
    ----------
    columns : mapping of str to mapping of str to Result
        What a column is called -> its results, as `load_folder` gives them.
    """
    names = list(dict.fromkeys(name for results in columns.values() for name in results))
    order = [*(name for name in MODULES if name in names), *(name for name in names if name not in MODULES)]
    lines = [
        "# Results",
        "",
        "Made by `tddfa evaluate --all --data DIR -c CONFIG`, which writes `results/evaluate/CONFIG/*.json`, and put "
        "together by `tddfa evaluate --write RESULTS.md results/evaluate/*/`. What is measured, and how, stands at the "
        "top of each module of `tddfa/evaluate`. A dash: not measured, or not defined.",
        "",
    ]
    made_by = {column: _made_by(results) for column, results in columns.items()}
    rows = [
        [label, *(_hash(name, made_by[column].get(name)) for column in columns)]
        for name, label in MADE_BY.items()
        if any(name in settings for settings in made_by.values())
    ]
    lines += [*_grid(["", *columns], rows), ""]
    for name in order:
        lines += _section(name, {column: results.get(name) for column, results in columns.items()})
    return "\n".join(lines)


def _made_by(results: Mapping[str, Result]) -> Mapping[str, Any]:
    return next((result.settings for result in results.values() if "config" in result.settings), {})


def _hash(name: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"`{str(value)[:_SHOWN_OF_HASH]}`" if name.endswith("sha256") else _said(value)


def _said(value: Any) -> str:
    if value is None:
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _section(name: str, results: Mapping[str, Result | None]) -> list[str]:
    there = [result for result in results.values() if result is not None]
    units = {figure.name: figure for result in there for figure in result.figures}
    figures = [
        {} if result is None else {figure.name: figure for figure in result.figures} for result in results.values()
    ]
    rows = []
    for key, figure in units.items():
        told = not figure.unit or figure.label.endswith(figure.unit)
        label = figure.label if told else f"{figure.label}, {figure.unit}"
        rows.append([label, *(shown(column[key]) if key in column else "–" for column in figures)])
    hidden = (*MADE_BY, *_NOT_ON_A_PAGE)
    how = dict.fromkeys(key for result in there for key in result.settings if key not in hidden)
    said = []
    for key in how:
        values = list(dict.fromkeys(_said(result.settings.get(key)) for result in there))
        said.append(f"{key}: {' / '.join(values)}")
    notes = list(dict.fromkeys(note for result in there for note in result.notes))
    lines = [f"## {name}", ""]
    if name in MODULES:
        about = str(module(name).__doc__).partition("\n")[0]
        lines += [_escaped(about), ""]
    if said:
        lines += [_escaped("; ".join(said)) + ".", ""]
    lines += [*_grid(["", *results], rows), ""]
    return lines + ([*(f"- {_escaped(note)}" for note in notes), ""] if notes else [])


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    spelled = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    rule = ["---", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (spelled[0], rule, *spelled[1:])]


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
