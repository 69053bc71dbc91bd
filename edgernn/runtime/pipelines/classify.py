"""Classification on the device: a stream reads a sequence step by step, with a guess after every step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.errors import StreamError, counted
from edgernn.media.audio import is_clipped
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.runtime.pipelines.pipeline import Result, Show, ignore
from edgernn.runtime.pipelines.sequence_input import TEXT, SequenceOptions, SequencePipeline
from edgernn.settings import option

__all__ = ["Classification", "ClassifyOptions", "ClassifyPipeline"]

NONE_OF_THESE = "none of these"


@dataclass(frozen=True)
class Classification(Result):
    """The label of a sequence, and the probability of every class, the most probable first.

    label: "none of these" where no class reaches the threshold. remark: what a terminal shows beside it.
    """

    label: str
    probabilities: Mapping[str, float]
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the label and the probabilities."""
        return {"label": self.label, "probabilities": dict(self.probabilities)}

    def __str__(self) -> str:
        """Return the label and the probability of the most probable class."""
        best, probability = next(iter(self.probabilities.items()))
        if self.label == best:
            return f"{best} ({100 * probability:.0f} %)"
        return f"{self.label} ({best} has {100 * probability:.0f} %)"

    @property
    def note(self) -> str:
        """The speed, and whether the sound is clipped."""
        return self.remark


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(SequenceOptions):
    """How labels are given."""

    threshold: float = option(
        0.0, 'The lowest probability of a label; below it, the answer is "none of these".', low=0, high=1
    )
    guesses: bool = option(True, "Print the guess while a sequence is read, each time that it changes; not for texts.")


class ClassifyPipeline(SequencePipeline[ClassifyOptions]):
    """Labels sequences: sound, text, rows of numbers or clips, as the bundle's contract says."""

    task = "classify"
    inputs: tuple[str, str] = ("SEQUENCE", "a text for a bundle that reads text, else files: WAV, CSV, .npy or GIF")
    suffixes: tuple[str, ...] = (".wav", ".csv", ".npy", ".gif")
    options = ClassifyOptions
    example = "bundles/digits seven.wav"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not label sequences."""
        super().__init__(model)
        self.takes_text = self.takes_lines = self._input.kind == TEXT
        self.suffixes = self._input.suffixes
        self.inputs = ("SEQUENCE", self._input.what)

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the steps of the sequence in a file, (steps, ...), by the name of the model's input."""
        return {self._input.name: self._input.read(source)}

    def read_typed(self, text: str, options: ClassifyOptions) -> Mapping[str, Array]:
        """Return the tokens of a text."""
        return {self._input.name: self._input.steps(text, "the text")}

    def __call__(
        self, inputs: Mapping[str, Iterable[Array]], options: ClassifyOptions, show: Show = ignore
    ) -> Classification:
        """Read the sequence to its end. show: called after each step, with a line if the guess changed, else "".

        Raises StreamError for an empty sequence.
        """
        stream, found, last, seconds = self.model.stream(), None, "", 0.0
        steps, guesses = inputs[self._input.name], options.guesses and self._input.kind != TEXT
        for number, step in enumerate(steps, 1):
            begun = time.perf_counter()
            scores = stream.step({self._input.name: step[None]})[self._output.name][0]
            seconds += time.perf_counter() - begun
            found = self._classification(scores, options)
            changed, last = guesses and found.label != last, found.label
            if show(f"{self._time(number)}  {found}\n" if changed else "") is False:
                break
        if found is None:
            raise StreamError("the sequence is empty: there is nothing to label")
        return replace(found, remark=self._remark(steps, stream.steps, seconds))

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

    def _remark(self, steps: Iterable[Array], count: int, seconds: float) -> str:
        """Return the speed, for sound as the real-time factor, and whether a recording is clipped."""
        rate = self._input.rate
        if rate is None:
            return f"{counted(count, 'step')}, {count / max(seconds, 1e-9):,.0f} steps/s"
        text = f"{count / rate:.2f} s of sound, real-time factor {seconds * rate / count:.4f}"
        clipped = isinstance(steps, np.ndarray) and is_clipped(steps.ravel())
        return f"{text}; it is clipped: record it again, less loud" if clipped else text
