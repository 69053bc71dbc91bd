"""Score networks that draw strokes: the negative log-likelihood of the points of drawings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.batches import pad
from edgernn.data.sequences import PackedSequences
from edgernn.data.strokes import open_drawings, part_to_evaluate
from edgernn.errors import CheckFailedError, ConfigError, counted
from edgernn.pens import ENDS, START, StrokeUnits, point_rows
from edgernn.runtime import Model
from edgernn.runtime.pipelines.pens import Pen
from edgernn.tasks.pens.settings import PensEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = [
    "HELD_OUT",
    "TRAIN",
    "Batch",
    "PensScore",
    "Predict",
    "as_batch",
    "drawings_of",
    "evaluate",
    "inputs_of",
    "score_drawings",
]

TRAIN, HELD_OUT = "train", "held-out"  # the parts of a run's data
_BATCH = 64  # drawings that are read together
_END = np.array([[0, 0, 0, 0, 1]], np.float32)  # the point that ends a drawing

# From points (time, batch, 5), the mixtures of the next points (time, batch, 6 components + 3); and those of a network
# whose state is reset before each point.
Predict = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class PensScore:
    """The score of drawings, whose offsets are divided by the model's scale before their density is taken.

    nats: the mean of -log p over all points, of which `offset` is for the offset and `pen` for the state of the pen;
    the end of a drawing counts as a state of the pen, and not as a point. reset: `nats` of the same network if its
    state is reset before each point. sketch_rnn: the reconstruction loss of sketch-rnn, which is the sum without the
    ends, divided by the number of drawings and the points of the longest. points, count: of points and drawings.
    """

    nats: float
    offset: float
    pen: float
    reset: float
    sketch_rnn: float
    points: int
    count: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        names = ("nats", "offset", "pen", "reset", "sketch_rnn")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.nats:.3f} nats a point: {self.offset:.3f} for the offset, {self.pen:.3f} for the pen; "
            f"{self.reset:.3f} if the state is reset at each point; {self.sketch_rnn:.3f} as the reconstruction loss "
            f"of sketch-rnn; on {counted(self.points, 'point')} of {counted(self.count, 'drawing')}"
        )


class _Sum:
    """The sum of -log p over points: of offsets, of states of the pen, and of the ends of drawings."""

    def __init__(self) -> None:
        self.offset = self.pen = self.end = 0.0

    @property
    def all(self) -> float:
        return self.offset + self.pen + self.end

    def add(self, mixtures: Array, targets: Array) -> None:
        """Add the points that targets (points, 5) are, as mixtures (points, 6 components + 3) predict them."""
        offsets, pens = _nats(mixtures.astype(np.float64), targets.astype(np.float64))
        ends = targets[:, 2 + ENDS] == 1
        self.offset += float(offsets[~ends].sum())
        self.pen += float(pens[~ends].sum())
        self.end += float(pens[ends].sum())


def score_drawings(
    predict: Predict, drawings: Sequence[Array], units: StrokeUnits, progress: Progress | None = None
) -> PensScore:
    """Return the score of drawings, each int (points, 3).

    Raises CheckFailedError for a density that is not a number.
    """
    kept, reset, done = _Sum(), _Sum(), 0
    for batch in _batches(drawings):
        inputs, targets, there = as_batch(batch, units.scale)
        for total, mixtures in zip((kept, reset), predict(inputs), strict=True):
            total.add(mixtures[there], targets[there])
        done += len(batch)
        if progress is not None:
            progress(done / len(drawings), f"{done:,} of {len(drawings):,} drawings")
    if not np.isfinite(kept.all + reset.all):
        raise CheckFailedError("the density of the points is not a number")
    points = sum(map(len, drawings))
    return PensScore(
        kept.all / points,
        kept.offset / points,
        (kept.pen + kept.end) / points,
        reset.all / points,
        (kept.offset + kept.pen) / (len(drawings) * units.longest),
        points,
        len(drawings),
    )


class Batch(NamedTuple):
    """Drawings as one array. inputs: what a network reads, the start and each point, float32 (time, drawings, 5).

    targets: what it predicts, each point and the end. there: bool (time, drawings), False for padding.
    """

    inputs: Array
    targets: Array
    there: Array


def as_batch(drawings: Sequence[Array], scale: float) -> Batch:
    """Return drawings, each (points, 3), as a batch of points in units of `scale`."""
    inputs, lengths = pad([inputs_of(each, scale) for each in drawings])
    targets, _ = pad([np.concatenate([point_rows(each, scale), _END]) for each in drawings])
    return Batch(inputs, targets, np.arange(len(inputs))[:, None] < lengths)


def inputs_of(points: Array, scale: float) -> Array:
    """Return what a network reads of a drawing (points, 3): the start and each point, float32 (points + 1, 5)."""
    return np.concatenate([START[None], point_rows(points, scale)])


def drawings_of(packed: PackedSequences) -> list[Array]:
    """Return the drawings of a run's data."""
    return [packed.values[begin:end] for begin, end in pairwise([0, *packed.ends.tolist()])]


