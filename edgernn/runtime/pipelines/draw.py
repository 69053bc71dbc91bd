"""Drawing on the device: a stream writes to its canvas at each step; the stream's random numbers say what it draws."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, SamplingError, StreamError, counted, few
from edgernn.media.drawings import block_text, draw_drawings
from edgernn.media.image import SUFFIXES
from edgernn.runtime import Model, Sampler, Stream
from edgernn.runtime.pipelines.drawing import DrawingOptions
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore
from edgernn.settings import option

__all__ = ["Draw", "DrawOptions", "DrawPipeline", "Drawn"]

_COUNTER = "step"  # the state that counts steps; its bound is their number in training
_COLUMNS = 78  # of a terminal, for drawings side by side
_RANK = 3  # axes of a canvas, and of boxes
_STREAMS = 64  # drawings that are drawn together: so many streams every engine takes


@dataclass(frozen=True)
class Drawn(Result):
    """Drawings, and how they grew.

    pictures: from 0 to 1, (steps, drawings, height, width). boxes: of the windows, in pixels, (steps, drawings, 4).
    labels, seeds: of each drawing; no labels if the network has none. out: the file that was written, if any. seconds:
    that all steps took.
    """

    pictures: Array
    boxes: Array
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path | None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the file, the number of steps, and the seed and label of each drawing."""
        drawings = [
            {"seed": str(seed)} | ({"label": self.labels[place]} if self.labels else {})
            for place, seed in enumerate(self.seeds)
        ]
        return {"out": None if self.out is None else str(self.out), "steps": len(self.pictures), "drawings": drawings}

    def __str__(self) -> str:
        """Return what was drawn, and where it is."""
        what = f" of {few(dict.fromkeys(self.labels))}" if self.labels else ""
        where = "" if self.out is None else f", in {self.out}"
        return f"{counted(len(self.seeds), 'drawing')}{what} in {counted(len(self.pictures), 'step')}{where}"

    @property
    def note(self) -> str:
        """The speed."""
        return f"{self.boxes[..., 0].size / max(self.seconds, 1e-9):,.0f} steps/s"


@dataclass(frozen=True, kw_only=True)
class DrawOptions(DrawingOptions):
    """What is drawn."""

    label: str | None = option(None, "The class to draw, such as 7.", unset="the classes in turn")
    temperature: float = option(
        1.0,
        "The factor by which the latent variables are multiplied; at 0, all drawings of a class are the same.",
        low=0,
        high=1e6,
    )
    out: Path | None = option(
        None,
        "Write an image file: a .gif shows the drawings after each step, with the windows; other image files show the "
        "steps of a single drawing, or several finished drawings.",
    )


