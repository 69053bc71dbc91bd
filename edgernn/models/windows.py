"""Windows on a picture, at any place and resolution, through which gradients reach the place and the resolution."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["window_filters"]


def window_filters(centre: Tensor, apart: Tensor, points: int, size: int) -> Tensor:
    """Return the weights (..., points, size) of the pixels of a row around the points of windows.

    centre: of the windows, (..., 1), in pixels from the edge. apart: the distance of neighbouring points in pixels,
    which broadcasts with `centre`. The weight is 1 at the point and falls linearly to 0 over that distance.
    """
    offsets = torch.arange(points, dtype=torch.float32, device=centre.device) - (points - 1) / 2
    pixels = torch.arange(size, dtype=torch.float32, device=centre.device) + 0.5
    at = (centre / apart + offsets).unsqueeze(-1)
    return torch.relu(1.0 - (pixels / apart.unsqueeze(-1) - at).abs())
