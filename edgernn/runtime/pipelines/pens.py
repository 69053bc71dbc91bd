"""Drawing strokes on the device: a stream predicts the next point of the pen, and its random numbers choose it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgernn.contract import BATCH, Array
from edgernn.errors import ConfigError, StreamError, counted
from edgernn.media.animation import is_animated
from edgernn.media.stroke_pictures import OUT_SUFFIXES, draw_strokes, stroke_text
from edgernn.media.strokes import STROKE_SUFFIXES, read_strokes, to_lines
from edgernn.pens import ENDS, LIFTS, SIZE, mixture_size, point_rows
from edgernn.runtime import Model, Sampler, Stream
from edgernn.runtime.pipelines.drawing import DrawingOptions
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore
from edgernn.sampling import COLDEST
from edgernn.settings import option

__all__ = ["Pen", "PensOptions", "PensPipeline", "Strokes"]

_PEN = "pen"  # the state that says where the pen is
_MOST_GROWING = 64  # drawings in an animation, which takes 3 MB of memory for each


@dataclass(frozen=True)
class Strokes(Result):
    """Drawings.

    drawings: the points of each, float64 (points, 3): dx, dy, and 1 where the pen lifts, else 0. seeds: of each
    drawing. ended: whether the network ended it; otherwise it has the largest number of points. given: the number of
    points with which each began. out: the file that was written, if any. seconds: that all steps took.
    """

    drawings: tuple[Array, ...]
    seeds: tuple[int, ...]
    ended: tuple[bool, ...]
    given: int
    out: Path | None
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """The number of points of the longest drawing."""
        return max(map(len, self.drawings))

    def to_json(self) -> dict[str, Any]:
        """Return the file, the points of the longest drawing, and each drawing with its strokes."""
        drawings = [
            {
                "seed": str(seed),
                "points": len(points),
                "ended": ended,
                "strokes": [np.round(line, 3).tolist() for line in to_lines(points)],
            }
            for points, seed, ended in zip(self.drawings, self.seeds, self.ended, strict=True)
        ]
        return {"out": None if self.out is None else str(self.out), "steps": self.steps, "drawings": drawings}

    def __str__(self) -> str:
        """Return what was drawn, and where it is."""
        strokes = sum(len(to_lines(points)) for points in self.drawings)
        points = sum(map(len, self.drawings))
        where = "" if self.out is None else f", in {self.out}"
        what = (
            f"{counted(len(self.drawings), 'drawing')} of {counted(strokes, 'stroke')} and {counted(points, 'point')}"
        )
        return f"{what}{where}"

    @property
    def note(self) -> str:
        """The speed."""
        points = sum(len(each) - self.given for each in self.drawings)
        return f"{points / max(self.seconds, 1e-9):,.0f} points/s"


@dataclass(frozen=True, kw_only=True)
class PensOptions(DrawingOptions):
    """What is drawn."""

    temperature: float = option(
        1.0,
        "The sampling temperature, at least 0.001, which divides the logits and multiplies the variances of the "
        "mixture; lower values give likelier and steadier strokes.",
        low=0,
        high=1e6,
    )
    complete: Path | None = option(
        None,
        "Complete the drawing in this file: a JSON list of strokes, each a list of points [x, y], or an .npz file of "
        "one drawing.",
    )
    max_points: int | None = option(
        None,
        "End a drawing after this number of points.",
        low=1,
        high=100_000,
        unset="that of the longest drawing in the training data and the held-out data",
    )
    out: Path | None = option(
        None,
        "Write the drawings: as strokes to an .svg or a .json file, to a .gif as they grow "
        f"(at most {_MOST_GROWING} drawings), or to another image file.",
    )


class Pen:
    """The parts of a model that draws strokes.

    units: of its drawings. input_name, output_name: of the point and of the mixture of the next one.
    """

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not draw strokes, ContractError for one without a graph step."""
        graph = model.contract["step"]
        point, mixture = graph.input_of("point"), graph.output_of("next-point")
        pen = next((state for state in graph.states if state.name == _PEN), None)
        if point is None or mixture is None or pen is None or len(graph.inputs) > 1 or graph.conditions:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but it does not draw strokes: that takes an input of the "
                f"kind point and no other, an output of the kind next-point, and a state {_PEN}"
            )
        sizes = {mixture_size(count) for count in range(1, 1001)}
        right = (point.axes, pen.axes) == ((BATCH, SIZE),) * 2 and len(mixture.axes) == 2 and mixture.axes[1] in sizes
        if not right or model.strokes is None:
            raise StreamError(
                "the bundle does not draw strokes: its points or its state pen are not (batch, 5), its mixture is not "
                "(batch, 6 components + 3), or it has no strokes.json"
            )
        self.model, self.units = model, model.strokes
        self.input_name, self.output_name = point.name, mixture.name

    def stream(self, sampler: Sampler, given: Array | None = None) -> Stream:
        """Return a stream that has read the start and the points `given` (points, 3), and draws on with `draw`.

        sampler: its seed and temperature are used; a temperature of 0 is refused when the first point is drawn.
        Raises StreamError for an offset that is not two finite numbers in single precision, and for a pen that neither
        lifts, 1, nor draws on, 0.
        """
        rows = self._rows(np.zeros((0, 3)) if given is None else given)
        stream = self.model.stream(sampler)
        stream.step(stream.next_point())
        for row in rows:
            stream.step({self.input_name: row[None]})
        return stream

    def draw(self, stream: Stream) -> Array | None:
        """Draw the next point, float64 (3,): dx, dy, and 1 if the pen lifts, else 0; None once the drawing has ended.

        Raises SamplingError for a mixture that is not made of numbers.
        """
        if self.ended(stream):
            return None
        drawn = stream.next_point()
        stream.step(drawn)
        row = drawn[self.input_name][0]
        return None if row[2 + ENDS] == 1 else self._point(row)

    def ended(self, stream: Stream) -> bool:
        """Return whether the drawing of a stream has ended."""
        return bool(stream.state[_PEN][0, 2 + ENDS] == 1)

    def place(self, stream: Stream) -> tuple[float, float]:
        """Return where the pen of a stream is, x and y from the beginning of the drawing."""
        x, y = (self.units.scale * float(each) for each in stream.state[_PEN][0, :2])
        return x, y

    def _rows(self, points: Array) -> Array:
        """Return points as the network reads them."""
        with np.errstate(over="ignore"):
            rows = point_rows(points, self.units.scale)
        right = np.isfinite(rows).all(axis=1) & np.isin(points[:, 2], (0, 1))
        if not right.all():
            place = int(np.flatnonzero(~right)[0])
            told = ", ".join(f"{each:g}" for each in points[place])
            raise StreamError(
                f"point {place} is {told}: it takes two finite numbers, and 1 where the pen lifts, else 0"
            )
        return rows

    def _point(self, row: Array) -> Array:
        return np.array([*(self.units.scale * row[:2].astype(np.float64)), row[2 + LIFTS]])


