"""``tddfa info``: what a report of a problem needs. A part of the installation that is broken costs its own line."""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tddfa import __version__
from tddfa._shared.packages import VARIANTS
from tddfa.cli._common import FAILED, print_line
from tddfa.model import assets

_TIMEOUT = 120  # s
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[^]]*)\])?")
_EXTRA = re.compile(r"""extra == ["']([\w-]+)["']""")


class _FailedError(Exception):
    """A check found something wrong; the message is the whole line."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "info",
        help="print versions, providers and folders, and run a self-test",
        description="Print what a report of a problem needs: versions, extras, providers, folders of models and "
        "cache, and the result of a self-test on the example photo. Exit status: 0; 1 if a line has failed.",
    )
    parser.set_defaults(run=run_info)


def run_info(_options: argparse.Namespace) -> int:
    """Run ``tddfa info``; return the exit status: 1 if a check failed."""
    failed = False
    for label, check in _CHECKS:
        try:
            text = check()
        except BrokenPipeError:
            raise  # the reader of the output is gone
        except Exception as error:  # whatever is broken: the other lines are printed
            kind = "" if isinstance(error, _FailedError) else f"{type(error).__name__}: "
            text, failed = f"FAILED: {kind}{' '.join(str(error).split())}", True
        for index, line in enumerate(text.splitlines()):
            print_line(f"{'' if index else label:13} {line}")
    return FAILED if failed else 0


def _short(path: Path) -> str:
    """The path, without the name of the user where it is in the home folder."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):  # elsewhere, or no home folder
        return str(path)


def _tddfa() -> str:
    return f"{__version__}, in {_short(Path(__file__).resolve().parents[2])}"


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}), {_short(Path(sys.executable))}"


def _system() -> str:
    return f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} cores"


def _version(name: str) -> str | None:
    from importlib import metadata  # takes as long to load as all commands together

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements(package: str, extra: str | None) -> dict[str, str]:
    """What a package requires, or what an extra of it adds: name -> extras of that package."""
    from importlib import metadata

    found = {}
    for text in metadata.requires(package) or ():
        marked = _EXTRA.search(text)
        requirement = _REQUIREMENT.match(text)
        if requirement is not None and (None if marked is None else marked[1]) == extra:
            found[requirement["name"]] = requirement["extras"] or ""
    return found


def _installed(name: str) -> list[str]:
    """The packages that meet a requirement, with their versions: it, or variants of it."""
    versions = ((variant, _version(variant)) for variant in VARIANTS.get(name, (name,)))
    return [f"{variant} {version}" for variant, version in versions if version is not None]


def _packages() -> str:
    if _version("tddfa") is None:
        raise _FailedError("tddfa is not installed as a package, so its requirements are not known")
    usual = {variant: name for name, variants in VARIANTS.items() for variant in variants}
    found = {name: _installed(name) for name in dict.fromkeys(usual.get(n, n) for n in _requirements("tddfa", None))}
    missing = [name for name, versions in found.items() if not versions]
    if missing:
        raise _FailedError(f"missing: pip install {' '.join(missing)}")
    several = [" and ".join(versions) for versions in found.values() if len(versions) > 1]
    lines = [", ".join(version for versions in found.values() for version in versions)]
    return "\n".join([*lines, *(f"warning: {names} write the same files" for names in several)])


def _extras() -> str:
    from importlib import metadata

    if _version("tddfa") is None:
        raise _FailedError("tddfa is not installed as a package, so its extras are not known")
    names = metadata.metadata("tddfa").get_all("Provides-Extra") or []
    return "\n".join(f"{name:11} {_extra(_requirements('tddfa', name))}" for name in names)


def _extra(requirements: dict[str, str]) -> str:
    """Whether the packages of an extra are installed, and the command that installs them."""
    missing = [name for name in requirements if _version(name) is None]
    for name, extras in requirements.items():
        nested = (part for extra in extras.split(",") if extra for part in _requirements(name, extra.strip()))
        if name not in missing and any(_version(part) is None for part in nested):
            missing.append(f"'{name}[{extras}]'")
    if missing:
        return f"missing: pip install {' '.join(missing)}"
    return ", ".join(f"{name} {_version(name)}" for name in requirements)


def _models() -> str:
    folder = assets.data_folder()
    others = os.environ.get(assets.WEIGHTS_VARIABLE)
    problems = []
    if others and not Path(others).is_dir():
        problems.append(f"{assets.WEIGHTS_VARIABLE}: expected a folder, got {others}")
    left_out = [name for name in assets.NOT_IN_WHEELS if not assets.located(folder / name).is_file()]
    names = [name for name in assets.REGISTRY if name not in left_out]
    for name in names:
        try:
            assets.verified(folder / name)
        except (assets.AssetError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise _FailedError("; ".join(problems))
    missing = f"; {len(left_out)} more are in a checkout (--weights DIR)" if left_out else ""
    used = f"; {assets.WEIGHTS_VARIABLE} is {others}" if others else ""
    return f"{len(names)} files as released, in {_short(folder)}{missing}{used}"


def _cache() -> str:
    folder = assets.cache_folder()
    moved = f" ({assets.CACHE_VARIABLE} is set)" if os.environ.get(assets.CACHE_VARIABLE) else ""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _FailedError(f"{_short(existing)} is not a folder that can be written{moved}")
    if existing != folder:
        return f"{_short(folder)}{moved}: empty"
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    models = ", ".join(path.stem for path in sorted(folder.glob("*/*.yml"))) or "none"
    count = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
    return f"{_short(folder)}{moved}: {count}, {sum(sizes) / 1e6:.1f} MB; fetched models: {models}"


def _in_child(probe: str) -> str:
    """Run a function of `tddfa.cli.installation.probes` in another process: it may crash."""
    # it finds packages where this process does, also if the working folder has others of the same name
    code = f"import sys; sys.path[:] = {sys.path!r}; "  # noqa: TID251
    code += f"from tddfa.cli.installation import probes; print(probes.{probe}())"
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT, check=False, encoding="utf-8", errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise _FailedError(f"no result within {_TIMEOUT} s") from None
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0:
        return "\n".join([*done.stdout.splitlines(), *(f"warning: {line}" for line in errors)])
    raise _FailedError("; ".join([*_ending(done.returncode), *errors[-1:]]))


def _ending(status: int) -> Iterable[str]:
    """How a process ended that did not return 1, the status of an exception."""
    if status < 0:
        yield f"ended by {signal.Signals(-status).name}"
    elif status != 1:
        yield f"ended with status {status}"


_CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("tddfa", _tddfa),
    ("Python", _python),
    ("system", _system),
    ("packages", _packages),
    ("extras", _extras),
    ("OpenCV", partial(_in_child, "opencv")),
    ("ONNX Runtime", partial(_in_child, "onnxruntime")),
    ("models", _models),
    ("cache", _cache),
    ("self-test", partial(_in_child, "self_test")),
)
