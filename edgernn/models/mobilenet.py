"""MobileNetV2 (Sandler et al. 2018), with torchvision's parameter names."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

__all__ = ["PADDINGS", "MobileNetV2"]

PADDINGS = ("symmetric", "tensorflow")  # at stride 2: on all sides, or only right and bottom
_STAGES = (  # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_FIRST, _LAST = 32, 1280  # channels
_CLASSES = 1000


class MobileNetV2(nn.Module):
    """MobileNetV2. `forward` returns the feature grid, which `classify` averages.

    padding: one of PADDINGS; networks converted from TensorFlow need "tensorflow".
    """

    channels = _LAST
    stride = 32  # pixels of the image per cell of the grid, in each direction

    def __init__(self, padding: str = "symmetric") -> None:
        super().__init__()
        layers: list[nn.Module] = [_ConvNormReLU(3, _FIRST, padding, size=3, stride=2)]
        channels = _FIRST
        for expansion, outputs, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(_Block(channels, outputs, expansion, stride if block == 0 else 1, padding))
                channels = outputs
        self.features = nn.Sequential(*layers, _ConvNormReLU(channels, _LAST, padding))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST, _CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return features (batch, 1280, height / 32, width / 32) of scaled images (batch, 3, height, width)."""
        return cast(Tensor, self.features(images))

    def classify(self, images: Tensor) -> Tensor:
        """Return logits (batch, 1000) of ImageNet's classes."""
        return cast(Tensor, self.classifier(self(images).mean(dim=(2, 3))))


class _Conv(nn.Conv2d):
    """A convolution without bias that preserves the size of its input, divided by the stride."""

    def __init__(
        self, inputs: int, outputs: int, padding: str, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        uneven = padding == "tensorflow" and stride > 1
        around = 0 if uneven else size // 2
        super().__init__(inputs, outputs, size, stride, around, groups=groups, bias=False)
        self._after = size // 2 if uneven else 0  # padding on the right and at the bottom, in pixels

    def forward(self, x: Tensor) -> Tensor:
        if self._after:
            x = nn.functional.pad(x, (0, self._after, 0, self._after))
        return super().forward(x)


class _ConvNormReLU(nn.Sequential):
    def __init__(
        self, inputs: int, outputs: int, padding: str, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        convolution = _Conv(inputs, outputs, padding, size, stride, groups)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class _Block(nn.Module):
    """An inverted residual block: expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, padding: str) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = [_ConvNormReLU(inputs, wide, padding)] if expansion > 1 else []
        layers.append(_ConvNormReLU(wide, wide, padding, size=3, stride=stride, groups=wide))
        self.conv = nn.Sequential(*layers, _Conv(wide, outputs, padding), nn.BatchNorm2d(outputs))
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self._residual else y
