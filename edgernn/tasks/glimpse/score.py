"""Score networks that look by glimpses: the error after the last glimpse, and when they may stop early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.pictures import HELD_OUT, in_colour, open_part, part_to_evaluate
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, counted
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.runtime.pipelines.glimpse import Look
from edgernn.tasks.glimpse.data import Canvas
from edgernn.tasks.glimpse.settings import GlimpseEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["GlimpseScore", "evaluate", "score_glimpses"]

_BATCH = 64  # pictures that are looked at together
_LEAST = 1e-12  # of a probability in a logarithm


@dataclass(frozen=True)
class GlimpseScore:
    """The score of the classes of pictures.

    error: the fraction of wrong classes after the last glimpse. nats: mean negative log-likelihood of the true class
    there. early_error: the error where looking stops once a class has a probability of `certainty`; mean_glimpses:
    after how many glimpses. errors: after each glimpse.
    """

    error: float
    nats: float
    early_error: float
    mean_glimpses: float
    certainty: float
    errors: tuple[float, ...]
    count: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"error": self.error, "nats": self.nats, "mean_glimpses": self.mean_glimpses}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return {**asdict(self), "errors": list(self.errors)}

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f"error {100 * self.error:.2f} % after {counted(len(self.errors), 'glimpse')}, {self.nats:.3f} nats; "
            f"{100 * self.early_error:.2f} % where looking stops at {100 * self.certainty:g} %, "
            f"after {self.mean_glimpses:.2f} glimpses on average, on {counted(self.count, 'picture')}"
        )

    @property
    def table(self) -> str:
        """The error after each glimpse, a line for each."""
        return "\n".join(
            f"glimpse {number:3}: error {100 * error:6.2f} %" for number, error in enumerate(self.errors, 1)
        )


def score_glimpses(parts: Array, labels: Array, certainty: float) -> GlimpseScore:
    """Return the score of probabilities (glimpses, pictures, classes) for the true classes `labels` (pictures,).

    Raises CheckFailedError for probabilities that are not numbers.
    """
    if not np.isfinite(parts).all():
        raise CheckFailedError("the probabilities of the classes are not numbers")
    wrong = parts.argmax(axis=2) != labels
    sure = (parts.max(axis=2) >= certainty) & (certainty < 1)  # a probability may be rounded to 1
    sure[-1] = True
    stops = sure.argmax(axis=0)
    pictures = np.arange(len(labels))
    nats = -np.log(np.maximum(parts[-1, pictures, labels], _LEAST)).mean()
    errors = tuple(map(float, wrong.mean(axis=1)))
    early = float(wrong[stops, pictures].mean())
    return GlimpseScore(errors[-1], float(nats), early, float(stops.mean()) + 1, certainty, errors, len(labels))


def evaluate(model: Model, settings: GlimpseEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of `model` on labelled pictures.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for data that is missing, of another size or of other
    classes.
    """
    look = Look(model)
    images, labels, notes = _open(settings, look, own)
    found = []
    for begun in range(0, len(labels), _BATCH):
        batch = in_colour(images[begun : begun + _BATCH])
        found.append(probabilities(look.scores(batch)))
        progress((begun + len(batch)) / len(labels), f"{begun + len(batch):,} of {len(labels):,} pictures")
    score = score_glimpses(np.concatenate(found, axis=1), labels, settings.certainty)
    return Evaluation(score, notes, score.table)


class _Labelled(NamedTuple):
    """Pictures of the model's size, grey or coloured, their labels, and notes about them."""

    images: Array
    labels: Array
    notes: list[str]


def _open(settings: GlimpseEvaluation, look: Look, own: RunData | None) -> _Labelled:
    """Return the pictures to evaluate on."""
    if not settings.data:
        if own is None:
            raise ConfigError("a network that looks is evaluated on labelled pictures: name them with --data")
        settings.refuse_without_data("split", "clutter")
        kept = PackedSequences.of_run(own.folder, HELD_OUT, own.record)
        return _Labelled(kept.values, kept.labels, [note_held_out(counted(len(kept), "picture"))])
    part, notes = part_to_evaluate(settings.data, settings.split)
    pictures = open_part(settings.data, part).among(look.labels, settings.data)
    images, size = pictures.images, pictures.images.shape[1:3]
    if size == look.size and not settings.clutter:
        return _Labelled(images, pictures.labels, notes)
    if images.ndim > 3 or look.size[0] != look.size[1] or max(size) > look.size[0]:
        raise CorpusError(
            f"{settings.data} has pictures of {size[1]} × {size[0]} pixels, and the model looks at "
            f"{look.size[1]} × {look.size[0]}"
        )
    canvas = Canvas(look.size[0], _clutter(look.model) if settings.clutter is None else settings.clutter)
    among = f", with {counted(canvas.clutter, 'piece')} of others" if canvas.clutter else ""
    notes.append(f"each picture is placed at random on {canvas.side} × {canvas.side} pixels{among}")
    return _Labelled(canvas.place(images, images, np.random.default_rng(0)), pictures.labels, notes)


def _clutter(model: Model) -> int:
    """Return the number of pieces that lay on the canvas in training, as the bundle's provenance records it."""
    recorded = model.manifest.provenance.get("settings", {})
    trained = recorded.get("data", {}) if isinstance(recorded, Mapping) else {}
    found = trained.get("clutter", 0) if isinstance(trained, Mapping) else 0
    return found if isinstance(found, int) else 0
