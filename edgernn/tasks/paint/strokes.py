"""Strokes of paint, rendered differentiably.

A stroke is bent along a parabola. Its opacity falls smoothly to 0 beyond its sides and its ends, and its bristles leave
stripes along it. `edgernn.media.brushwork` renders the same strokes on devices, with numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgernn.media.brushwork import COARSE, EDGE, END, FINE

__all__ = ["Stroke", "coverage"]


class Stroke(NamedTuple):
    """One stroke on each canvas of a batch; all are (batch, 1), and lengths are in pixels.

    x, y: the centre. cos, sin: of the angle from the x axis. length, width: halves of them. bend: the distance of the
    ends from the tangent at the centre, across the stroke. opacity: from 0 to 1. bristles: the share of the paint that
    lacks between them, from 0 to 1.
    """

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor
    length: Tensor
    width: Tensor
    bend: Tensor
    opacity: Tensor
    bristles: Tensor


def coverage(stroke: Stroke, height: int, width: int) -> Tensor:
    """Return the opacity of a stroke at each pixel of its canvas, (batch, height, width).

    With the position of a pixel along the stroke a, and across it b, u = a / length and
    v = b - bend (u^2 - 1/3), it is opacity s((width - |v|) / 0.6) s((length - |a|) / 1.2) (1 - bristles t(v / width)),
    where s is the sigmoid and t the mean of two triangle waves from 0 to 1.
    """
    device = stroke.x.device
    x, y, cos, sin, length, half, bend, opacity, bristles = (each.unsqueeze(2) for each in stroke)
    across_canvas = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) - x
    down_canvas = (torch.arange(height, dtype=torch.float32, device=device) + 0.5).unsqueeze(1) - y
    along = across_canvas * cos + down_canvas * sin
    u = along / length
    v = down_canvas * cos - across_canvas * sin - bend * (u * u - 1.0 / 3.0)
    inside = torch.sigmoid((half - v.abs()) / EDGE) * torch.sigmoid((length - along.abs()) / END)
    stripes = _triangle(v * (COARSE / half)) + _triangle(v * (FINE / half))
    return opacity * inside * (1.0 - 0.5 * bristles * stripes)


def _triangle(phase: Tensor) -> Tensor:
    """Return a wave of period 1 that is 1 at whole numbers and 0 between them."""
    return (2.0 * (phase - torch.floor(phase)) - 1.0).abs()
