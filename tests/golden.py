"""Golden record: the output files of every command, to compare two versions of the package.

Record before and after a change that must not affect results, then compare::

    python tests/golden.py record BEFORE --source OLD_CHECKOUT
    python tests/golden.py record AFTER
    python tests/golden.py compare BEFORE AFTER                    # equal bytes or values
    python tests/golden.py compare BEFORE AFTER --tolerance 1e-5   # maximum difference of numbers

Only the command line is used, so any version can be recorded, whatever the names of its modules. Meshes with the names
of earlier versions are compared with those of today. Jobs without their
inputs (../shared) are skipped, and the output lists them. Times and versions are not compared.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
IMAGE_KINDS = "2d_sparse,2d_dense,3d,depth,pncc,pose,uv_tex,6dof,box,ply,obj,glb"
FRAME_KINDS = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "6dof", "box")
# Keys that differ from run to run, or that describe the machine.
VOLATILE_KEYS = {
    "tddfa",
    "commit",
    "date",
    "seconds",
    "versions",
    "platform",
    "machine",
    "python",
    "cpu",
    "packages",
    "worked",
}
# Files with copies of other results, or with times.
SKIPPED_NAMES = re.compile(r"events\.out\.tfevents|^log|latency|\.part$|metrics\.jsonl$")


@dataclass(frozen=True)
class Job:
    """A command: its arguments, required inputs and accepted exit statuses. It writes to the folder of its name."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[Path, ...] = ()
    statuses: tuple[int, ...] = (0,)


def jobs(inputs: Path, out: Path) -> Iterator[Job]:
    """All jobs. A job may read the output of an earlier one."""
    photos = ROOT / "examples/inputs"
    clip = photos / "videos/crossing.mp4"

    def image(name: str, *options: str, kinds: str = IMAGE_KINDS, config: str = "open_mb05", **more: Any) -> Job:
        chosen = ("-c", config, "-o", kinds, "--show_flag", "false", "--out", str(out / name), "--json")
        return Job(name, ("image", *options, *chosen), **more)

    yield image("image", "-f", str(photos))
    yield image("image_made", "-f", str(inputs), statuses=(0, 1))
    yield image(
        "image_png",
        "-f",
        str(photos / "two_people.jpg"),
        "--format",
        "png",
        "--raw",
        "npy",
        "--uv_mask",
        "--ascii",
        "--vertex_colors",
        "--background",
        "black",
        "--pose_style",
        "axes",
        "--fov",
        "60",
    )
    yield image(
        "image_raw",
        "-f",
        str(photos / "astronaut.jpg"),
        "--raw",
        "png",
        "--refine",
        "0",
        "--alpha",
        "0.4",
        "--uv_size",
        "300",
    )
    yield image("image_int8", "-f", str(photos / "astronaut.jpg"), "--precision", "int8", kinds="2d_sparse,3d")
    yield image("image_boxes", "-f", str(photos / "astronaut.jpg"), "--boxes", str(inputs / "boxes.txt"), kinds="pose")
    yield image("image_multiview", "-f", str(photos), kinds="2d_sparse,3d", config="open_mb05+")
    for kind in FRAME_KINDS:
        yield Job(
            f"video_{kind}",
            ("video", "-f", str(clip), "-o", kind, "-s", "60", "-e", "84", "--out", str(out / f"video_{kind}")),
        )
    for smooth in ("none", "one_euro", "lookahead"):
        for suffix in ("jsonl", "npz", "parquet"):
            name = f"records_{smooth}_{suffix}"
            yield Job(
                name,
                (
                    "video",
                    "-f",
                    str(clip),
                    "-o",
                    "3d",
                    "-s",
                    "100",
                    "-e",
                    "160",
                    "--smooth",
                    smooth,
                    "--compare",
                    "--out",
                    str(out / name),
                    "--save",
                    str(out / name / f"faces.{suffix}"),
                ),
            )
    for name, options in (
        ("align", ()),
        ("align_auto", ("--template", "auto", "--size", "224", "--order", "size")),
        ("align_frontal", ("--frontal", "--format", "png")),
    ):
        yield Job(name, ("align", "-f", str(photos), "--json", *options, "--out", str(out / name)))
    yield Job("synthetic", ("-m", "tddfa.synthetic", "crossing", str(out / "synthetic/crossing"), "--frames", "6"))
    yield Job(
        "evaluate",
        ("evaluate", "--all", "--data", str(SHARED / "eval"), "--limit", "60", "--out", str(out / "evaluate")),
        (SHARED / "eval",),
    )
    yield Job(
        "fetch",
        ("fetch", "3ddfa_v2", "--from", str(SHARED / "upstream"), "--bfm", str(SHARED / "upstream/bfm_standin.npz")),
        (SHARED / "upstream",),
        (0, 1),
    )
    yield image(
        "image_3ddfa_v2", "-f", str(SHARED / "upstream/examples"), config="mb05_120x120", needs=(SHARED / "upstream",)
    )
    yield image(
        "image_exact",
        "-f",
        str(photos / "astronaut.jpg"),
        "--exact-crop",
        config="mb05_120x120",
        kinds="2d_sparse",
        needs=(SHARED / "upstream",),
    )
    yield from training_jobs(out)