class Draw:
    """The parts of a model that draws.

    labels: the names of the classes that can be asked for, () if none can. steps: their number for a drawing. latents:
    the number of latent variables of a step.
    """

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not draw, ContractError for one without a graph step."""
        graph = model.contract["step"]
        canvas, boxes = graph.output_of("canvas"), graph.output_of("boxes")
        counter = next((state for state in graph.states if state.name == _COUNTER and state.bound), None)
        asked = [tensor for tensor in graph.conditions if tensor.kind == "class" and tensor.source is None]
        noise = graph.input_of("noise")
        if noise is None or canvas is None or boxes is None or counter is None:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but it does not draw: that takes an input of the kind "
                f"noise, outputs of the kinds canvas and boxes, and a state {_COUNTER} with a bound"
            )
        is_fixed = len(canvas.axes) == len(boxes.axes) == _RANK and isinstance(noise.axes[-1], int)
        if not is_fixed or (asked and model.labels is None):
            raise StreamError(
                "the bundle does not draw: its canvas has not the axes batch, height and width, its boxes are not "
                "(batch, boxes, 4), its noise has no fixed size, or labels.json does not name the classes that can be "
                "asked for"
            )
        assert counter.bound is not None
        self.model, self.steps = model, int(counter.bound)
        self.canvas_name, self.boxes_name = canvas.name, boxes.name
        self.labels = (model.labels or ()) if asked else ()
        self.latents = int(noise.axes[-1])
        self._graph, self._noise = graph, noise.name
        self._asked = asked[0] if asked else None

    def stream(self, sampler: Sampler, label: str | None = None) -> Stream:
        """Return a stream that draws, step by step, with `stream.step(stream.noise())`.

        sampler: its seed and temperature are used. label: the name of the class to draw, for a model with labels.
        Raises ConfigError for a class that the model does not have.
        """
        if self._asked is None:
            if label is not None:
                raise ConfigError(
                    "the model was trained without labels, so it cannot draw a given class: leave out the label"
                )
            return self.model.stream(sampler)
        if label not in self.labels:
            asked = "no class is asked for" if not label else f"there is no class {label} to draw"
            raise ConfigError(f"{asked}: there is {few(self.labels)}")
        place = np.array([self.labels.index(label)], self._asked.numpy_dtype)
        return self.model.stream(sampler, inputs={self._asked.name: place})

    def finished(self, noise: Array, labels: Array) -> Array:
        """Return finished drawings, from 0 to 1 (drawings, height, width).

        noise: the latent variables, (steps, drawings, latents). labels: the places of the classes to draw, (drawings,);
        a model without labels ignores them.
        """
        most = _STREAMS if self._graph.batched else 1
        if len(labels) > most:
            parts = [slice(begun, begun + most) for begun in range(0, len(labels), most)]
            return np.concatenate([self.finished(noise[:, part], labels[part]) for part in parts])
        asked = {} if self._asked is None else {self._asked.name: labels.astype(self._asked.numpy_dtype)}
        conditions, state = self.model.begin(asked)
        for latents in noise:
            outputs, state = self.model.step({self._noise: latents}, state, conditions=conditions)
        return outputs[self.canvas_name]


class DrawPipeline(Pipeline[DrawOptions]):
    """Draws pictures."""

    task = "draw"
    inputs = ("", "nothing: the options say what is drawn")
    suffixes = ()
    options = DrawOptions
    example = "bundles/draw --label 7 --seed 1 --count 16 --out digits.gif"
    takes_nothing = True

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not draw."""
        super().__init__(model)
        self._draw = Draw(model)

    def read(self, source: str | Path | bytes) -> NoReturn:
        """Raise ConfigError: nothing is read."""
        raise ConfigError("a network that draws reads no files")

    def check(self, options: DrawOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a picture that cannot be written."""
        if options.out is not None:
            check_output("--out", options.out, sources, SUFFIXES)

    def __call__(self, inputs: Mapping[str, Array], options: DrawOptions, show: Show = ignore) -> Drawn:
        """Draw. show: called with the drawings so far, in block characters, after each step.

        Raises ConfigError for a class that the model does not have, ImageError if the picture cannot be written.
        """
        draw, streams, labels = self._draw, [], []
        for number in range(options.count):
            label = options.label
            if label is None and draw.labels:
                label = draw.labels[number % len(draw.labels)]
            streams.append(draw.stream(Sampler(options.temperature, seed=options.seed_of(number)), label))
            labels += [] if label is None else [label]
        pictures, boxes, seconds = [], [], 0.0
        for number in range(1, draw.steps + 1):
            begun = time.perf_counter()
            outputs = [stream.step(stream.noise()) for stream in streams]
            seconds += time.perf_counter() - begun
            pictures.append(np.concatenate([each[draw.canvas_name] for each in outputs]))
            boxes.append(np.concatenate([each[draw.boxes_name][:, 0] for each in outputs]))
            if not np.isfinite(pictures[-1]).all():
                raise SamplingError(f"after step {number}, the canvas is not made of numbers")
            fitting = max(1, _COLUMNS // (pictures[-1].shape[2] + 2))
            if show(f"step {number}\n{block_text(pictures[-1][:fitting])}") is False:
                break
        if options.out is not None:
            draw_drawings(np.stack(pictures), np.stack(boxes), options.out)
        seeds = tuple(stream.seed for stream in streams)
        return Drawn(np.stack(pictures), np.stack(boxes), tuple(labels), seeds, options.out, seconds)
