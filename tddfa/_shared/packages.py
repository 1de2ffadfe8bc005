"""Messages about packages that have to be installed.

They name the package itself, never an extra of tddfa: tddfa is on no package index yet, and its name there may become
another project's.
"""

from __future__ import annotations

import shlex

REQUIREMENTS = {
    "PIL": "pillow",
    "av": "av",
    "cv2": "opencv-python",
    "imageio": "imageio",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "pi_heif": "pi-heif",
    "pooch": "pooch",
    "pyarrow": "pyarrow",
    "scipy": "scipy",
    "shtab": "shtab",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "tqdm": "tqdm",
    "trimesh": "trimesh",
    "yaml": "pyyaml",
}
"""What pip calls the packages that tddfa imports, by the name of the module."""


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
    """Return the message of an error; if a package was not found, with the command that installs it.

    Examples
    --------
    >>> reason(ModuleNotFoundError("No module named 'yaml'", name="yaml"))
    "No module named 'yaml': pip install pyyaml"
    """
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in REQUIREMENTS or "pip install" in str(error):
        return str(error)
    return f"{error}: pip install {REQUIREMENTS[name]}"
