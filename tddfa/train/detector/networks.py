"""FaceBoxes as a torch network, with a finer feature map and five points per face.

The ideas are those of Zhang et al., "FaceBoxes: A CPU Real-time Face Detector", IJCB 2017: rapidly digested layers with
C.ReLU (section 3.1.1), and prior boxes on feature maps of several scales (3.1.2). The layers behind the first are
depthwise separable, which leaves time for a map of stride 8, and a top-down path brings the context of the coarse maps
to the fine ones (Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from FaceBoxes.anchors import METADATA_KEY, Anchors

SCALE = 128.0
"""The network sees ``pixel / SCALE``. No mean is subtracted: BatchNorm does it, and the border is padded with black."""
POINT_NUMBERS, ROTATION_NUMBERS = 10, 6
"""Outputs per prior box for the five points, and for the rotation of the head."""

MULTIPLE = 32
"""Images are padded to a multiple of this, px. Each map of the top-down path has then twice the sides of the coarser
one, and ONNX Runtime enlarges it by a constant factor in its blocked layout."""

# An untrained network gives every prior box a score of about 0.02.
_FIRST_LOGIT, _HEAD_STD = -4.0, 0.01
_STEM_STRIDE = 4
# The first two columns of no rotation.
_UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Architecture:
    """Size of the network.

    Attributes
    ----------
    stem : int
        Channels of the first convolution, before C.ReLU doubles them.
    stem_side : int
        Side of its kernel, px.
    channels : tuple of int
        Channels of the feature maps of stride 8, 16, 32 and 64.
    blocks : tuple of int
        Residual blocks of each map.
    top_down : bool
        Whether the maps of stride 16 and 8 also see the coarser map.
    rotations : bool
        Whether the rotations of the heads are predicted.
    """

    stem: int = 16
    stem_side: int = 5
    channels: tuple[int, ...] = (48, 96, 128, 128)
    blocks: tuple[int, ...] = (1, 1, 2, 1)
    top_down: bool = True
    rotations: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= len(self.channels) == len(self.blocks):
            raise ValueError(f"channels, blocks: expected the same length, got {self.channels} and {self.blocks}")
        if min(self.stem, *self.channels) < 1 or min(self.blocks) < 0 or self.stem_side % 2 == 0:
            raise ValueError(f"Architecture: expected channels over 0 and an odd stem_side, got {self}")


ANCHORS = Anchors(
    (
        (8, ((16, 1),)),
        (16, ((26, 1), (42, 1))),
        (32, ((68, 1), (108, 1))),
        (64, ((176, 1), (280, 1), (448, 1), (720, 1))),
    ),
    MULTIPLE,
)
"""The prior boxes: from 16 to 720 px, each about 1.6 times as large as the one before."""


class Predictions(NamedTuple):
    """Outputs of the network, per prior box of `FaceBoxes.anchors.Anchors.priors`.

    Attributes
    ----------
    logits : Tensor (n, p)
        Logits of the face scores.
    offsets : Tensor (n, p, 4)
        From the prior boxes to the faces, divided by their variances: `FaceBoxes.anchors.decode`.
    points : Tensor (n, p, 10)
        The five points: `FaceBoxes.anchors.decode_points`.
    rotations : Tensor (n, p, 6) or None
        Of the heads: `FaceBoxes.anchors.decode_rotations`.
    """

    logits: Tensor
    offsets: Tensor
    points: Tensor
    rotations: Tensor | None = None


class Block(nn.Module):
    """A convolution without bias, followed by BatchNorm."""

    def __init__(self, source: int, target: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(source, target, side, stride, side // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(target)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, k, ceil(h / stride), ceil(w / stride))."""
        return self.bn(self.conv(x))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution; without `target`, as many channels, to which the input is added."""

    def __init__(self, source: int, target: int | None = None, stride: int = 1) -> None:
        super().__init__()
        self.depth = Block(source, source, 3, stride, source)
        self.point = Block(source, target or source, 1)
        self.residual = target is None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, k, ceil(h / stride), ceil(w / stride))."""
        y = self.point(functional.relu(self.depth(x)))
        return functional.relu(y + x if self.residual else y)


