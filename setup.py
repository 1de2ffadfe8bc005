"""Compiled extensions and package data. The metadata is in pyproject.toml."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
REPOSITORY = "https://github.com/tddfa/tddfa"
MSVC = sys.platform == "win32"
# No -march=native: a wheel must run on every machine of its platform. No contraction: images must be equal on all.
# No debug information, which some builds of Python ask for: it is four fifths of an extension.
FLAGS = (
    ["/O2", "/std:c++17", "/EHsc"] if MSVC else ["-O3", "-g0", "-std=c++17", "-ffp-contract=off", "-fvisibility=hidden"]
)

# these folders are at the top of the repository, and become part of the package
DATA = {"tddfa.configs": "configs", "tddfa.weights": "weights", "tddfa.examples.inputs": "examples/inputs"}
# The default model, its networks in 8 bits, and the small network of scans: a wheel stays under 30 MB. The others are
# in a checkout (tddfa/model/assets.py lists them: NOT_IN_WHEELS).
WEIGHTS = ["open_mb05.onnx", "open_mb05_int8.onnx", "faceboxes.onnx", "faceboxes_int8.onnx", "scan.onnx"]
COMPILER_VARIABLES = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")


class BuildExt(build_ext):
    """Build the extensions that have changed, and copy them beside their sources.

    After ``pip install .``, a script in the checkout (``demo.py``) imports the packages of the checkout, not the
    installed ones. So it needs the extensions there too. A copy that is newer than all it is made of is used again:
    pip builds every installation in an empty folder, and a compilation takes half a minute.
    """

    def run(self) -> None:
        super().run()
        if self.inplace:
            return
        for extension in self.extensions:
            built = Path(self.get_ext_fullpath(extension.name))
            target = self.in_checkout(extension)
            part = target.with_name(f"{target.name}.part")
            try:
                # replaced, not overwritten: a running process that has the file mapped would crash
                shutil.copy2(built, part)
                part.replace(target)
            except OSError as error:  # a read-only checkout is no error
                self.announce(f"{extension.name}: extension not copied into the checkout: {error}", level=3)

    def build_extension(self, ext: Extension) -> None:
        there, built = self.in_checkout(ext), Path(self.get_ext_fullpath(ext.name))
        # not by the C++ that Cython writes: to a new build environment, whose files are new, it is always outdated
        written = (Path(source) for source in ext.sources)
        sources = (path.with_suffix(".pyx") if path.with_suffix(".pyx").is_file() else path for path in written)
        made_of = [*sources, *ext.depends, __file__]
        other_compiler = self.force or any(os.environ.get(name) for name in COMPILER_VARIABLES)
        if there == built.absolute() or other_compiler or not is_newer(there, made_of):
            super().build_extension(ext)
            return
        built.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(there, built)

    def in_checkout(self, extension: Extension) -> Path:
        # the file name has the Python's version and the platform
        return ROOT / self.get_ext_filename(extension.name)


class EditableWheel(editable_wheel):
    """An editable installation by the path of the checkout.

    With folders outside of the packages, setuptools would install an import hook, which loses to any folder of the
    name ``tddfa`` on the path: a script beside the checkout would import that. In a checkout, these folders are read
    where they are (tddfa/model/assets.py).
    """

    def finalize_options(self) -> None:
        self.distribution.packages = [name for name in self.distribution.packages or [] if name not in DATA]
        self.distribution.package_dir = {"": "."}
        super().finalize_options()


def is_newer(path: Path, sources: Sequence[str | Path]) -> bool:
    return path.is_file() and path.stat().st_mtime > max(Path(source).stat().st_mtime for source in sources)


def extension(name: str, *sources: str, **options: object) -> Extension:
    return Extension(name, list(sources), language="c++", extra_compile_args=FLAGS, **options)


def long_description() -> str:
    """Return the README for a package index, where links into the repository need its address."""

    def absolute(link: re.Match[str]) -> str:
        # an image is shown from its file, other links lead to the page of the file
        return f"{link[1]}({REPOSITORY}/{'raw' if link[1].startswith('!') else 'blob'}/v{version[1]}/{link[2]})"

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"(!?\[[^]]*\])\((?!https?:|#)([^)]+)\)", absolute, readme)


version = re.search(r'^__version__ = "(.+)"', (ROOT / "tddfa/__init__.py").read_text(encoding="utf-8"), re.M)
assert version is not None

setup(
    version=version[1],
    long_description=long_description(),
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["tddfa*", "FaceBoxes", "Sim3DR"]), *DATA],
    package_dir=DATA,
    package_data={
        "tddfa": ["py.typed", "*.pyi"],
        "FaceBoxes": ["py.typed", "*.pyi"],
        "Sim3DR": ["py.typed", "*.pyi"],
        "tddfa.draw": ["*.pyi"],
        "tddfa.export": ["*.pyi"],
        "tddfa.geometry": ["*.pyi"],
        "tddfa.model": ["*.pyi"],
        "tddfa.surface": ["*.pyi"],
        "tddfa.modelling": ["*.npz"],
        "tddfa.configs": ["*.yml", "*.npz", "train/*.yml", "evaluate/*.yml"],
        "tddfa.examples.inputs": ["astronaut.jpg"],  # for the self-test of `tddfa info`
        "tddfa.weights": [*WEIGHTS, "*.md", "*.yml"],
    },
    ext_modules=cythonize(
        [
            extension("FaceBoxes._decode", "FaceBoxes/_decode.pyx"),
            extension("FaceBoxes._nms", "FaceBoxes/_nms.pyx"),
            extension(
                "Sim3DR._native",
                "Sim3DR/_native.pyx",
                *(
                    f"Sim3DR/core/{name}.cpp"
                    for name in ("rasterize", "band_avx2", "compositing", "interpolate", "memory")
                ),
                include_dirs=["Sim3DR/core"],
                depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "Sim3DR/core").glob("*.h")),
                extra_link_args=[] if MSVC else ["-pthread"],
            ),
            extension(
                "tddfa._crops", "tddfa/_crops.pyx", "tddfa/crops.cpp", include_dirs=["tddfa"], depends=["tddfa/crops.h"]
            ),
            extension(
                "tddfa.draw._lines",
                "tddfa/draw/_lines.pyx",
                "tddfa/draw/lines.cpp",
                include_dirs=["tddfa/draw"],
                depends=["tddfa/draw/lines.h"],
            ),
            extension("tddfa.export._text", "tddfa/export/_text.pyx"),
            extension("tddfa.geometry._squares", "tddfa/geometry/_squares.pyx"),
            extension(
                "tddfa.model._basis",
                "tddfa/model/_basis.pyx",
                "tddfa/model/basis.cpp",
                include_dirs=["tddfa/model"],
                depends=["tddfa/model/basis.h"],
            ),
            extension(
                "tddfa.surface._texels",
                "tddfa/surface/_texels.pyx",
                *(
                    f"tddfa/surface/{name}.cpp"
                    for name in (
                        "eyes",
                        "filling",
                        "mixing",
                        "mixing_avx2",
                        "mouth",
                        "outline",
                        "skin",
                        "texels",
                        "vertices",
                    )
                ),
                include_dirs=["tddfa/surface"],
                depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tddfa/surface").glob("*.h")),
            ),
        ],
        compiler_directives={"language_level": 3, "freethreading_compatible": True},
    ),
    cmdclass={"build_ext": BuildExt, "editable_wheel": EditableWheel},
    include_package_data=False,  # else the C++ files that Cython writes would be included
    zip_safe=False,
)
