"""Encode an image, given as bytes, as a grid of features; resizing and scaling are part of the network."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgernn import records
from edgernn.errors import ConfigError, MissingExtraError
from edgernn.models.mobilenet import PADDINGS, MobileNetV2

__all__ = ["ENCODERS", "SCALINGS", "EncoderConfig", "ImageEncoder", "load_weights", "resize"]

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean and standard deviation of R, G and B, in bytes
_LARGEST_SIDE = 4096

SCALINGS = {"x/127.5-1": ((127.5,) * 3, (127.5,) * 3), "imagenet": _IMAGENET}


class SmallNet(nn.Module):
    """Four convolutions of stride 2, for drawings; trains from random weights in minutes."""

    channels = 128
    stride = 16

    def __init__(self, padding: str = "symmetric") -> None:
        super().__init__()
        widths = (3, 32, 64, 96, self.channels)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU6()]
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (batch, 128, height / 16, width / 16) of scaled images (batch, 3, height, width)."""
        x: Tensor = self.features(images)
        return x


MOBILENET = "mobilenet_v2"
ENCODERS: dict[str, type[MobileNetV2] | type[SmallNet]] = {MOBILENET: MobileNetV2, "small": SmallNet}


@dataclass(frozen=True)
class EncoderConfig:
    """The configuration of the convolutional network that encodes images.

    name: one of ENCODERS. size: width and height in pixels to which every image is resized. padding: one of PADDINGS.
    scaling: how pixels are scaled, one of SCALINGS. largest_side: the largest side of accepted images, in pixels.
    """

    name: str = "small"
    size: int = 64
    padding: str = "symmetric"
    scaling: str = "imagenet"
    largest_side: int = 1024

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("encoder", self.name, ENCODERS),
            ("encoder-padding", self.padding, PADDINGS),
            ("encoder-scaling", self.scaling, SCALINGS),
        ):
            if value not in tuple(choices):
                raise ConfigError(f"--{option} {str(value)[:40]} is not one of {', '.join(choices)}")
        if self.name != MOBILENET and self.padding != PADDINGS[0]:
            raise ConfigError(
                f"--encoder-padding {self.padding} is not possible: --encoder {self.name} has {PADDINGS[0]}"
            )
        stride = ENCODERS[self.name].stride
        if type(self.size) is not int or not stride <= self.size <= _LARGEST_SIDE or self.size % stride:
            raise ConfigError(
                f"--image-size {str(self.size)[:40]} is not a multiple of {stride}, as {self.name} needs, "
                f"of at most {_LARGEST_SIDE:,}"
            )
        if type(self.largest_side) is not int or not 1 <= self.largest_side <= _LARGEST_SIDE:
            raise ConfigError(f"--largest-side {str(self.largest_side)[:40]} is not from 1 to {_LARGEST_SIDE}")

    @property
    def grid(self) -> int:
        """The number of cells of the feature grid, in each direction."""
        return self.size // ENCODERS[self.name].stride

    @property
    def channels(self) -> int:
        """The number of features of each cell."""
        return ENCODERS[self.name].channels

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> EncoderConfig:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        return records.construct(cls, value, "the encoder")


