"""Labelled crops of several folders, opened as one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.train.data.shards import Labels, Shard, write_shard

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]

# Balanced by pose, a crop is drawn at most this many times as often as one of the most frequent pose.
_MAX_BALANCE = 20.0
_YAW_BINS = np.arange(0.0, 181.0, 10.0)


class Crops:
    """Labelled crops of several folders.

    Attributes
    ----------
    labels : Labels
        Of all crops.
    """

    def __init__(self, shards: Sequence[Shard], labels: Labels, place: NDArray[np.int64], weight: Floats) -> None:
        self._shards, self.labels, self._place, self._weight = list(shards), labels, place, weight

    @classmethod
    def open(cls, folders: Iterable[str | os.PathLike[str] | tuple[str | os.PathLike[str], float]]) -> Crops:
        """Open folders of crops.

        Parameters
        ----------
        folders : iterable of path or (path, float)
            With a weight: how often each crop of the folder is drawn, relative to a crop of weight 1.

        Raises
        ------
        FileNotFoundError, ValueError
            If a folder is missing or damaged, if folders have coefficients of different face models, or if a weight is
            not over 0.
        """
        shards, weights = [], []
        for entry in folders:
            folder, weight = entry if isinstance(entry, tuple) else (entry, 1.0)
            if not (np.isfinite(weight) and weight > 0):
                raise ValueError(f"{folder}: expected a weight over 0, got {weight}")
            shards.append(Shard(folder))
            weights.append(float(weight))
        if not shards:
            raise ValueError("folders: expected at least one, got none")
        for shard in shards:
            for name in ("shape", "expression"):
                got, want = (getattr(part.labels, name).shape[1] for part in (shard, shards[0]))
                if got != want:
                    wanted = f"{want} coefficients, as in {shards[0].folder}"
                    raise ValueError(f"{shard.folder}: {name}: expected {wanted}, got {got}")
        if not any(map(len, shards)):
            raise ValueError(f"{', '.join(str(shard.folder) for shard in shards)}: expected crops, got none")
        place = np.concatenate(
            [[(i, row) for row in range(len(shard))] for i, shard in enumerate(shards) if len(shard)]
        )
        weight_of_row = np.repeat(weights, [len(shard) for shard in shards]).astype(np.float32)
        return cls(shards, Labels.joined(shard.labels for shard in shards), place, weight_of_row)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> dict[str, int]:
        """How many crops there are of each source."""
        names, counts = np.unique(self.labels.source, return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def take(self, rows: Rows | Flags) -> Crops:
        """Some of the crops, by number or by mask."""
        return Crops(self._shards, self.labels.take(rows), self._place[rows], self._weight[rows])

    def split(self, validation: bool) -> Crops:
        """The crops for validation, or those for training."""
        return self.take(self.labels.validation == validation)

    def with_labels(self, labels: Labels) -> Crops:
        """The same crops with other labels, one for each."""
        part = self.take(np.arange(len(self)))
        part.labels = labels
        return part

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write the crops and their labels to a folder, see `tddfa.train.data.shards.write_shard`."""
        return write_shard(folder, [self.jpeg(row) for row in range(len(self))], self.labels)

    def image(self, row: int) -> Image:
        """Decode a crop (size, size, 3), read-only.

        Raises
        ------
        ValueError
            If its file is not a JPEG, or not square.
        """
        shard, at = (int(v) for v in self._place[row])
        data = self._shards[shard].jpeg(at)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None or image.shape[0] != image.shape[1]:
            got = "no image" if image is None else f"{image.shape[1]} x {image.shape[0]} px"
            raise ValueError(f"{self._shards[shard].name(at)}: expected a square JPEG, got {got}")
        return np.asarray(image)

    def jpeg(self, row: int) -> bytes:
        """A crop's file, as it is stored."""
        shard, at = (int(v) for v in self._place[row])
        return self._shards[shard].jpeg(at).tobytes()

    def yaw(self) -> Floats:
        """Yaw (n,) in degrees, as `tddfa.geometry.camera` has it; 0 where it is not known."""
        z_axis = self.labels.camera[:, :, 2]
        return np.degrees(
            np.where(self.labels.has_params & self.labels.face, np.arctan2(z_axis[:, 0], z_axis[:, 2]), 0)
        )

    def weights(self, balance: float = 0.0) -> NDArray[np.float64]:
        """How often each crop is drawn (n,), on average 1.

        Parameters
        ----------
        balance : float
            0 draws crops by the weights of their folders. 1 draws each 10 degrees of absolute yaw equally often, but no
            crop more than 20 times as often as one of the most frequent yaw. Values between interpolate.

        Raises
        ------
        ValueError
            If `balance` is not in 0..1.
        """
        if not 0 <= balance <= 1:
            raise ValueError(f"balance: expected 0..1, got {balance}")
        weight = self._weight.astype(np.float64)
        posed = self.labels.has_params & self.labels.face
        if balance and posed.any():
            bins = np.digitize(np.abs(self.yaw()), _YAW_BINS)
            mass = np.bincount(bins[posed], weights=weight[posed], minlength=len(_YAW_BINS) + 1)
            factor = (mass.max() / np.maximum(mass, 1e-9)) ** balance
            factor = np.minimum(factor, _MAX_BALANCE)[bins]
            before = weight[posed].sum()
            weight[posed] *= factor[posed]
            weight[posed] *= before / weight[posed].sum()
        return weight / max(float(weight.mean()), 1e-12)
