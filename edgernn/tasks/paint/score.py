"""Score networks that paint: the squared error of their paintings, in proportion to that of the mean colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgernn.contract import Array
from edgernn.data.photographs import open_album
from edgernn.data.pictures import HELD_OUT
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CheckFailedError, ConfigError, counted
from edgernn.runtime import Model
from edgernn.runtime.pipelines.paint import Paint
from edgernn.tasks.paint.network import Painter
from edgernn.tasks.paint.settings import PaintEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["PaintScore", "evaluate", "score_network"]

_BATCH = 16  # photographs that are painted together
_BYTE = 255.0
_SHOWN = (10, 40, 100, 200, 400, 1000)  # strokes after which the ratio is reported too
_TINY = 1e-9

Canvases = Iterator[Array]  # (photographs, height, width, 3) after each stroke, from 0 to 1


@dataclass(frozen=True)
class PaintScore:
    """The score of paintings.

    squared_error_ratio: the squared error of all paintings after the last stroke, divided by that of photographs in
    their mean colours. ratios: the same after some numbers of strokes. strokes: of each painting.
    """

    squared_error_ratio: float
    ratios: dict[int, float]
    strokes: int
    count: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"squared_error_ratio": self.squared_error_ratio}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        ratios = {str(strokes): ratio for strokes, ratio in self.ratios.items()}
        return {
            "squared_error_ratio": self.squared_error_ratio,
            "ratios": ratios,
            "strokes": self.strokes,
            "count": self.count,
        }

    def __str__(self) -> str:
        """Return the figures in words."""
        before = ", ".join(f"{ratio:.3f} after {strokes}" for strokes, ratio in self.ratios.items())
        return (
            f"a squared error of {self.squared_error_ratio:.3f} of that of the mean colour after "
            f"{counted(self.strokes, 'stroke')}{f' ({before})' if before else ''}, on {counted(self.count, 'picture')}"
        )


def _ignore(done: float, figures: str) -> None:
    """Ignore the progress."""


def score_network(network: Painter, images: Array, strokes: int, progress: Progress = _ignore) -> PaintScore:
    """Return the score of a network on photographs, bytes (photographs, side, side, 3).

    Raises CheckFailedError for a painting that is not made of numbers.
    """
    device = next(network.parameters()).device

    def paintings(batch: Array) -> Canvases:
        target, after = torch.tensor(batch, device=device).float() / _BYTE, network.begin(len(batch), batch.shape[1])
        for _ in range(strokes):
            with torch.no_grad():
                _, after = network.paint(target, after)
            yield after.canvas.cpu().numpy()

    return _score(paintings, images, strokes, _BATCH, progress)


def _score(
    paintings: Callable[[Array], Canvases], images: Array, strokes: int, widest: int, progress: Progress
) -> PaintScore:
    shown = [each for each in _SHOWN if each < strokes] + [strokes]
    plain, lost = 0.0, dict.fromkeys(shown, 0.0)
    for begun in range(0, len(images), widest):
        batch = images[begun : begun + widest]
        wanted = batch / _BYTE
        plain += float(((wanted - wanted.mean(axis=(1, 2), keepdims=True)) ** 2).sum())
        for number, canvas in enumerate(paintings(batch), 1):
            if number in lost:
                lost[number] += float(((wanted - canvas) ** 2).sum())
            if number % 10 == 0:
                done = (begun + len(batch) * number / strokes) / len(images)
                progress(done, f"{begun:,} of {len(images):,} photographs")
    ratios = {number: error / max(plain, _TINY) for number, error in lost.items()}
    if not np.isfinite(ratios[strokes]):
        raise CheckFailedError("the paintings are not made of numbers")
    last = ratios.pop(strokes)
    return PaintScore(last, ratios, strokes, len(images))


def evaluate(model: Model, settings: PaintEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of a model of a run or bundle. Without --data, on the photographs that the run held out.

    Raises ConfigError for too many strokes and for a bundle without data, CorpusError for data that is missing or
    cannot be read.
    """
    paint = Paint(model)
    strokes = paint.count(settings.strokes)
    if not settings.data:
        if own is None:
            raise ConfigError("a bundle of a network that paints is evaluated on photographs: name them with --data")
        settings.refuse_without_data("split")
        images = PackedSequences.of_run(own.folder, HELD_OUT, own.record).values[: settings.pictures]
        notes = [note_held_out(counted(len(images), "picture"))]
    else:
        album, notes = open_album(settings.data).part(settings.split)
        images, lost = album.read(paint.side, settings.pictures, progress)
        notes += lost
    widest = _BATCH if model.contract["step"].batched else 1
    score = _score(lambda batch: paint.canvases(batch, strokes), np.asarray(images), strokes, widest, progress)
    return Evaluation(score, notes)
