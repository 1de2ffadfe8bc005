"""JVCR as torch networks: crops to volumes by stacked hourglasses, the last volume to points by 3D convolutions.

After Zhang et al., "Joint Voxel and Coordinate Regression for Accurate 3D Facial Landmark Localization", ICPR 2018, on
stacked hourglasses (Newell et al., ECCV 2016).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tddfa.jvcr.grid import POINT_COUNT
from tddfa.train.jvcr.settings import LAST_SIDE, NetworkSettings
from tddfa.train.regressor.networks import PIXEL_MEAN, PIXEL_SCALE, MobileNet

_SLOPE = 0.2
_STEM_CHANNELS = 64


class Prediction(NamedTuple):
    """Prediction for n crops.

    Attributes
    ----------
    volumes : tuple of Tensor (n, depth, side, side)
        One per stack.
    points : Tensor (n, 71, 3)
        px of the crop, see `tddfa.jvcr.grid`.
    """

    volumes: tuple[Tensor, ...]
    points: Tensor


class Bottleneck(nn.Module):
    """Pre-activated residual block of 1 x 1, 3 x 3 and 1 x 1 convolutions (He et al., ECCV 2016)."""

    def __init__(self, source: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(source), nn.ReLU(), nn.Conv2d(source, features, 1),
            nn.BatchNorm2d(features), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1),
            nn.BatchNorm2d(features), nn.ReLU(), nn.Conv2d(features, 2 * features, 1),
        )  # fmt: skip
        self.skip = nn.Conv2d(source, 2 * features, 1) if source != 2 * features else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Add the block's output to its input."""
        out: Tensor = self.skip(features) + self.layers(features)
        return out


