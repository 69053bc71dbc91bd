"""Read and write drawings as strokes: what a pen does from point to point."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgernn import records
from edgernn.arrays import read_npz
from edgernn.contract import Array
from edgernn.errors import CorpusError, FormatError, counted

__all__ = ["STROKE_SUFFIXES", "from_lines", "read_npz_drawings", "read_strokes", "strokes_json", "to_lines"]

STROKE_SUFFIXES = (".json", ".npz")
_MOST_POINTS = 5_000  # of a drawing
_LARGEST = 1e6  # of a coordinate
_MOST_BYTES = 16 << 20  # of a JSON file
_LAYOUT = "points, int16 (points, 3) of dx, dy and 1 where the pen lifts, and ends, where each drawing ends"


def read_npz_drawings(path: Path) -> list[Array]:
    """Return the drawings of an `.npz` file: points int16 (points, 3) of dx, dy, and 1 where the pen lifts, else 0.

    The file has them one after another as `points`, and the number of points up to the end of each as `ends`.
    Raises CorpusError, which names the file, if it is damaged or has anything else.
    """
    try:
        arrays = read_npz(path, ("points", "ends", "train"))
    except FormatError as error:
        if "Python objects" in str(error):
            raise CorpusError(f"{path} holds Python objects, which only pickle reads: store {_LAYOUT}") from None
        raise CorpusError(str(error)) from None
    if lacking := [name for name in ("points", "ends") if name not in arrays]:
        raise CorpusError(f"{path} has no {lacking[0]}: it needs {_LAYOUT}")
    points, ends = arrays["points"], arrays["ends"]
    if points.dtype != np.int16 or points.ndim != 2 or points.shape[1] != 3:
        raise CorpusError(f"{path}: points are {points.dtype}{list(points.shape)}, and not int16 (points, 3)")
    if ends.dtype.kind not in "iu" or ends.ndim != 1:
        raise CorpusError(f"{path}: ends are {ends.dtype}{list(ends.shape)}, and not whole numbers (drawings,)")
    ends = ends.astype(np.int64)
    _check_ends(path, ends, len(points))
    if len(strange := np.flatnonzero(~np.isin(points[:, 2], (0, 1)))):
        raise CorpusError(
            f"{path}: the third number of point {strange[0]:,} is neither 0 nor 1, which is where the pen lifts"
        )
    if len(never := np.flatnonzero(points[ends - 1, 2] == 0)):
        raise CorpusError(f"{path}: the pen does not lift at the end of drawing {never[0]}: set the last number to 1")
    return [points[begin:end] for begin, end in pairwise([0, *ends.tolist()])]


def _check_ends(path: Path, ends: Array, points: int) -> None:
    """Raise CorpusError unless drawings that end there are neither empty nor too long, and take all points."""
    if not len(ends):
        raise CorpusError(f"{path} has no drawings")
    lengths = np.diff(ends, prepend=0)
    if len(wrong := np.flatnonzero(lengths <= 0)):
        raise CorpusError(f"{path}: drawing {wrong[0]} has no points: ends must increase from one drawing to the next")
    if ends[-1] != points:
        raise CorpusError(
            f"{path}: the last drawing ends at {ends[-1]:,}, and there are {counted(points, 'point')}: the last of the "
            "ends must be their number"
        )
    if len(large := np.flatnonzero(lengths > _MOST_POINTS)):
        raise CorpusError(
            f"{path}: drawing {large[0]} has {lengths[large[0]]:,} points, more than {_MOST_POINTS:,}: simplify it"
        )


def read_strokes(source: str | Path | bytes) -> Array:
    """Return one drawing as points, float64 (points, 3): dx, dy, and 1 where the pen lifts, else 0.

    source: an `.npz` file of one drawing; or a JSON file, or its bytes: a list of strokes, each a list of its points
    [x, y], or an object whose `drawings` is a list of one such list. The first point of JSON becomes 0, 0, and the pen
    lifts after each of its strokes; not after the last one if the object's `lifted` is [false].
    Raises CorpusError for anything else, for more than one drawing, and for one that is empty or too large.
    """
    if not isinstance(source, bytes) and Path(source).suffix.lower() == ".npz":
        drawings: Sequence[Any] = read_npz_drawings(Path(source))
        _check_one(str(source), drawings)
        return np.asarray(drawings[0], np.float64)
    name, lifted = "the drawing" if isinstance(source, bytes) else str(source), [True]
    try:
        value = records.parse(source if isinstance(source, bytes) else _content(Path(source)), name)
        if isinstance(value, dict):
            drawings = records.items(records.mapping(value, name).get("drawings"), f"{name}: drawings")
            _check_one(name, drawings)
            lifted = value.get("lifted", lifted)
            if lifted not in ([True], [False]):
                raise FormatError(f"{name}: lifted is neither [true] nor [false], one value for the one drawing")
            value = drawings[0]
        lines = [
            np.array([_pair(each, name) for each in records.items(stroke, f"{name}: a stroke")]).reshape(-1, 2)
            for stroke in records.items(value, f"{name}: the strokes")
        ]
    except FormatError as error:
        raise CorpusError(str(error)) from None
    if not lines or not all(map(len, lines)):
        raise CorpusError(f"{name}: {'a stroke' if lines else 'the drawing'} is empty: it needs a point at least")
    if (count := sum(map(len, lines))) > _MOST_POINTS:
        raise CorpusError(f"{name} has {count:,} points, more than {_MOST_POINTS:,}: simplify it")
    points = from_lines(lines)
    if lifted == [False]:
        points[-1:, 2] = 0
    return points


def _check_one(name: str, drawings: Sequence[Any]) -> None:
    if len(drawings) != 1:
        raise CorpusError(f"{name} has {counted(len(drawings), 'drawing')}: name a file of one")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise CorpusError(f"{path} has more than {_MOST_BYTES >> 20} MiB: simplify the drawing")
    return data


def _pair(value: Any, name: str) -> list[float]:
    pair = [records.number(each, f"{name}: a coordinate") for each in records.items(value, f"{name}: a point")]
    if len(pair) != 2 or not all(math.isfinite(each) and abs(each) <= _LARGEST for each in pair):
        raise FormatError(f"{name}: a point is not two numbers x, y within {_LARGEST:,.0f}")
    return pair


def from_lines(lines: Sequence[Array]) -> Array:
    """Return strokes, each (points, 2) of x and y, as points, float64 (points, 3), after the first, which becomes 0, 0.

    If the first stroke is a single point, it is one of no offset, where the pen lifts.
    """
    places = np.concatenate(lines)
    lifts = np.zeros(len(places))
    lifts[np.cumsum([len(each) for each in lines]) - 1] = 1
    points = np.hstack([np.diff(places, axis=0, prepend=places[:1]), lifts[:, None]])
    return points if lifts[0] else points[1:]


def to_lines(points: Array) -> list[Array]:
    """Return the strokes of points (points, 3), each float64 (points, 2) of x and y; the first one begins at 0, 0."""
    if not len(points):
        return []
    places = np.cumsum(np.concatenate([np.zeros((1, 2)), points[:, :2]]), axis=0)
    lines = np.split(places, np.flatnonzero(points[:, 2] == 1) + 2)
    return [line for line in lines if len(line)]


def strokes_json(drawings: Sequence[Array]) -> bytes:
    """Return drawings, each points (points, 3), as a JSON file that `read_strokes` reads if there is one of them.

    `lifted` says of each whether the pen lifted after its last point.
    """
    lists = [[np.round(line, 3).tolist() for line in to_lines(points)] for points in drawings]
    lifted = [not len(points) or bool(points[-1, 2]) for points in drawings]
    return json.dumps({"drawings": lists, "lifted": lifted}).encode() + b"\n"
