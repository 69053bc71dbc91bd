"""Painting on the device: a stream adds one stroke at each step, and large photographs are painted in parts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import Array, State
from edgernn.errors import ConfigError, SamplingError, StreamError, counted
from edgernn.media.brushwork import NUMBERS, WRITTEN, Painted, add_stroke, write_painting
from edgernn.media.image import SUFFIXES, read_image, resized
from edgernn.runtime import Model, Stream
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore
from edgernn.settings import Settings, option

__all__ = ["Paint", "PaintOptions", "PaintPipeline", "Painting"]

_COUNTER = "step"  # the state that counts strokes; its bound is their number in training
_SHOWN = (1, 2, 5)  # times a power of ten: the numbers of strokes after which the error is shown
_MOST_STROKES, _MOST_TILES, _LARGEST_SIDE = 100_000, 16, 8192
_BYTE = 255.0
_CANVAS_RANK = 4
_TINY = 1e-9


@dataclass(frozen=True)
class Painting(Result):
    """A painting.

    painted: its strokes. ratio: the squared error of the canvas, divided by that of the photograph in its mean colour;
    None for a photograph of one colour. out: the file that was written, if any. seconds: that all steps took.
    """

    painted: Painted
    ratio: float | None
    out: Path | None
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """The number of strokes."""
        return len(self.painted.strokes)

    def to_json(self) -> dict[str, Any]:
        """Return the file, the number of strokes, and the error."""
        out = None if self.out is None else str(self.out)
        return {"out": out, "steps": self.steps, "squared_error_ratio": self.ratio}

    def __str__(self) -> str:
        """Return how it was painted, and where it is."""
        where = "" if self.out is None else f", in {self.out}"
        return f"{counted(self.steps, 'stroke')}, {_error_text(self.ratio)}{where}"

    @property
    def note(self) -> str:
        """The speed."""
        return f"{self.steps / max(self.seconds, 1e-9):,.0f} strokes/s"


@dataclass(frozen=True, kw_only=True)
class PaintOptions(Settings):
    """How a photograph is painted."""

    strokes: int | None = option(
        None, "The number of strokes, on each tile.", low=1, high=_MOST_STROKES, unset="as many as in training"
    )
    tiles: int = option(
        1,
        "Paint the photograph in parts, so that small things are painted too: the number of parts along its longer "
        "side.",
        low=1,
        high=_MOST_TILES,
    )
    side: int | None = option(
        None,
        "The longer side of the picture that is written, in pixels.",
        low=16,
        high=_LARGEST_SIDE,
        unset="512, or 256 of a .gif",
    )
    out: Path | None = option(
        None,
        "Write the painting: a .gif shows how it is made, .svg and .json hold its strokes, other image files show it.",
    )


class Paint:
    """The parts of a model that paints.

    side: of its canvas in pixels. strokes: their number in training. ground: the colour of the empty canvas, (3,).
    """

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not paint, ContractError for one without a graph step."""
        graph = model.contract["step"]
        images = [tensor for tensor in graph.conditions if tensor.kind == "image" and tensor.source is None]
        canvases = [state for state in graph.states if state.kind == "canvas" and len(state.axes) == _CANVAS_RANK]
        stroke = graph.output_of("stroke")
        counter = next((state for state in graph.states if state.name == _COUNTER and state.bound), None)
        if not images or not canvases or stroke is None or counter is None or graph.inputs:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but it does not paint: that takes a condition of the "
                f"kind image, a state of the kind canvas, an output of the kind stroke, and a state {_COUNTER} with a "
                "bound"
            )
        height, width = canvases[0].axes[1:3]
        if not (isinstance(height, int) and height == width) or images[0].axes[1:] != canvases[0].axes[1:]:
            raise StreamError("the bundle does not paint: its canvas is not a square of a fixed size, as its image")
        if stroke.axes[-1] != NUMBERS:
            raise StreamError(f"the bundle does not paint: a stroke has {stroke.axes[-1]} numbers, not {NUMBERS}")
        assert counter.bound is not None
        self.model, self.side, self.strokes = model, height, int(counter.bound)
        self.image_name, self.canvas_name, self.stroke_name = images[0].name, canvases[0].name, stroke.name
        self._batched = graph.batched
        _, state = model.begin({self.image_name: np.zeros((1, height, height, 3), np.uint8)})
        self.ground = state[self.canvas_name][0, 0, 0].copy()

    def count(self, strokes: int | None) -> int:
        """Return the number of strokes of a painting, if `strokes` are asked for. Raises ConfigError for too many."""
        if strokes is not None and strokes > self.strokes:
            raise ConfigError(
                f"--strokes {strokes:,}: the network was trained for {self.strokes:,} strokes: ask for fewer, "
                "paint more --tiles, or train it with more --strokes"
            )
        return strokes or self.strokes

    def fit(self, image: Array) -> Array:
        """Return a photograph (height, width, 3) of any size at the size of the canvas; its proportions may change."""
        return resized(image, self.side, self.side)

    def stream(self, image: Array) -> Stream:
        """Return a stream that paints a photograph, bytes (height, width, 3), with a stroke for each `stream.step({})`.

        The canvas is a state of the stream, `stream.state[paint.canvas_name]`.
        """
        return self.model.stream(inputs={self.image_name: self.fit(image)[None]})

    def canvases(self, images: Array, strokes: int) -> Iterator[Array]:
        """Yield the canvases (pictures, side, side, 3) of pictures, bytes of the canvas's size, after each stroke."""
        conditions, states = self._begin(images)
        for _ in range(strokes):
            states = [
                self.model.step({}, state, conditions=given)[1] for given, state in zip(conditions, states, strict=True)
            ]
            yield np.concatenate([state[self.canvas_name] for state in states])

    def paint(self, image: Array) -> Iterator[tuple[Array, Array]]:
        """Yield new strokes (tiles, 12), one on each tile, and the canvas after them, without end.

        image: bytes (height, width, 3) whose sides are multiples of the canvas's. The tiles share one canvas: a stroke
        that reaches beyond its tile is seen by the neighbours before their next stroke.
        """
        rows, columns = (size // self.side for size in image.shape[:2])
        corners = np.array([(x * self.side, y * self.side) for y in range(rows) for x in range(columns)], np.float32)
        canvas = np.empty(image.shape, np.float32)
        canvas[:] = self.ground
        conditions, states = self._begin(self._cut(image))
        while True:
            strokes = []
            for place, (given, state) in enumerate(zip(conditions, states, strict=True)):
                outputs, states[place] = self.model.step({}, state, conditions=given)
                strokes.append(outputs[self.stroke_name])
            added = np.concatenate(strokes)
            if not np.isfinite(added).all():
                raise SamplingError("the stroke is not made of numbers")
            added[:, :7] *= self.side
            added[:, :2] += corners
            if len(corners) == 1:
                canvas = states[0][self.canvas_name][0]
            else:
                for stroke in added:
                    add_stroke(canvas, stroke)
                cut = self._parts(self._cut(canvas))
                states = [State({**state, self.canvas_name: part}) for state, part in zip(states, cut, strict=True)]
            yield added, canvas

    def _begin(self, images: Array) -> tuple[list[dict[str, Array]], list[State]]:
        """Return the conditions and the first states of pictures, as the graph takes them."""
        begun = [self.model.begin({self.image_name: part}) for part in self._parts(images)]
        return [each[0] for each in begun], [each[1] for each in begun]

    def _cut(self, picture: Array) -> Array:
        """Return the tiles (tiles, side, side, 3) of a picture, from left to right and top to bottom."""
        side = self.side
        rows, columns = (size // side for size in picture.shape[:2])
        cut = picture.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
        return np.ascontiguousarray(cut.reshape(-1, side, side, 3))

    def _parts(self, pictures: Array) -> list[Array]:
        """Return pictures as the graph takes them: together, or one by one."""
        return [pictures] if self._batched else [each[None] for each in pictures]


class PaintPipeline(Pipeline[PaintOptions]):
    """Paints photographs."""

    task = "paint"
    inputs = ("IMAGE", "photographs")
    suffixes = SUFFIXES
    options = PaintOptions
    example = "bundles/paint photo.jpg --strokes 400 --out painting.png"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not paint."""
        super().__init__(model)
        self._paint = Paint(model)

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the photograph in a file, or in its bytes, as bytes (height, width, 3), in its own size.

        Raises ImageError for a file that is not an image.
        """
        return {self._paint.image_name: read_image(source, _LARGEST_SIDE)}

    def check(self, options: PaintOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a painting that cannot be written."""
        if options.out is not None:
            check_output("--out", options.out, sources, WRITTEN)

    def __call__(self, inputs: Mapping[str, Array], options: PaintOptions, show: Show = ignore) -> Painting:
        """Paint the photograph. show: called after each stroke, now and then with a line about the error.

        Raises ConfigError for more strokes than the network was trained for, SamplingError for a stroke that is not
        made of numbers, ImageError if the painting cannot be written.
        """
        paint, photograph = self._paint, inputs[self._paint.image_name]
        ratio = photograph.shape[0] / photograph.shape[1]
        across, down = (max(1, round(options.tiles * min(1.0, each))) for each in (1 / ratio, ratio))
        image = resized(photograph, down * paint.side, across * paint.side)
        target = image / np.float32(_BYTE)
        wanted = paint.count(options.strokes)
        shown, strokes = _milestones(wanted), list[Array]()
        begun = time.perf_counter()
        for number, (added, canvas) in enumerate(islice(paint.paint(image), wanted), 1):
            strokes.append(added)
            line = ""
            if number in shown:
                line = f"{counted(number * len(added), 'stroke')}: {_error_text(_ratio(target, canvas))}\n"
            if show(line) is False:
                break
        seconds = time.perf_counter() - begun
        painted = Painted(np.concatenate(strokes), paint.ground, image.shape[0], image.shape[1], ratio)
        if options.out is not None:
            write_painting(painted, options.out, options.side)
        return Painting(painted, _ratio(target, canvas), options.out, seconds)


def _milestones(wanted: int) -> set[int]:
    """Return the numbers of strokes, before the last, after which the error is shown: 10, 20, 50, 100 and so on."""
    return {first * 10**power for power in range(1, len(str(wanted))) for first in _SHOWN if first * 10**power < wanted}


def _ratio(target: Array, canvas: Array) -> float | None:
    """Return the squared error of a canvas, divided by that of the target's mean colour; None for one colour."""
    plain = float(np.square(target - target.mean(axis=(0, 1))).mean())
    return float(np.square(target - canvas).mean()) / plain if plain > _TINY else None


def _error_text(ratio: float | None) -> str:
    if ratio is None:
        return "of a photograph in one colour"
    return f"{100 * ratio:.1f} % of the squared error of the mean colour"