class Separable(nn.Module):
    """Residual depthwise separable convolution, with one BatchNorm and one ReLU."""

    def __init__(self, source: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(source, source, 3, padding=1, groups=source, bias=False),
            nn.Conv2d(source, features, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(),
        )
        self.residual = source == features

    def forward(self, features: Tensor) -> Tensor:
        """Add the block's output to its input, where they have equally many channels."""
        out: Tensor = self.layers(features)
        return out + features if self.residual else out


class Blocks:
    """What the stacks are built of: `blocks` blocks of one kind and width."""

    def __init__(self, settings: NetworkSettings) -> None:
        self.bottleneck, self.count, self.features = settings.block == "bottleneck", settings.blocks, settings.features
        self.channels = 2 * self.features if self.bottleneck else self.features

    def __call__(self, source: int | None = None) -> nn.Sequential:
        """Make blocks, the first of them on `source` channels."""
        kind = Bottleneck if self.bottleneck else Separable
        first = self.channels if source is None else source
        return nn.Sequential(*(kind(first if i == 0 else self.channels, self.features) for i in range(self.count)))


class Hourglass(nn.Module):
    """An hourglass: pooled `levels` times, then enlarged again, with a branch at each size."""

    def __init__(self, blocks: Blocks, levels: int) -> None:
        super().__init__()
        self.branch, self.before, self.after = blocks(), blocks(), blocks()
        self.inner: nn.Module = Hourglass(blocks, levels - 1) if levels > 1 else blocks()

    def forward(self, features: Tensor) -> Tensor:
        """Keep shape and channels."""
        low = self.after(self.inner(self.before(functional.max_pool2d(features, 2))))
        out: Tensor = self.branch(features) + functional.interpolate(low, scale_factor=2.0, mode="nearest")
        return out


class Stem(nn.Module):
    """Crops to features of a fourth of their side, as published."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 7, stride=2, padding=3), nn.BatchNorm2d(_STEM_CHANNELS), nn.ReLU()
        )
        middle = 2 * _STEM_CHANNELS
        self.second = Bottleneck(_STEM_CHANNELS, _STEM_CHANNELS)
        self.third = Bottleneck(middle, _STEM_CHANNELS)
        self.fourth = blocks(middle)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features (n, channels, h / 4, w / 4)."""
        out: Tensor = self.fourth(self.third(functional.max_pool2d(self.second(self.first(images)), 2)))
        return out


class Pyramid(nn.Module):
    """First stack on a MobileNet: its features at a fourth of the crop's side and below, joined from the last up."""

    def __init__(self, blocks: Blocks, width: float) -> None:
        super().__init__()
        self.backbone = MobileNet(width)
        channels = []
        for before, after in zip(self._convolutions(), [*self._convolutions()[1:], None], strict=True):
            if after is None or after.stride[0] == 2:
                channels.append(before.out_channels)
        # the first ends at half the side
        self.lateral = nn.ModuleList(nn.Conv2d(count, blocks.channels, 1) for count in channels[1:])
        self.joined = nn.ModuleList(blocks() for _ in channels[1:])
        self.frozen = False

    def freeze(self, frozen: bool) -> None:
        """Keep the weights and BatchNorm statistics of the MobileNet, or train them."""
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Pyramid:
        """Set the mode; a frozen MobileNet stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def _convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer, _ in self.backbone.convolutions()]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the input and the output of the first stack (n, channels, h / 4, w / 4)."""
        levels, features = [], images
        # depthwise convolutions are slower in bfloat16 on a CPU
        with torch.autocast("cpu", enabled=False):
            for layer in self.backbone:
                if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
                    levels.append(features)
                features = layer(features)
        levels.append(features)
        # without the image itself, and features of half its side
        lateral = [layer(level) for layer, level in zip(self.lateral, levels[2:], strict=True)]
        out: Tensor | None = None
        for own, block in zip(reversed(lateral), reversed(self.joined), strict=True):
            joined = own if out is None else own + functional.interpolate(out, scale_factor=2.0, mode="nearest")
            out = block(joined)
        assert out is not None
        return lateral[0], out


class VolumeNetwork(nn.Module):
    """Crops to compact volumes, one per stack, each deeper than the one before."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        blocks = Blocks(settings)
        channels = blocks.channels
        levels = (settings.side // LAST_SIDE).bit_length() - 1
        stacks = len(settings.depths)
        self.pyramid = Pyramid(blocks, settings.width) if settings.encoder == "mobilenet" else None
        self.stem = Stem(blocks) if self.pyramid is None else None
        first = 0 if self.pyramid is None else 1
        self.hourglasses = nn.ModuleList(Hourglass(blocks, levels) for _ in range(first, stacks))
        # a separable block here costs a tenth of the time, and its place is taken by the stack's last one
        self.residual = nn.ModuleList(blocks() if blocks.bottleneck else nn.Identity() for _ in range(stacks))
        self.feature = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()) for _ in range(stacks)
        )
        self.volume = nn.ModuleList(nn.Conv2d(channels, depth, 1) for depth in settings.depths)
        self.features_back = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.volume_back = nn.ModuleList(nn.Conv2d(depth, channels, 1) for depth in settings.depths[:-1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the volumes of normalised images (n, 3, size, size)."""
        out: list[Tensor] = []
        hourglasses: list[nn.Module | None] = list(self.hourglasses)
        if self.pyramid is not None:
            features, first = self.pyramid(images)
            hourglasses.insert(0, None)
        else:
            assert self.stem is not None
            features, first = self.stem(images), None
        for i, hourglass in enumerate(hourglasses):
            stack = first if hourglass is None else hourglass(features)
            stack = self.feature[i](self.residual[i](stack))
            out.append(self.volume[i](stack))
            if i + 1 < len(self.volume):
                features = features + self.features_back[i](stack) + self.volume_back[i](out[-1])
        return out


class CoordinateNetwork(nn.Module):
    """A volume to points, by 3D convolutions of side 4."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = settings.size
        layers: list[nn.Module] = []
        source = 1
        *halving, last = settings.coordinate_features
        for count in halving:
            layers += [nn.Conv3d(source, count, 4, 2, 1), nn.BatchNorm3d(count), nn.LeakyReLU(_SLOPE)]
            source = count
        self.layers = nn.Sequential(*layers, nn.Conv3d(source, last, LAST_SIDE), nn.Flatten())
        self.head = nn.Linear(last, 3 * POINT_COUNT)

    def forward(self, volume: Tensor) -> Tensor:
        """Compute points (n, 71, 3), px of the crop, from volumes (n, depth, side, side)."""
        fractions = self.head(self.layers(volume.unsqueeze(1))).reshape(-1, POINT_COUNT, 3)
        return fractions * (self.size - 1)

    @torch.no_grad()
    def start_from(self, points: Tensor) -> None:
        """Set the bias of the last layer so that an untrained network predicts these points (71, 3) for all volumes."""
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias.copy_((points / (self.size - 1)).flatten())


class Jvcr(nn.Module):
    """The whole network: crops to volumes and points."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.volumes = VolumeNetwork(settings)
        self.coordinates = CoordinateNetwork(settings)

    def describe(self) -> dict[str, Any]:
        """Return the arguments of `NetworkSettings` that build the network again, as checkpoints keep them."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.settings).items()
        }

    def forward(self, crops: Tensor) -> Prediction:
        """Predict from crops (n, size, size, 3), uint8, BGR."""
        volumes = self.volumes(normalised(crops))
        return Prediction(tuple(volumes), self.coordinates(volumes[-1]))


def normalised(crops: Tensor) -> Tensor:
    """Normalise crops (n, h, w, 3) uint8 to images (n, 3, h, w): the channels stay last in memory."""
    return ((crops.float() - PIXEL_MEAN) / PIXEL_SCALE).permute(0, 3, 1, 2)