class PensPipeline(Pipeline[PensOptions]):
    """Draws strokes."""

    task = "pens"
    inputs = ("", "nothing: the options say what is drawn")
    suffixes = ()
    options = PensOptions
    example = "bundles/pens --seed 1 --count 16 --out characters.svg"
    takes_nothing = True

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not draw strokes."""
        super().__init__(model)
        self._pen = Pen(model)

    def read(self, source: str | Path | bytes) -> NoReturn:
        """Raise ConfigError: nothing is read but the drawing that is to be completed."""
        raise ConfigError("a network that draws strokes reads no files but the one of --complete")

    def check(self, options: PensOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a file that cannot be written, or a drawing to complete that has another suffix."""
        begun = [] if options.complete is None else [options.complete]
        if begun and begun[0].suffix.lower() not in STROKE_SUFFIXES:
            raise ConfigError(f"--complete {begun[0]}: the name must end in {', '.join(STROKE_SUFFIXES)}")
        if options.temperature < COLDEST:
            raise ConfigError(
                f"--temperature {options.temperature:g} is not a number of at least {COLDEST:g}, which "
                "drawing strokes needs"
            )
        if options.out is None:
            return
        check_output("--out", options.out, begun, OUT_SUFFIXES)
        if is_animated(options.out) and options.count > _MOST_GROWING:
            raise ConfigError(
                f"--out {options.out}: an animation shows at most {_MOST_GROWING} drawings, and --count is "
                f"{options.count:,}: choose fewer, or another suffix"
            )

    def __call__(self, inputs: Mapping[str, Array], options: PensOptions, show: Show = ignore) -> Strokes:
        """Draw. show: called with a single drawing so far after each stroke, or with each of several drawings.

        Raises CorpusError for a drawing to complete that cannot be read, ImageError if the drawings cannot be written.
        """
        given = np.zeros((0, 3)) if options.complete is None else read_strokes(options.complete)
        most = options.max_points or self._pen.units.longest
        if len(given) >= most:
            raise ConfigError(
                f"--complete {options.complete} has {counted(len(given), 'point')}, and a drawing ends after {most:,}: "
                "raise --max-points"
            )
        drawings, seeds, ended, seconds = [], [], [], 0.0
        for number in range(options.count):
            stream = self._pen.stream(Sampler(options.temperature, seed=options.seed_of(number)), given)
            points, taken, going_on = self._finish(stream, given, most, ignore if options.count > 1 else show)
            seconds += taken
            if options.count > 1 and len(points):
                going_on = show(_titled(f"drawing {number + 1}", points)) is not False
            drawings.append(points)
            seeds.append(stream.seed)
            ended.append(self._pen.ended(stream))
            if not going_on:
                break
        if options.out is not None:
            draw_strokes(drawings, len(given), options.out)
        return Strokes(tuple(drawings), tuple(seeds), tuple(ended), len(given), options.out, seconds)

    def _finish(self, stream: Stream, given: Array, most: int, show: Show) -> tuple[Array, float, bool]:
        """Draw until the drawing ends or has `most` points.

        Returns the drawing, the seconds that it took, and whether to go on. show: called after each stroke, also after
        one in which the drawing ends before the pen lifts.
        """
        points, seconds = [*given], 0.0
        while len(points) < most:
            begun = time.perf_counter()
            point = self._pen.draw(stream)
            seconds += time.perf_counter() - begun
            if point is None:
                break
            points.append(point)
            if point[2] and not _show_stroke(points, show):
                return np.array(points), seconds, False
        is_cut = len(points) > len(given) and not points[-1][2]
        going_on = not is_cut or _show_stroke(points, show)
        return np.array(points).reshape(-1, 3), seconds, going_on


def _show_stroke(points: Sequence[Array], show: Show) -> bool:
    """Show a drawing, titled by its last stroke, and return whether to go on."""
    if show is ignore:
        return True
    drawing = np.array(points)
    return show(_titled(f"stroke {len(to_lines(drawing))}", drawing)) is not False


def _titled(title: str, points: Array) -> str:
    return f"{title}\n{stroke_text(points)}"