def training_jobs(out: Path) -> Iterator[Job]:
    """Labels, additional crops, and one step of each training with a fixed seed."""
    crops, lfpw, detect = out / "train_fit", SHARED / "eval/lfpw", SHARED / "eval/detect"

    def train(name: str, *arguments: str) -> Job:
        return Job(f"train_{name}", ("train", *arguments), (SHARED / "eval",))

    yield train("fit", "fit", str(lfpw), str(crops), "--first", "0.03", "--validation", "0.3")
    for kind in ("turned", "edited", "synthetic"):
        made = str(out / f"train_{kind}")
        yield train(kind, "prepare", kind, made, "--crops", str(crops), "--count", "6")
    yield train("clean", "prepare", "clean", str(out / "train_clean"), "--count", "6")
    for kind in ("agreeing", "inner", "refitted"):
        yield train(kind, "prepare", kind, str(out / f"train_{kind}"), "--crops", str(crops))
    yield train("photos", "prepare", "photos", str(out / "train_photos"), "--photos", str(lfpw), "--first", "0.02")
    made = str(out / "train_nonfaces")
    yield train("nonfaces", "prepare", "nonfaces", made, "--photos", str(detect), "--first", "0.05", "--count", "5")
    for name, more in (
        ("regressor", ("--data", str(crops), "--init", str(ROOT / "weights/open_mb05.onnx"))),
        ("scratch", ("--data", str(crops))),
        ("detector", ()),
        ("multiview", ("--data", str(crops), "--count", "8")),
    ):
        settings = out / f"train_{name}_settings.yml"
        command = {"scratch": "regressor"}.get(name, name)
        yield train(
            name,
            command,
            "--config",
            str(settings),
            "--out",
            str(out / f"train_{name}"),
            "--steps",
            "1",
            "--batch",
            "4",
            "--seed",
            "3",
            "--workers",
            "0",
            *more,
        )


def write_training_settings(source: Path, out: Path) -> None:
    """Write the settings of each task at a small size, with the keys of the recorded version in `source`."""
    import yaml

    for name, config in (
        ("regressor", "open_mb05"),
        ("scratch", "open_mb05"),
        ("detector", "faceboxes"),
        ("multiview", "multiview"),
    ):
        content = yaml.safe_load((source / f"configs/train/{config}.yml").read_text(encoding="utf-8"))
        _absolute(content, source / "configs/train")
        if name == "multiview":
            content["views"].update(heads=2, validation_heads=1)
            content["views"]["kept" if "kept" in content["views"] else "views_per_head"] = 32
        if name == "scratch":
            content.pop("init", None)
        (out / f"train_{name}_settings.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


def _absolute(node: Any, folder: Path) -> None:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, dict | list):
            _absolute(value, folder)
        elif isinstance(value, str) and value.startswith(".."):
            node[key] = str((folder / value).resolve())
            if "/shared/" in node[key]:
                node[key] = str(SHARED / node[key].split("/shared/", 1)[1])


