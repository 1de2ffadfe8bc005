"""What a kind of output is: `Kind`, and its two sorts, `ImageKind` and `MeshKind`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.draw import Background
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.outputs.options import Options
from tddfa.outputs.prepared import Image, Prepared

NO_VOLUMES = "expected a model that predicts volumes (jvcr_s), got one that predicts a mesh"
"""Message if a kind of output needs volumes and there are none."""

NO_MESH = "expected a model with a mesh, got one of 68 points; --fit-mesh fits a mesh to them"
"""Message if a kind of output needs a mesh and there is none."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of output: a row of `KINDS`. Everything that depends on the kind is here.

    Attributes
    ----------
    name : str
        As in ``-o`` and in file names.
    help : str
        What it shows or holds: a lower-case fragment.
    options : tuple of str
        The fields of `Options` that have an effect, besides `Options.suffix`.
    needs : tuple of str
        The modules of optional packages (`tddfa._shared.packages.REQUIREMENTS`).
    summary : function, optional
        `Outputs` -> a line of text per face, to be printed.
    takes : {"landmarks", "mesh", "volumes"}
        What a face must have: only landmarks; a mesh, which `tddfa.jvcr` does not predict; or the volumes of
        `tddfa.jvcr`.
    """

    name: str
    help: str
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    summary: Callable[[Prepared], list[str]] | None = None
    takes: Literal["landmarks", "mesh", "volumes"] = "landmarks"

    def missing(self, aligner: Aligner) -> str | None:
        """Return a line that says what the faces of an aligner lack for this kind; None if they lack nothing.

        Examples
        --------
        >>> from tddfa.outputs import KINDS
        >>> KINDS["volume"].missing(aligner)
        '-o volume: expected a model that predicts volumes (jvcr_s), got one that predicts a mesh'
        """
        if self.takes == "mesh" and not aligner.decoder.has_mesh:
            return f"-o {self.name}: {NO_MESH}"
        if self.takes == "volumes" and not isinstance(aligner.regressor, JvcrRegressor):
            return f"-o {self.name}: {NO_VOLUMES}"
        return None

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        raise NotImplementedError

    def save(self, outputs: Prepared, stem: Path) -> list[Path]:
        """Write the files; return their paths, the main one first."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ExtraFile:
    """A file beside an image, written when an option asks for it.

    Attributes
    ----------
    ending : function
        `Options` -> what follows ``<stem>_<kind>`` in its name; None if the options do not ask for the file.
    write : function
        Writes it to a path.
    """

    ending: Callable[[Options], str | None]
    write: Callable[[Prepared, Path], object]


_COLORS: tuple[Background, Background] = ("black", "white")


def _with_alpha(over_black: Image, over_white: Image) -> Image:
    """The BGRA image that looks like these over black and over white."""
    opacity = 255 - (over_white.astype(np.int16) - over_black).min(axis=2, keepdims=True).clip(0, 255)
    colors = np.rint(over_black * (255 / np.maximum(opacity, 1))).clip(0, 255)
    return np.concatenate([colors, opacity], axis=2).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class ImageKind(Kind):
    """A kind that is drawn: an image, or each frame of a video.

    Attributes
    ----------
    make : function
        `Outputs` -> BGR image.
    over_image : bool
        Whether it is drawn over the image, and has the size of the image.
    extra_files : tuple of ExtraFile
        Files beside the image.

    Examples
    --------
    >>> from tddfa.outputs import ImageKind, Outputs
    >>> negative = ImageKind(name="negative", help="the negative of the image", make=lambda o: 255 - o.image)
    >>> [path.name for path in negative.save(Outputs(image, [], aligner), tmp / "me")]
    ['me_negative.jpg']
    """

    make: Callable[[Prepared], Image]
    over_image: bool = True
    extra_files: tuple[ExtraFile, ...] = ()

    def draw(self, outputs: Prepared) -> Image:
        """Draw the image: BGR, or BGRA if the options ask for a transparent background and it has one."""
        options = outputs.options
        if not options.transparent or "transparent" not in self.options:
            return self.make(outputs)
        over_black, over_white = (
            self.make(replace(outputs, options=replace(options, background=color))) for color in _COLORS
        )
        return _with_alpha(over_black, over_white)

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        extra = (file.ending(options) for file in self.extra_files)
        return [re.escape(f"_{self.name}{end}") for end in (options.suffix, *extra) if end is not None]

    def save(self, outputs: Prepared, stem: Path) -> list[Path]:
        """Write the image, and the files beside it that the options ask for; return their paths."""
        base = f"{stem.name}_{self.name}"
        paths = [image_io.write(stem.with_name(base + outputs.options.suffix), self.draw(outputs))]
        for file in self.extra_files:
            ending = file.ending(outputs.options)
            if ending is not None:
                paths.append(stem.with_name(base + ending))
                file.write(outputs, paths[-1])
        return paths


@dataclass(frozen=True, kw_only=True)
class MeshKind(Kind):
    """A kind that is a 3D file.

    Attributes
    ----------
    make : function
        Writes the file to a path, and others beside it; gives all paths, the main one first.
    suffix : str
        Of the main file.
    side_files : tuple of str
        Endings of the names of the files beside it: regular expressions. Those of images begin with ``_<kind>``, so
        that they neither replace photos nor the images of other kinds.
    """

    make: Callable[[Prepared, Path], list[Path]]
    suffix: str
    side_files: tuple[str, ...] = ()

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        kind = re.escape(f"_{self.name}") if options.kind_in_mesh_names else ""
        return [kind + re.escape(self.suffix), *self.side_files]

    def save(self, outputs: Prepared, stem: Path) -> list[Path]:
        """Write the files; return their paths, the main one first."""
        kind = f"_{self.name}" if outputs.options.kind_in_mesh_names else ""
        return self.make(outputs, stem.with_name(f"{stem.name}{kind}{self.suffix}"))
