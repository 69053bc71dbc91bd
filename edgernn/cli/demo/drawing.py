"""Pictures, attention and falling losses in the characters of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.text import Text

from edgernn.contract import Array

__all__ = ["Picture", "lit", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_SHADES, _ASCII_SHADES = " ░▒▓█", " .:*#"
_DARK = 0.12  # brightness where there is no attention


@dataclass(frozen=True)
class Picture:
    """An image (height, width, 3) of bytes, drawn `side` characters wide and half as many lines high.

    Each character shows two pixels, one above the other. Where there are no colours, it shows how bright they are,
    from the darkest of the image to the brightest.
    """

    image: Array
    side: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A line of text for each two rows of pixels."""
        from PIL import Image

        small = Image.fromarray(self.image).resize((self.side, self.side), Image.Resampling.BOX)
        pixels = np.asarray(small)
        if console.color_system is None:
            yield from _shaded(pixels, _ASCII_SHADES if options.ascii_only else _SHADES)
        else:
            yield from (_coloured(upper, lower) for upper, lower in zip(pixels[::2], pixels[1::2], strict=True))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """How many characters wide it is."""
        return Measurement(self.side, self.side)


def lit(image: Array, weights: Array) -> Array:
    """`image` (height, width, 3), bright where the `weights` of the attention (rows, columns) are large."""
    height, width = (size // grid for size, grid in zip(image.shape, weights.shape, strict=False))
    light = np.kron(weights / weights.max(), np.ones((height, width)))
    lighted: Array = image * (_DARK + (1 - _DARK) * light[..., None])
    return lighted.astype(np.uint8)


def sparkline(values: Sequence[float], width: int = 32) -> str:
    """How `values` rise and fall, as a row of bars: each is the mean of as many values."""
    means = np.array([part.mean() for part in np.array_split(np.asarray(values), min(width, len(values)))])
    heights = (means - means.min()) / max(float(np.ptp(means)), 1e-9)
    return "".join(_BARS[round(height * (len(_BARS) - 1))] for height in heights)


def _coloured(upper: Array, lower: Array) -> Text:
    line = Text(no_wrap=True)
    for above, below in zip(upper, lower, strict=True):
        line.append("▀", Style(color=_colour(above), bgcolor=_colour(below)))
    return line


def _colour(pixel: Array) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel.tolist())


def _shaded(pixels: Array, shades: str) -> Iterator[Text]:
    """Lines of shades, from the darkest of `pixels` to the brightest."""
    grey = pixels.mean(axis=2).reshape(len(pixels) // 2, 2, -1).mean(axis=1)
    levels = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-9)
    for line in levels:
        yield Text("".join(shades[round(level * (len(shades) - 1))] for level in line), no_wrap=True)