def write_inputs(folder: Path) -> None:
    """Write images without a face, grey, tiny, cropped and rotated, and a file that is no image."""
    folder.mkdir(parents=True)
    astronaut = cv2.imread(str(ROOT / "examples/inputs/astronaut.jpg"))
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    images = {
        "noise.png": noise,
        "grey.png": cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY),
        "tiny.png": np.zeros((1, 1, 3), np.uint8),
        "rolled.jpg": cv2.rotate(astronaut, cv2.ROTATE_90_CLOCKWISE),
        "half.jpg": astronaut[:, : astronaut.shape[1] // 2 + 20],
        "wide.jpg": np.hstack([astronaut] * 4),
    }
    for name, content in images.items():
        cv2.imwrite(str(folder / name), content)
    (folder / "text.jpg").write_text("no image", encoding="utf-8")
    (folder / "boxes.txt").write_text("180 60 280 190\n10 10 60 70\n", encoding="utf-8")


def record(target: Path, source: Path, pattern: str) -> int:
    """Run the jobs whose names match, with the packages of `source`; keep their files in `target`."""
    if target.exists():
        raise SystemExit(f"{target}: expected a new folder, it exists")
    target = target.resolve()
    write_inputs(target / "inputs")
    out = target / "out"
    out.mkdir()
    write_training_settings(source, out)
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "TDDFA_CACHE": str(target / "cache"),
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    failed = 0
    for job in jobs(target / "inputs", out):
        if not re.search(pattern, job.name):
            continue
        missing = [path for path in job.needs if not path.exists()]
        if missing:
            sys.stdout.write(f"skipped {job.name}: {missing[0]} is missing\n")
            continue
        (out / job.name).mkdir(exist_ok=True)
        head = [] if job.arguments[0] == "-m" else ["-m", "tddfa"]
        done = subprocess.run(
            [sys.executable, *head, *job.arguments],
            env=environment,
            cwd=target,
            capture_output=True,
            text=True,
            check=False,
        )
        unexpected = done.returncode not in job.statuses
        failed += unexpected
        sys.stdout.write(f"{'FAILED' if unexpected else 'done'} {job.name}: status {done.returncode}\n")
        if unexpected:
            sys.stdout.write(f"{done.stdout[-2000:]}{done.stderr[-4000:]}\n")
        sys.stdout.flush()
    shutil.rmtree(target / "inputs")
    return 1 if failed else 0


def compare(before: Path, after: Path, tolerance: float, renamed: dict[str, str]) -> int:
    """Print every difference between two records; return the exit status, 0 for equal records."""
    differences = list(_differences(before, after, tolerance, renamed))
    sys.stdout.write("".join(f"{line}\n" for line in differences))
    count = sum(1 for _ in _files(before))
    sys.stdout.write(f"{count} files compared, {len(differences)} differences\n")
    return 1 if differences or not count else 0


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not SKIPPED_NAMES.search(path.name) and not path.name.endswith("_settings.yml"):
            yield path.relative_to(folder)


def _today(path: Path) -> Path:
    """The name that this version gives a file: meshes were once named ``astronaut_obj.obj``."""
    return path.with_name(re.sub(r"_(?:(ply|obj|glb)(?=\.\1$)|obj(?=\.mtl$))", "", path.name))


def _differences(before: Path, after: Path, tolerance: float, renamed: dict[str, str]) -> Iterator[str]:
    old, new = ({_today(path): path for path in _files(folder)} for folder in (before, after))
    yield from (f"{old[path]}: only in {before}" for path in sorted(old.keys() - new.keys()))
    yield from (f"{new[path]}: only in {after}" for path in sorted(new.keys() - old.keys()))
    for path in sorted(old.keys() & new.keys()):
        reader = READERS.get(path.suffix)
        first, second = (before / old[path]).read_bytes(), (after / new[path]).read_bytes()
        if path.suffix == ".obj":
            first, second = (re.sub(rb"(?m)^(mtllib .*?)(_obj)?\.mtl$", rb"\1.mtl", text) for text in (first, second))
        if first == second:
            continue
        if reader is None:
            yield f"{path}: bytes differ"
            continue
        a, b = (_flat(reader(content), renamed if i == 0 else {}) for i, content in enumerate((first, second)))
        lines = list(_unequal(a, b, tolerance))
        yield from (f"{path}: {line}" for line in lines[:5])
        if len(lines) > 5:
            yield f"{path}: {len(lines) - 5} more differences"