def evaluate(model: Model, settings: PensEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of `model` on drawings.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for data that is missing or damaged.
    """
    pen = Pen(model)
    if settings.data:
        part, notes = part_to_evaluate(settings.data, settings.split)
        drawings = open_drawings(settings.data, part)
    elif own is None:
        raise ConfigError("a network that draws strokes is evaluated on drawings: name them with --data")
    else:
        settings.refuse_without_data("split")
        drawings = drawings_of(PackedSequences.of_run(own.folder, HELD_OUT, own.record))
        notes = [note_held_out(counted(len(drawings), "drawing"))]
    return Evaluation(score_drawings(_predictor(model, pen), drawings, pen.units, progress), notes)


def _predictor(model: Model, pen: Pen) -> Predict:
    """Return what steps a model over points; its state is that of all steps before, and in the second result none."""

    def predict(points: Array) -> tuple[Array, Array]:
        first = model.begin(batch=points.shape[1])[1]
        state, kept, reset = first, [], []
        for rows in points:
            outputs, state = model.step({pen.input_name: rows}, state)
            kept.append(outputs[pen.output_name])
            reset.append(model.step({pen.input_name: rows}, first)[0][pen.output_name])
        return np.stack(kept), np.stack(reset)

    return predict


def _batches(drawings: Sequence[Array]) -> Iterator[list[Array]]:
    """Yield drawings of similar length together."""
    order = sorted(range(len(drawings)), key=lambda place: len(drawings[place]))
    for begun in range(0, len(order), _BATCH):
        yield [drawings[place] for place in order[begun : begun + _BATCH]]


def _nats(mixtures: Array, targets: Array) -> tuple[Array, Array]:
    """Return -log of the density of offsets and of the probability of states of the pen, each (points,).

    As `network.negative_log_likelihood`, without torch and in double precision.
    """
    logits, x, y, across, down, steep = mixtures[:, :-3].reshape(len(mixtures), 6, -1).transpose(1, 0, 2)
    right, below = (targets[:, :1] - x) / across, (targets[:, 1:2] - y) / down
    free = 1 - steep**2
    squares = (right**2 - 2 * steep * right * below + below**2) / free
    normal = -0.5 * (squares + np.log(free)) - np.log(across * down) - np.log(2 * np.pi)
    offset = _log_sum(logits) - _log_sum(logits + normal)
    pens = mixtures[:, -3:]
    return offset, _log_sum(pens) - (pens * targets[:, 2:]).sum(axis=1)


def _log_sum(values: Array) -> Array:
    """Return the logarithm of the sum of the exponentials of values (rows, places), for each row."""
    highest = values.max(axis=1, keepdims=True)
    return np.asarray(highest[:, 0] + np.log(np.exp(values - highest).sum(axis=1)))