class FaceBoxes(nn.Module):
    """Rapidly digested layers, then feature maps at several scales, each with its prior boxes.

    Parameters
    ----------
    architecture : Architecture
    anchors : Anchors
        Prior boxes; one feature map for each of `architecture`. Their `multiple` becomes `MULTIPLE`.

    Attributes
    ----------
    frozen_norms : bool
        Keep every BatchNorm in evaluation mode during training. This is set for networks that are read from an ONNX
        file: their BatchNorms were folded into the convolutions and have no statistics.
    """

    def __init__(self, architecture: Architecture | None = None, anchors: Anchors = ANCHORS) -> None:
        super().__init__()
        self.frozen_norms = False
        self.architecture = architecture or Architecture()
        self.anchors = replace(anchors, multiple=MULTIPLE)
        channels, blocks = self.architecture.channels, self.architecture.blocks
        strides = [stride for stride, _ in anchors.maps]
        if strides != [2 * _STEM_STRIDE << i for i in range(len(channels))]:
            raise ValueError(f"anchors: expected a map of stride 8, 16, ... for each of {channels}, got {strides}")
        self.stem = Block(3, self.architecture.stem, self.architecture.stem_side, _STEM_STRIDE)
        sources = (2 * self.architecture.stem, *channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(Separable(a, b, 1 if i == 0 else 2), *(Separable(b) for _ in range(count)))
            for i, (a, b, count) in enumerate(zip(sources, channels, blocks, strict=True))
        )
        fine = range(min(2, len(channels) - 1) if self.architecture.top_down else 0)
        self.lateral = nn.ModuleList(Block(channels[i + 1], channels[i], 1) for i in fine)
        self.fused = nn.ModuleList(Separable(channels[i]) for i in fine)
        self.priors = tuple(sum(density**2 for _, density in sizes) for _, sizes in anchors.maps)
        self.context = nn.ModuleList(Block(c, c, 3, 1, c) for c in channels)
        self.numbers = (1, 4, POINT_NUMBERS, *((ROTATION_NUMBERS,) if self.architecture.rotations else ()))
        self.heads = nn.ModuleList(
            nn.Conv2d(c, sum(self.numbers) * p, 1) for c, p in zip(channels, self.priors, strict=True)
        )
        for head, priors in zip(self.heads, self.priors, strict=True):
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, 0, _HEAD_STD)
            nn.init.zeros_(head.bias)
            with torch.no_grad():
                head.bias[:priors] = _FIRST_LOGIT
                if self.architecture.rotations:
                    head.bias[-ROTATION_NUMBERS * priors :] = torch.tensor(_UPRIGHT).repeat(priors)

    def describe(self) -> dict[str, Any]:
        """What is needed to build the network again."""
        return {
            "architecture": asdict(self.architecture),
            "anchors": self.anchors.to_json(),
            "frozen_norms": self.frozen_norms,
        }

    @staticmethod
    def of_description(described: Mapping[str, Any]) -> FaceBoxes:
        """Build an untrained network from what `describe` returned, also after a round trip through JSON.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it describes something else.
        """
        sizes: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in described["architecture"].items()
        }
        network = FaceBoxes(Architecture(**sizes), Anchors.from_metadata({METADATA_KEY: described["anchors"]}))
        network.frozen_norms = bool(described.get("frozen_norms", False))
        return network

    def with_rotations(self) -> FaceBoxes:
        """Return a network with the same weights that also predicts rotations, by untrained rows of its heads."""
        described = self.describe()
        network = FaceBoxes.of_description({
            **described, "architecture": {**described["architecture"], "rotations": True}
        })  # fmt: skip
        weights = network.state_dict()
        for name, value in self.state_dict().items():
            weights[name][... if value.ndim == 0 else slice(len(value))] = value
        network.load_state_dict(weights)
        return network

    def with_blocks(self, added: Sequence[int]) -> FaceBoxes:
        """Return a network with more blocks on each map, and with the same outputs: a new block adds nothing at first.

        Parameters
        ----------
        added : sequence of int
            New blocks of each map.
        """
        described = self.describe()
        blocks = self.architecture.blocks
        if len(added) != len(blocks) or min(added) < 0:
            raise ValueError(f"added: expected {len(blocks)} numbers of 0 or more, got {tuple(added)}")
        total = tuple(old + new for old, new in zip(blocks, added, strict=True))
        network = FaceBoxes.of_description({
            **described, "architecture": {**described["architecture"], "blocks": total}
        })  # fmt: skip
        network.load_state_dict({**network.state_dict(), **self.state_dict()})
        for stage, old in zip(network.stages, blocks, strict=True):
            assert isinstance(stage, nn.Sequential)
            for block in list(stage)[1 + old :]:
                assert isinstance(block, Separable)
                nn.init.zeros_(block.point.conv.weight)
        return network.train(self.training)

    def train(self, mode: bool = True) -> FaceBoxes:
        """Set training or evaluation mode; frozen BatchNorms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> Predictions:
        """Predict scores, boxes and points of the prior boxes.

        Parameters
        ----------
        images : Tensor (n, 3, h, w)
            BGR, 0..255, of any type.
        """
        padding = [-side % MULTIPLE for side in images.shape[2:]]
        if any(padding):
            images = functional.pad(images, (0, padding[1], 0, padding[0]))
        x = self.stem(images.to(self.stem.conv.weight.dtype) / SCALE)
        x = functional.relu(functional.max_pool2d(torch.cat([x, -x], 1), 3, 2, 1))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for i in reversed(range(len(self.lateral))):
            above = functional.interpolate(self.lateral[i](maps[i + 1]), scale_factor=2, mode="nearest")
            maps[i] = self.fused[i](maps[i] + above)
        parts = []
        n = len(images)
        for features, context, head, priors in zip(maps, self.context, self.heads, self.priors, strict=True):
            y = head(functional.relu(context(features))).permute(0, 2, 3, 1)
            numbers = y.split([priors * count for count in self.numbers], dim=3)
            logits, *others = (value.reshape(n, -1, count) for value, count in zip(numbers, self.numbers, strict=True))
            parts.append((logits[..., 0], *others))
        return Predictions(*(torch.cat(part, 1) for part in zip(*parts, strict=True)))
