"""The compiled extensions, and the package data that lives beside the packages; metadata is in pyproject.toml."""

import re
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
MSVC = sys.platform == "win32"
# No -march=native: a wheel runs on any machine of its platform. No contraction: the same picture on each of them.
FLAGS = ["/O2", "/std:c++17", "/EHsc"] if MSVC else ["-O3", "-std=c++17", "-ffp-contract=off", "-fvisibility=hidden"]


class BuildExt(build_ext):
    """Build the extensions, and leave a copy beside their sources.

    After a plain ``pip install .`` a script that runs in the checkout (``demo.py``) imports the packages of
    the checkout, not the installed ones, and needs the extensions there too.
    """

    def run(self) -> None:
        super().run()
        if self.inplace:
            return
        for extension in self.extensions:
            built = Path(self.get_ext_fullpath(extension.name))
            target = ROOT / self.get_ext_filename(extension.name)
            part = target.with_name(f"{target.name}.part")
            try:
                # never written over: a process that runs has it mapped, and would crash
                shutil.copy2(built, part)
                part.replace(target)
            except OSError as error:  # a read-only checkout is no reason to fail
                self.announce(f"extension not copied into the checkout: {error}", level=3)


def extension(name: str, *sources: str, **options: object) -> Extension:
    return Extension(name, list(sources), language="c++", extra_compile_args=FLAGS, **options)


version = re.search(r'^__version__ = "(.+)"', (ROOT / "tddfa/__init__.py").read_text(encoding="utf-8"), re.M)
assert version is not None

setup(
    version=version[1],
    packages=[*find_packages(include=["tddfa*", "FaceBoxes", "Sim3DR"]), "tddfa.configs", "tddfa.weights"],
    # configs/ and weights/ stand at the top of the repository and travel inside the package
    package_dir={"tddfa.configs": "configs", "tddfa.weights": "weights"},
    package_data={
        "tddfa": ["py.typed"],
        "FaceBoxes": ["py.typed", "*.pyi"],
        "Sim3DR": ["py.typed", "*.pyi"],
        "tddfa.export": ["*.pyi"],
        "tddfa.modelling": ["*.npz"],
        "tddfa.configs": ["*.yml", "*.npz", "train/*.yml"],
        "tddfa.weights": ["*.onnx", "*.md"],
    },
    ext_modules=cythonize(
        [
            extension("FaceBoxes._nms", "FaceBoxes/_nms.pyx"),
            extension(
                "Sim3DR._native",
                "Sim3DR/_native.pyx",
                *(f"Sim3DR/core/{name}.cpp" for name in ("rasterize", "band_avx2", "picture", "memory")),
                include_dirs=["Sim3DR/core"],
                depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "Sim3DR/core").glob("*.h")),
                extra_link_args=[] if MSVC else ["-pthread"],
            ),
            extension("tddfa.export._text", "tddfa/export/_text.pyx"),
        ],
        compiler_directives={"language_level": 3, "freethreading_compatible": True},
    ),
    cmdclass={"build_ext": BuildExt},
    include_package_data=False,  # or the C++ that Cython writes would travel too
    zip_safe=False,
)
