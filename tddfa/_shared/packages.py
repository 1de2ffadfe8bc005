"""Messages about packages that have to be installed.

They name the package itself, never an extra of tddfa: tddfa is on no package index yet, and its name there may become
another project's.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable

REQUIREMENTS = {
    "PIL": "pillow",
    "av": "av",
    "cv2": "opencv-python",
    "fastapi": "fastapi",
    "fastapi_offline": "fastapi-offline",
    "fsspec": "fsspec",
    "gradio": "gradio",
    "imageio": "imageio",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "pi_heif": "pi-heif",
    "pooch": "pooch",
    "prometheus_client": "prometheus-client",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "python_multipart": "python-multipart",
    "pythonosc": "python-osc",
    "ray": "ray[data]",
    "scipy": "scipy",
    "shtab": "shtab",
    "starlette": "starlette",
    "supervision": "supervision",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "tqdm": "tqdm",
    "trimesh": "trimesh",
    "typing_extensions": "typing-extensions",
    "uvicorn": "uvicorn",
    "yaml": "pyyaml",
}
"""Names of the packages in pip, by the names of the modules that tddfa imports."""

VARIANTS = {
    "opencv-python": (
        "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
    ),
    "onnxruntime": (
        "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-migraphx",
    ),
}  # fmt: skip
"""Packages that have the same module: the usual one, and all of them."""

# Libraries of the system that opencv-python loads for its windows: their packages in Debian and in Fedora.
_LIBRARIES = {
    "libGL.so.1": ("libgl1", "libglvnd-glx"),
    "libSM.so.6": ("libsm6", "libSM"),
    "libX11.so.6": ("libx11-6", "libX11"),
    "libXext.so.6": ("libxext6", "libXext"),
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "glib2"),
    "libxcb.so.1": ("libxcb1", "libxcb"),
}


def needs(subject: str, *requirements: str) -> str:
    """Return a line that names what is missing, and the command that installs it.

    Examples
    --------
    >>> needs("glb", "trimesh")
    'glb needs trimesh: pip install trimesh'
    >>> needs("AVIF", "pillow>=11.3")
    "AVIF needs pillow>=11.3: pip install 'pillow>=11.3'"
    """
    return f"{subject} needs {' and '.join(requirements)}: pip install {shlex.join(requirements)}"


def reason(error: BaseException) -> str:
    """Return the message of an error, with the command that installs a missing package or library.

    The message of a system error begins with the file.

    Examples
    --------
    >>> reason(PermissionError(13, "Permission denied", "faces.jsonl"))
    'faces.jsonl: Permission denied'
    >>> reason(ModuleNotFoundError("No module named 'yaml'", name="yaml"))
    "No module named 'yaml': pip install pyyaml"
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").split(".")[0]
        known = name in REQUIREMENTS and "pip install" not in text
        return f"{text}: pip install {REQUIREMENTS[name]}" if known else text
    library = re.match(r"(lib\S+\.so\.\d+): cannot open shared object file", text)
    if isinstance(error, ImportError) and library and library[1] in _LIBRARIES:
        debian, fedora = _LIBRARIES[library[1]]
        return (
            f"opencv-python needs {library[1]}: apt install {debian} (Debian, Ubuntu), dnf install {fedora} (Fedora), "
            "or replace opencv-python by opencv-python-headless, which has no windows"
        )
    return text


def conflicts(folders: Iterable[str] | None = None) -> list[str]:
    """Return a line for each group of installed packages that share a folder, and overwrite each other's files.

    Parameters
    ----------
    folders : iterable of str, optional
        Where packages are installed (default: ``sys.path``).

    Examples
    --------
    >>> for name in ("onnxruntime-1.18.0.dist-info", "onnxruntime_gpu-1.18.0.dist-info"):
    ...     (tmp / name).mkdir()
    >>> conflicts([str(tmp)])
    ['onnxruntime and onnxruntime-gpu are installed, and share their files: uninstall both, then install one']
    """
    lines = []
    for folder in sys.path if folders is None else folders:  # noqa: TID251  (read, not changed)
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  (as fast as it can be: every command calls it)
        except OSError:  # a zip file, or nothing
            continue
        installed = {
            name.partition("-")[0].replace("_", "-").lower()
            for name in names
            if name.endswith(".dist-info") and name.lower().startswith(("opencv", "onnxruntime"))
        }
        groups = ([name for name in group if name in installed] for group in VARIANTS.values())
        lines += [
            f"{' and '.join(group)} are installed, and share their files: "
            f"uninstall {'both' if len(group) == 2 else 'all'}, then install one"
            for group in groups
            if len(group) > 1
        ]
    return lines
