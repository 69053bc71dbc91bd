"""Classification on the device: a stream reads a sequence step by step, with a guess after every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.errors import StreamError
from edgernn.runtime import Model, Stream
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, ignore
from edgernn.runtime.pipelines.sequence_input import TEXT, SequenceInput
from edgernn.settings import Settings, option

__all__ = ["Classification", "ClassifyOptions", "ClassifyPipeline"]

NONE_OF_THESE = "none of these"


@dataclass(frozen=True)
class Classification(Result):
    """The label of a sequence, and the probability of every class, the most probable first.

    label: "none of these" where no class reaches the threshold.
    """

    label: str
    probabilities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the label and the probabilities."""
        return {"label": self.label, "probabilities": dict(self.probabilities)}

    def __str__(self) -> str:
        """Return the label and the probability of the most probable class."""
        best, probability = next(iter(self.probabilities.items()))
        if self.label == best:
            return f"{best} ({100 * probability:.0f} %)"
        return f"{self.label} ({best} has {100 * probability:.0f} %)"


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(Settings):
    """How labels are given."""

    threshold: float = option(
        0.0, "The lowest probability of a label; below it, the answer is none of these.", low=0, high=1
    )
    guesses: bool = option(True, "Print the guess while the sequence is read, each time that it changes.")


class ClassifyPipeline(Pipeline[ClassifyOptions]):
    """Labels sequences: sound, text, rows of numbers or clips, as the bundle's contract says."""

    task = "classify"
    inputs = ("SEQUENCE", "a text for a bundle that reads text, else files: WAV, CSV, .npy or GIF")
    suffixes = (".wav", ".csv", ".npy", ".gif")
    options = ClassifyOptions
    example = "bundles/digits seven.wav"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not label sequences."""
        super().__init__(model)
        self._output = label_output(model).name
        self._input = SequenceInput(model)
        self.takes_text = self._input.kind == TEXT

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the steps of the sequence in a file, (steps, ...), by the name of the model's input."""
        return {self._input.name: self._input.read(source)}

    def read_typed(self, text: str, options: ClassifyOptions) -> Mapping[str, Array]:
        """Return the tokens of a text."""
        return {self._input.name: self._input.steps(text)}

    def __call__(self, inputs: Mapping[str, Array], options: ClassifyOptions, show: Show = ignore) -> Classification:
        """Read the sequence to its end. show: called with a line each time that the guess changes."""
        stream, found, last = self.model.stream(), None, ""
        for number, scores in enumerate(self._scores(stream, inputs), 1):
            found = self._classification(scores, options)
            if options.guesses and found.label != last and show is not ignore:
                last = found.label
                if show(f"{self._time(number)}  {found}\n") is False:
                    break
        if found is None:
            raise StreamError("the sequence is empty: there is nothing to label")
        return found

    def _scores(self, stream: Stream, inputs: Mapping[str, Array]) -> Iterator[Array]:
        for step in inputs[self._input.name]:
            yield stream.step({self._input.name: step[None]})[self._output][0]

    def _classification(self, scores: Array, options: ClassifyOptions) -> Classification:
        labels = self.model.labels
        assert labels is not None
        parts = probabilities(scores)
        order = np.argsort(-parts, kind="stable")
        best = labels[order[0]] if parts[order[0]] >= options.threshold else NONE_OF_THESE
        return Classification(best, {labels[place]: float(parts[place]) for place in order})

    def _time(self, number: int) -> str:
        rate = self._input.rate
        return f"step {number:4}" if rate is None else f"{number / rate:6.2f} s"
