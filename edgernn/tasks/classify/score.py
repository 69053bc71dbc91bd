"""Score classifiers: accuracy, balanced accuracy, calibration and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.batches import pad
from edgernn.data.clips import CLIP_CLASSES
from edgernn.data.sequences import VIDEO, PackedSequences, SequenceDataset, part_to_evaluate, read_sequences
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, counted, few
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.pipeline import check_output
from edgernn.runtime.pipelines.sequence_input import SequenceInput
from edgernn.tasks.classify.data import HELD_OUT, drawn_clips
from edgernn.tasks.classify.settings import ClassifyEvaluation
from edgernn.tasks.confusion import Confusion
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["ClassifyScore", "evaluate", "score_probabilities"]

_BINS = 15  # of the calibration error
_BATCH = 32  # sequences that are stepped together
_PICTURES = (".png", ".svg")  # suffixes of the picture of the matrix
_LEAST = 1e-12  # of a probability in a logarithm


@dataclass(frozen=True)
class ClassifyScore(Confusion):
    """The score of the labels of sequences.

    nats: mean negative log-likelihood of the true class.
    calibration_error: the expected calibration error (Naeini et al. 2015), in 15 bins of equal width.
    """

    nats: float
    calibration_error: float

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy, "nats": self.nats}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "nats": self.nats,
            "calibration_error": self.calibration_error,
            "count": self.count,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        """Return the figures in words, with the most frequent confusions."""
        text = (
            f"accuracy {100 * self.accuracy:.1f} %, balanced {100 * self.balanced_accuracy:.1f} %, "
            f"{self.nats:.3f} nats, calibration error {self.calibration_error:.3f} "
            f"on {counted(self.count, 'sequence')}"
        )
        return text + self.most_confused


def score_probabilities(parts: Array, labels: Array, classes: Sequence[str]) -> ClassifyScore:
    """Return the score of probabilities (sequences, classes) for the true classes `labels`.

    Raises CheckFailedError for probabilities that are not numbers.
    """
    if not np.isfinite(parts).all():
        raise CheckFailedError("the probabilities of the classes are not numbers")
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    best = parts.argmax(axis=1)
    np.add.at(confusion, (labels, best), 1)
    true = parts[np.arange(len(labels)), labels]
    certainty, right = parts.max(axis=1), best == labels
    bins = np.minimum((certainty * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float((right[bins == each] - certainty[bins == each]).sum())) for each in range(_BINS)]
    nats = float(-np.log(np.maximum(true, _LEAST)).mean())
    return ClassifyScore(tuple(classes), confusion, nats, sum(gaps) / len(labels))


def evaluate(model: Model, settings: ClassifyEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of `model` on labelled sequences.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for data that is missing, of another kind or of other
    classes.
    """
    if settings.confusion is not None:
        check_output("--confusion", settings.confusion, [Path(settings.data)] if settings.data else [], _PICTURES)
    source, output = SequenceInput(model), label_output(model).name
    assert model.labels is not None
    steps, labels, notes = _open(settings, source, model, progress, own)
    parts = np.empty((len(steps), len(model.labels)))
    order = sorted(range(len(steps)), key=lambda place: len(steps[place]))
    for begun in range(0, len(order), _BATCH):
        rows = order[begun : begun + _BATCH]
        parts[rows] = probabilities(_last_scores(model, source.name, output, [steps[row] for row in rows]))
        progress((begun + len(rows)) / len(order), f"{begun + len(rows):,} of {len(order):,} sequences")
    score = score_probabilities(parts, labels, model.labels)
    if settings.confusion is not None:
        from edgernn.tasks.classify.picture import draw_confusion

        draw_confusion(score, settings.confusion)
    return Evaluation(score, notes, score.table)


class _Labelled(NamedTuple):
    """The steps (steps, ...) and the labels of sequences (sequences,), and notes about them."""

    steps: Sequence[Array]
    labels: Array
    notes: Sequence[str]


def _open(
    settings: ClassifyEvaluation,
    source: SequenceInput,
    model: Model,
    progress: Progress,
    own: RunData | None,
) -> _Labelled:
    """Return the sequences to evaluate on."""
    if settings.data:
        dataset = _dataset(settings, source, model, progress)
        labels = np.array([example.label for example in dataset.examples])
        return _Labelled([source.steps(each.value, each.name) for each in dataset.examples], labels, dataset.notes)
    if own is None:
        raise ConfigError("a classifier is evaluated on labelled sequences: name them with --data")
    settings.refuse_without_data("split", "digits")
    kept = PackedSequences.of_run(own.folder, HELD_OUT, own.record)
    steps = [source.steps(kept.sequence(place)) for place in range(len(kept))]
    return _Labelled(steps, kept.labels, [note_held_out(counted(len(kept), "sequence"))])


def _dataset(settings: ClassifyEvaluation, source: SequenceInput, model: Model, progress: Progress) -> SequenceDataset:
    """Return the sequences of the data set that `settings` name."""
    assert model.labels is not None
    if settings.data == CLIPS:
        if source.kind != VIDEO or model.labels != CLIP_CLASSES:
            raise CorpusError(f"the drawn clips have the classes {few(CLIP_CLASSES)}, which the model does not know")
        return drawn_clips(settings.split, settings.digits)
    path, kind = Path(settings.data), source.kind
    split, notes = part_to_evaluate(path, kind, settings.split)
    dataset = read_sequences(
        path,
        kind,
        split=split,
        classes=model.labels,
        rate=source.sample_rate,
        channels=model.channels or (),
        progress=progress,
    )
    return replace(dataset, notes=(*dataset.notes, *notes))


def _last_scores(model: Model, name: str, output: str, sequences: Sequence[Array]) -> Array:
    """Return the scores (sequences, classes) after the last step of each sequence."""
    batched = model.contract["step"].batched
    if not batched and len(sequences) > 1:
        return np.concatenate([_last_scores(model, name, output, [each]) for each in sequences])
    conditions, state = model.begin(batch=len(sequences))
    last: dict[int, Array] = {}
    for place, step in enumerate(pad(sequences).steps):
        outputs, state = model.step({name: step}, state, conditions=conditions)
        last |= {row: outputs[output][row] for row, each in enumerate(sequences) if len(each) == place + 1}
    return np.stack([last[row] for row in range(len(sequences))])
