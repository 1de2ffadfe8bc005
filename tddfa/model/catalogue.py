"""Licence and accuracy of the models that can be used by name, from ``weights/models.yml``."""

from __future__ import annotations

from dataclasses import dataclass

from tddfa._shared.settings import build_settings, read_mapping
from tddfa.model.assets import data_folder


@dataclass(frozen=True)
class Accuracy:
    """Figures of RESULTS.md and ``weights/README.md``, on crops from the ground truth; lower is better.

    Attributes
    ----------
    aflw2000_3d : float or None
        AFLW2000-3D, %: 2D NME of the 68 landmarks in the convention of the labels, mean of the yaw bins.
    lfpw : float or None
        LFPW, last 30 % by name, %: NME of the inner 51 landmarks.
    pose : float or None
        AFLW2000-3D, degrees: mean error of the angles.
    """

    aflw2000_3d: float | None = None
    lfpw: float | None = None
    pose: float | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model.

    Attributes
    ----------
    name : str
        As in ``-c``.
    license : str
    accuracy, accuracy_int8 : Accuracy
        Accuracy of its networks, and of its 8-bit networks.
    """

    name: str
    license: str
    accuracy: Accuracy = Accuracy()
    accuracy_int8: Accuracy = Accuracy()


def model_cards() -> dict[str, ModelCard]:
    """Return the shipped models and those that ``tddfa fetch`` gets, by name.

    Raises
    ------
    ConfigError
        If the table cannot be read.

    Examples
    --------
    >>> model_cards()["open_mb05"].license
    'MIT'
    """
    path = data_folder() / "weights/models.yml"
    return {name: build_settings(ModelCard, card, path, name=name) for name, card in read_mapping(path).items()}