class ImageEncoder(nn.Module):
    """Encodes images, bytes (batch, height, width, 3), as features (batch, cells, channels) in reading order."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.network = ENCODERS[config.name](config.padding)
        if isinstance(self.network, MobileNetV2):
            self.network.classifier = nn.Sequential()  # removes the classifier of ImageNet's classes, which is unused
        for name, values in zip(("mean", "deviation"), SCALINGS[config.scaling], strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (batch, cells, channels) of images (batch, height, width, 3) of any size."""
        return self.features(self.resize(images))

    def folded(self) -> ImageEncoder:
        """Return a copy for deployment, with batch norm folded into the convolutions."""
        copied = copy.deepcopy(self).eval()
        for module in list(copied.network.modules()):
            children = list(module.named_children())
            for (name, child), (after, norm) in pairwise(children):
                if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(child, norm))
                    setattr(module, after, nn.Identity())
        return copied

    def resize(self, images: Tensor) -> Tensor:
        """Resize images, bytes (batch, height, width, 3), to floats (batch, 3, size, size) from 0 to 255."""
        return resize(images.permute(0, 3, 1, 2).to(torch.float32), self.config.size)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features of pixels from `resize`."""
        return self.upper(pixels, self.layers)

    @property
    def layers(self) -> int:
        """The number of layers of the network; a block counts as one."""
        return len(self.network.features)

    def top(self, layers: int) -> nn.Sequential:
        """Return the last `layers` layers."""
        return nn.Sequential(*list(self.network.features)[self.layers - layers :])

    def lower(self, pixels: Tensor, layers: int) -> Tensor:
        """Apply all but the last `layers` layers to pixels from `resize`: (batch, channels, rows, columns)."""
        if layers == self.layers:
            return pixels
        grid: Tensor = self.network.features[: self.layers - layers](self._scaled(pixels))
        return grid

    def upper(self, grid: Tensor, layers: int) -> Tensor:
        """Return the features from the output of `lower`."""
        grid = self.top(layers)(self._scaled(grid) if layers == self.layers else grid)
        return grid.permute(0, 2, 3, 1).flatten(1, 2)

    def _scaled(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.deviation


def resize(images: Tensor, size: int) -> Tensor:
    """Resize images (batch, channels, height, width) to (batch, channels, size, size) with the triangle filter.

    This is what Pillow and torch call bilinear with antialiasing. It is written as two matrix products, whose matrices
    are computed from the image's size when the graph runs, so that every target gives the same result.
    """
    height, width = images.shape[2], images.shape[3]
    return _filter(height, size, images) @ images @ _filter(width, size, images).transpose(0, 1)


def _filter(before: int, after: int, like: Tensor) -> Tensor:
    """Return the weight of each of `before` pixels in each of `after` pixels: (after, before); rows sum to 1."""
    scale = torch.ones_like(like[0, 0, 0, 0]) * before / after
    places = (torch.arange(after, dtype=like.dtype, device=like.device) + 0.5) * scale
    pixels = torch.arange(before, dtype=like.dtype, device=like.device) + 0.5
    distance = (pixels[None, :] - places[:, None]).abs() / torch.clamp(scale, min=1.0)
    weights = torch.clamp(1.0 - distance, min=0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def load_weights(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors or state-dict file for the encoder `name`, and the file's metadata.

    Raises ConfigError, naming the tensor, if they do not fit that encoder.
    """
    if name not in ENCODERS:
        raise ConfigError(f"--encoder {name[:40]} is not one of {', '.join(ENCODERS)}")
    tensors, metadata = _read(path)
    # Copies, contiguous: files may hold views of each other, or channels-last tensors, which safetensors cannot save.
    tensors = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    expected = ENCODERS[name]().state_dict()
    optional = {key for key in expected if key.endswith("num_batches_tracked") or key.startswith("classifier.")}
    for key, tensor in expected.items():
        if key in optional and key not in tensors:
            continue
        if key not in tensors:
            raise ConfigError(f"{path} is not {name}: it has no tensor {key}")
        if tensors[key].shape != tensor.shape:
            shapes = f"{list(tensors[key].shape)}, not {list(tensor.shape)}"
            raise ConfigError(f"{path} is not {name}: its tensor {key} is {shapes}")
    if strangers := sorted(tensors.keys() - expected.keys()):
        raise ConfigError(f"{path} is not {name}, which has no tensor {strangers[0]}")
    return tensors, metadata


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if str(path) == "torchvision":
        return _from_torchvision(), {}
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no mapping
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"--encoder-weights {path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:  # torch's own text explains how to load what is not safe
        raise ConfigError(
            f"--encoder-weights {path} is no file of tensors alone, and nothing else is loaded from it: save the "
            "network's state_dict() as a .safetensors file"
        ) from None
    except Exception:  # noqa: BLE001 - a damaged file makes torch raise anything
        raise ConfigError(
            f"--encoder-weights {path} is damaged, or is neither a .safetensors file nor one that torch.save wrote"
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise ConfigError(f"--encoder-weights {path} is no mapping of names to tensors: save a state_dict()")
    return tensors, {}


def _from_torchvision() -> dict[str, Tensor]:
    try:
        from torchvision.models import MobileNet_V2_Weights
    except ImportError:
        raise MissingExtraError("torchvision", "torchvision") from None
    try:
        return dict(MobileNet_V2_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"--encoder-weights torchvision cannot be downloaded: {error}") from None