def _unequal(a: dict[str, Any], b: dict[str, Any], tolerance: float) -> Iterator[str]:
    yield from (f"{key} is missing" for key in sorted(a.keys() - b.keys()))
    yield from (f"{key} is new" for key in sorted(b.keys() - a.keys()))
    for key in sorted(a.keys() & b.keys()):
        x, y = a[key], b[key]
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.dtype.kind in "fiub" and x.shape == y.shape:
            gap = np.abs(x.astype(np.float64) - y.astype(np.float64))
            gap = np.where(np.isnan(x.astype(np.float64)) & np.isnan(y.astype(np.float64)), 0.0, gap)
            if gap.size and not gap.max() <= tolerance:
                yield f"{key} differs by up to {gap.max():g}"
        elif isinstance(x, int | float) and isinstance(y, int | float):
            if not (abs(x - y) <= tolerance or (x != x and y != y)):
                yield f"{key}: {x} -> {y}"
        elif not np.array_equal(x, y):
            yield f"{key}: {str(x)[:60]} -> {str(y)[:60]}"


def _flat(node: Any, renamed: dict[str, str], prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        items = [(renamed.get(str(key), str(key)), value) for key, value in node.items()]
    elif isinstance(node, list):
        items = [(str(number), value) for number, value in enumerate(node)]
    else:
        return {prefix: node}
    result: dict[str, Any] = {}
    for key, value in items:
        if key not in VOLATILE_KEYS:
            result.update(_flat(value, renamed, f"{prefix}/{key}"))
    return result


def _json_lines(content: bytes) -> Any:
    return [json.loads(line) for line in content.splitlines()]


def _npz(content: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: np.load(io.BytesIO(archive.read(name)), allow_pickle=False) for name in archive.namelist()}


def _parquet(content: bytes) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()


def _torch(content: bytes) -> Any:
    import torch

    def plain(node: Any) -> Any:
        if isinstance(node, torch.Tensor):
            return node.detach().cpu().numpy()
        if isinstance(node, dict):
            return {str(key): plain(value) for key, value in node.items()}
        return [plain(value) for value in node] if isinstance(node, list | tuple) else node

    return plain(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


def _onnx(content: bytes) -> Any:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(content)
    nodes = [f"{node.op_type} {list(node.input)} {list(node.output)}" for node in model.graph.node]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    arrays = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    return {"nodes": nodes, "metadata": metadata, "arrays": arrays}


def _image(content: bytes) -> Any:
    return {"pixels": cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)}


READERS: dict[str, Callable[[bytes], Any]] = {
    ".json": json.loads,
    ".jsonl": _json_lines,
    ".npz": _npz,
    ".npy": lambda c: {"array": np.load(io.BytesIO(c))},
    ".parquet": _parquet,
    ".pt": _torch,
    ".pth": _torch,
    ".onnx": _onnx,
    ".jpg": _image,
    ".png": _image,
}


def main() -> int:
    """Parse the command line and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("target", type=Path)
    recorder.add_argument("--source", type=Path, default=ROOT, help="checkout to record, with compiled extensions")
    recorder.add_argument("--jobs", default="", metavar="REGEX", help="record only jobs whose names match")
    comparer = commands.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    comparer.add_argument("--tolerance", type=float, default=0.0)
    comparer.add_argument("--renamed", action="append", default=[], metavar="OLD=NEW", help="a key with a new name")
    options = parser.parse_args()
    if options.command == "record":
        return record(options.target, options.source.resolve(), options.jobs)
    renamed = dict(pair.split("=", 1) for pair in options.renamed)
    return compare(options.before, options.after, options.tolerance, renamed)


if __name__ == "__main__":
    raise SystemExit(main())
