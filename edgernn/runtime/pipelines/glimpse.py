"""Looking at a picture on the device: a stream takes one glimpse at each step, with a guess after each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.errors import StreamError, counted
from edgernn.media.glimpses import draw_glimpses
from edgernn.media.image import SUFFIXES, fitted, read_image
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore
from edgernn.settings import Settings, option

__all__ = ["Glimpse", "GlimpseOptions", "GlimpsePipeline", "Look", "Looked"]

_COUNTER = "glimpse"  # the state that counts glimpses; its bound is their number in training


@dataclass(frozen=True)
class Glimpse:
    """One glimpse: the boxes of its patches, (boxes, 4) in pixels of the model's picture, and the guess after it."""

    boxes: Array
    label: str
    probability: float

    def __str__(self) -> str:
        """Return the guess, and how probable it is."""
        return f"{self.label} ({100 * self.probability:.0f} %)"

    def to_json(self) -> dict[str, Any]:
        """Return the boxes and the guess."""
        boxes = np.asarray(self.boxes, np.float64).round(2).tolist()
        return {"boxes": boxes, "label": self.label, "probability": self.probability}


@dataclass(frozen=True)
class Looked(Result):
    """What a network found by its glimpses: the class of the picture. seconds: that all steps took."""

    glimpses: tuple[Glimpse, ...]
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """The guess after the last glimpse."""
        return self.glimpses[-1].label

    def to_json(self) -> dict[str, Any]:
        """Return the label, its probability, and each glimpse."""
        last = self.glimpses[-1]
        glimpses = [each.to_json() for each in self.glimpses]
        return {"label": last.label, "probability": last.probability, "glimpses": glimpses}

    def __str__(self) -> str:
        """Return the label and its probability."""
        return str(self.glimpses[-1])

    @property
    def note(self) -> str:
        """The number of glimpses, and their speed."""
        count = len(self.glimpses)
        return f"{counted(count, 'glimpse')}, {count / max(self.seconds, 1e-9):,.0f} glimpses/s"


@dataclass(frozen=True, kw_only=True)
class GlimpseOptions(Settings):
    """How a picture is looked at."""

    certainty: float = option(1.0, "Stop as soon as a class has this probability; 1 takes all glimpses.", low=0, high=1)
    glimpses: int | None = option(
        None, "The maximum number of glimpses.", low=1, high=1000, unset="as many as in training"
    )
    invert: bool = option(
        False, "Invert the picture: for dark ink on bright paper, where the model was trained on bright ink."
    )
    out: Path | None = option(
        None,
        "Write an image file with a green square for each glimpse and the guess after it: a .gif is animated, other "
        "image files show the glimpses side by side.",
    )


class Look:
    """The parts of a model that looks at pictures by glimpses.

    size: of its pictures, (height, width). labels: the names of the classes. glimpses: their number in training.
    """

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not look at pictures by glimpses."""
        self.model, self.scores_name = model, label_output(model).name
        graph = model.contract["step"]
        images = [tensor for tensor in graph.conditions if tensor.kind == "image" and tensor.source is None]
        is_fixed = all(isinstance(size, int) for image in images for size in image.axes[1:])
        boxes = graph.output_of("boxes")
        counter = next((state for state in graph.states if state.name == _COUNTER and state.bound), None)
        if not images or not is_fixed or boxes is None or counter is None:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but it does not look by glimpses: that takes a condition "
                f"of the kind image with a fixed size, an output of the kind boxes, and a state {_COUNTER} with a bound"
            )
        assert model.labels is not None
        assert counter.bound is not None
        self.labels, self.image_name, self.boxes_name = model.labels, images[0].name, boxes.name
        height, width = (int(size) for size in images[0].axes[-3:-1])
        self.size, self.glimpses = (height, width), int(counter.bound)

    def scores(self, images: Array) -> Array:
        """Return scores (glimpses, pictures, classes) after each glimpse at pictures (pictures, height, width, 3)."""
        if not self.model.contract["step"].batched and len(images) > 1:
            return np.concatenate([self.scores(each[None]) for each in images], axis=1)
        conditions, state = self.model.begin({self.image_name: images})
        found = []
        for _ in range(self.glimpses):
            outputs, state = self.model.step({}, state, conditions=conditions)
            found.append(outputs[self.scores_name])
        return np.stack(found)

    def fit(self, image: Array) -> Array:
        """Return a picture (height, width, 3) of any size on a canvas of the model's size."""
        return fitted(image, *self.size)


class GlimpsePipeline(Pipeline[GlimpseOptions]):
    """Looks at pictures by glimpses."""

    task = "glimpse"
    inputs = ("IMAGE", "image files")
    suffixes = SUFFIXES
    options = GlimpseOptions
    example = "bundles/glimpses seven.png --out seven.gif"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not look at pictures by glimpses."""
        super().__init__(model)
        self._look = Look(model)

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the picture in a file, or in its bytes, as bytes (height, width, 3), on a canvas of the model's size.

        A larger picture is shrunk, a smaller one has a margin in the colour of its edge.
        Raises ImageError for a file that is not an image.
        """
        return self.read_as(source, GlimpseOptions())

    def read_as(self, source: str | Path | bytes, options: GlimpseOptions) -> Mapping[str, Array]:
        """As `read`, inverted if `options` say so."""
        image = read_image(source)
        return {self._look.image_name: self._look.fit(255 - image if options.invert else image)}

    def check(self, options: GlimpseOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a picture of the glimpses that cannot be written."""
        if options.out is not None:
            check_output("--out", options.out, sources, SUFFIXES)

    def __call__(self, inputs: Mapping[str, Array], options: GlimpseOptions, show: Show = ignore) -> Looked:
        """Look at the picture. show: called with a line after each glimpse.

        Raises ImageError if the picture of the glimpses cannot be written.
        """
        look, image = self._look, inputs[self._look.image_name]
        stream = self.model.stream(inputs={look.image_name: image[None]})
        taken: list[Glimpse] = []
        seconds = 0.0
        while len(taken) < (options.glimpses or look.glimpses):
            begun = time.perf_counter()
            outputs = stream.step({})
            seconds += time.perf_counter() - begun
            taken.append(self._glimpse(outputs))
            certain = options.certainty < 1 and taken[-1].probability >= options.certainty
            if show(f"glimpse {len(taken)}  {_centre(taken[-1].boxes)}  {taken[-1]}\n") is False or certain:
                break
        if options.out is not None:
            draw_glimpses(image, [each.boxes for each in taken], [str(each) for each in taken], options.out)
        return Looked(tuple(taken), seconds)

    def _glimpse(self, outputs: Mapping[str, Array]) -> Glimpse:
        parts = probabilities(outputs[self._look.scores_name][0])
        best = int(parts.argmax())
        return Glimpse(outputs[self._look.boxes_name][0], self._look.labels[best], float(parts[best]))


def _centre(boxes: Array) -> str:
    left, top, right, bottom = map(float, boxes[0])
    return f"at ({(left + right) / 2:5.1f}, {(top + bottom) / 2:5.1f})"
