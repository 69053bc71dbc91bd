"""The axes of a graph: which of them counts streams, and which sizes the others take, found by trial."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgernn.contract import BATCH, Axis
from edgernn.errors import ExportError
from edgernn.exporters.adoption.names import contract_name
from edgernn.exporters.adoption.trial import MisfitError, Trial

__all__ = ["Axes", "find_axes"]

_STREAMS = (2, 3)  # that a batch is tried with
_LIKE_BATCH = re.compile(r"(batch|b|n|bs|bsz|streams?)(_?(size|dim|axis))?", re.IGNORECASE)
# Sizes that named axes are tried with: the first axis has the first number, each of the others the second one more.
# Odd ones for networks that take any; the rest for those that halve, or need enough samples.
_LADDERS = (
    (7, 2),
    (16, 8),
    (64, 32),
    (263, 2),
    (521, 2),
    (1607, 2),
    (512, 512),
    (160, 160),
    (480, 480),
    (1280, 1280),
    (4096, 4096),
)
_HALVED = (64, 32)  # comes first where sizes of states follow, as those of pictures do
_EQUAL = (
    7,
    16,
    64,
    263,
    521,
    1607,
    512,
    160,
    480,
    1280,
    4096,
)  # the same for axes that have one size under different names
_PLACEMENTS = 24  # that are tried
_BY_WEIGHTS = 64  # choices of sizes that occur among the weights
_MIXED = 4  # sizes with which the rows along some axes are tried, if they turn out to be no streams
_PATIENCE = 90.0  # seconds of search

Sizes = dict[str, int]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Axes:
    """What the axes of a graph are in the contract: of its inputs and of its outputs.

    sizes: of the named axes of the model, with which one stream runs. notes: what was decided, as sentences.
    """

    inputs: Mapping[str, tuple[Axis, ...]]
    outputs: Mapping[str, tuple[Axis, ...]]
    sizes: Sizes
    notes: tuple[str, ...] = ()


def find_axes(trial: Trial, example: Mapping[str, int], *, forced: bool) -> Axes:
    """Find out by trial what the axes are.

    example: sizes of named axes that are to be tried first. forced: whether the caller said which axes count streams,
    by calling them "batch". Raises ExportError, with the reason, for a graph that runs with no sizes that were tried.
    """
    return _Search(trial, dict(example), forced).find()


@dataclass
class _Search:
    trial: Trial
    example: Sizes
    forced: bool
    misfits: list[MisfitError] = field(default_factory=list)
    failed: list[MisfitError] = field(default_factory=list)  # trials with one stream
    mixed: Counter[frozenset[str]] = field(default_factory=Counter)  # with how many sizes rows were no streams
    tried: dict[frozenset[tuple[str, int]], Shapes | None] = field(default_factory=dict)
    strict: bool = True  # whether outputs have to be as the file says

    def __post_init__(self) -> None:
        graph = self.trial.graph
        self.ports = graph.inputs
        self.states = [pair.given for pair in self.trial.pairs]
        names = (axis for port in self.ports.values() for axis in port.known_axes if isinstance(axis, str))
        self.symbols = list(dict.fromkeys(names))
        self.held = {axis for name in self.states for axis in self.ports[name].known_axes if isinstance(axis, str)}
        shared = {axis for name, port in self.ports.items() if name not in self.states for axis in port.known_axes}
        self.unsaid = self.held - shared - self.example.keys()  # axes that only states have
        self.deadline = time.monotonic() + _PATIENCE

    def find(self) -> Axes:
        """The axes; those with which the outputs are as the file says come first, since the file may be wrong."""
        usual: list[Ladder] = [self._plain, self._by_weights]
        for strict, ladders in ((True, usual), (False, usual), (False, [self._ones])):
            self.strict = strict
            found = self._with_streams(ladders) or self._alone(ladders)
            if found is not None:
                return found
        raise self._failure()

    def _with_streams(self, ladders: Sequence[Ladder]) -> Axes | None:
        """The axes with a batch, or None where none is found."""
        for ladder in ladders:
            for group in self._groups():
                running = self._running(dict.fromkeys(group, 1), ladder)
                for sizes in itertools.islice(running, _MIXED - self.mixed[group]):
                    if self._are_streams(group, sizes):
                        return self._confirmed(group, sizes, frozenset())
        return None

    def _alone(self, ladders: Sequence[Ladder]) -> Axes | None:
        """The axes with one stream, or None where it does not run."""
        if self.forced:
            return None
        for ladder in ladders:
            for fixed in (frozenset[str](), *self._groups(), *self._singles()):
                for sizes in self._running(dict.fromkeys(fixed, 1), ladder):
                    return self._confirmed(frozenset(), sizes, fixed)
        return None

    def _are_streams(self, group: frozenset[str], sizes: Sizes) -> bool:
        """Whether the rows along the axes of `group` are streams of their own."""
        try:
            for count in _STREAMS:
                self.trial.rows(sizes, group, count)
            self.trial.distant_rows(sizes, group)
        except MisfitError as error:
            self.misfits.append(error)
            self.mixed[group] += 1
            return False
        return True

    def _running(self, known: Sizes, ladder: Ladder) -> Iterator[Sizes]:
        """Sizes of all named axes with which one stream runs. known: those that are not to be tried."""
        free = [axis for axis in self.symbols if axis not in known]
        for tried in ladder(free):
            if time.monotonic() > self.deadline:
                return
            for sizes in self._completed({**tried, **known}):
                shapes = self._one(sizes)
                if shapes is not None and (not self.strict or self._is_declared(shapes, sizes)):
                    yield sizes

    def _one(self, sizes: Sizes) -> Shapes | None:
        """The shapes of results with `sizes`, or None where it does not run; the graph is tried once."""
        key = frozenset(sizes.items())
        if key not in self.tried:
            try:
                self.tried[key] = self.trial.one(sizes)
            except MisfitError as error:
                self.failed.append(error)
                self.tried[key] = None
        return self.tried[key]

    def _is_declared(self, shapes: Shapes, sizes: Sizes) -> bool:
        """Whether results have the sizes that the file says, as far as it says them."""
        for name, port in self.trial.graph.outputs.items():
            if port.axes is not None:
                said = [sizes.get(axis) if isinstance(axis, str) else axis for axis in port.axes]
                if len(said) != len(shapes[name]) or any(
                    s not in (None, n) for s, n in zip(said, shapes[name], strict=True)
                ):
                    return False
        return True

    def _completed(self, sizes: Sizes) -> Iterator[Sizes]:
        """`sizes` where those of states follow from the rest; what does not follow is 1, or as in `sizes`."""
        unknown = self.unsaid - {axis for axis, size in sizes.items() if size == 1}
        known = {axis: size for axis, size in sizes.items() if axis not in unknown}
        while unknown - known.keys():
            inferred = self.trial.shapes.infer(known)
            found = {
                axis: size
                for pair in self.trial.pairs
                for axis, size in zip(self.ports[pair.given].known_axes, inferred.get(pair.made, ()), strict=False)
                if isinstance(axis, str) and axis not in known and size is not None
            }
            if not found:
                break
            known |= found
        rest = unknown - known.keys()
        yield {**known, **dict.fromkeys(rest, 1)}
        if rest:
            yield {**known, **{axis: sizes[axis] for axis in rest}}

    # Which axes could count streams

    def _groups(self) -> list[frozenset[str]]:
        """Sets of named axes that could be the batch, the likeliest first: at most one axis of each tensor."""
        if self.forced:
            return list(dict.fromkeys(self._forced()))
        candidates = itertools.chain(self._singles(), self._aligned(), self._combined())
        groups = dict.fromkeys(group for group in candidates if self._could_be(group))
        return list(groups)[:_PLACEMENTS]

    def _singles(self) -> list[frozenset[str]]:
        """Each named axis, those first that are called like a batch, or that many tensors have."""
        singles = [frozenset([axis]) for axis in self.symbols]
        return sorted(singles, key=lambda g: (not _LIKE_BATCH.fullmatch(next(iter(g))), -self._covered(g)))

    def _aligned(self) -> Iterator[frozenset[str]]:
        """The axes at one place of all inputs, and at one place of all states."""
        places = range(max((len(port.known_axes) for port in self.ports.values()), default=0))
        for of_inputs, of_states in itertools.product(places, repeat=2):
            chosen = (
                axis
                for name, port in self.ports.items()
                for place, axis in enumerate(port.known_axes)
                if isinstance(axis, str) and place == (of_states if name in self.states else of_inputs)
            )
            yield frozenset(chosen)

    def _forced(self) -> Iterator[frozenset[str]]:
        """The axes that the caller calls batch, with one of every state that has none."""
        given = frozenset([BATCH])
        if self._could_be(given):
            yield given
        for group in itertools.islice(self._combined(), _PLACEMENTS):
            if self._could_be(group | given):
                yield group | given

    def _combined(self) -> Iterator[frozenset[str]]:
        """One axis of unknown size of each tensor, the first ones first, and then none of inputs that are no states."""
        options: list[list[str | None]] = []
        for name, port in self.ports.items():
            named: list[str | None] = [axis for axis in port.known_axes if isinstance(axis, str)]
            if self.forced and BATCH in named:
                continue
            options.append(named if name in self.states and named else [*named, None])
        for chosen in itertools.islice(itertools.product(*options), 4 * _PLACEMENTS):
            yield frozenset(axis for axis in chosen if axis is not None)

    def _could_be(self, group: frozenset[str]) -> bool:
        if not group:
            return False
        counts = {name: sum(axis in group for axis in port.known_axes) for name, port in self.ports.items()}
        given = [count for name, count in counts.items() if name not in self.states]
        return max(counts.values()) == 1 and all(counts[name] for name in self.states) and (not given or any(given))

    def _covered(self, group: frozenset[str]) -> int:
        return sum(bool(group.intersection(map(str, port.known_axes))) for port in self.ports.values())

    # Which sizes the others could have

    def _plain(self, free: Sequence[str]) -> Iterator[Sizes]:
        """Sizes of named axes, each another one, and then all the same."""
        if not free:
            yield {}
            return
        for first, step in sorted(_LADDERS, key=lambda ladder: bool(self.unsaid) and ladder != _HALVED):
            yield {axis: first + step * place for place, axis in enumerate(free)} | self._given(free)
        for size in _EQUAL if len(free) > 1 else ():
            yield dict.fromkeys(free, size) | self._given(free)

    def _by_weights(self, free: Sequence[str]) -> Iterator[Sizes]:
        """Sizes that occur among the weights: for one axis and then for two, while the others have any."""
        return itertools.islice(self._of_weights(free), _BY_WEIGHTS)

    def _of_weights(self, free: Sequence[str]) -> Iterator[Sizes]:
        said = {axis for port in self.trial.graph.outputs.values() for axis in port.axes or () if isinstance(axis, int)}
        known = list(dict.fromkeys([*sorted(said - {0, 1}), *self.trial.shapes.likely_sizes]))
        rest = {axis: 7 + 2 * place for place, axis in enumerate(free)}
        for count in (1, 2):
            for axes in itertools.combinations(free, count):
                for sizes in itertools.product(known, repeat=count):
                    yield {**rest, **dict(zip(axes, sizes, strict=True)), **self._given(free)}

    def _ones(self, free: Sequence[str]) -> Iterator[Sizes]:
        if free:
            yield dict.fromkeys(free, 1) | self._given(free)

    def _given(self, free: Iterable[str]) -> Sizes:
        return {axis: self.example[axis] for axis in free if axis in self.example}

    # What the axes are, once the graph has run

    def _confirmed(self, group: frozenset[str], sizes: Sizes, fixed: frozenset[str]) -> Axes:
        """Try the graph with other sizes: an axis is named if its size can change, and an output's follows it."""
        runs: list[tuple[Sizes, Shapes]] = [(sizes, self.trial.one(sizes))]
        if group:
            many = ({**sizes, **dict.fromkeys(group, count)} for count in _STREAMS)
            runs += [(each, self.trial.rows(sizes, group, count)) for each, count in zip(many, _STREAMS, strict=True)]
        given = [axis for axis in self.symbols if axis not in group | fixed | self.held]
        leading = {axis for axis in given if self._leads(sizes, axis)}
        free = [axis for axis in given if axis not in leading]
        # By axis, the one whose size it has: itself, or one that it is tied to.
        classes = {axis: axis for axis in free if self._changes(sizes, group, [axis], runs)}
        tied = [axis for axis in free if axis not in classes]
        if len(tied) > 1 and self._changes(sizes, group, tied, runs):
            classes |= dict.fromkeys(tied, tied[0])
        names = self._names(group, classes)
        inputs = {
            name: tuple(axis if isinstance(axis, int) else names.get(axis, sizes[axis]) for axis in port.known_axes)
            for name, port in self.ports.items()
        }
        outputs = {name: self._output(name, runs, names) for name in self.trial.graph.outputs}
        return Axes(inputs, outputs, sizes, tuple(self._notes(group, sizes, names, leading)))

    def _leads(self, sizes: Sizes, axis: str) -> bool:
        """Whether sizes of states follow from the size of an axis."""
        if not self.unsaid:
            return False
        changed = next(self._completed({**sizes, axis: 2 * sizes[axis]}))
        return any(changed[held] != sizes[held] for held in self.unsaid)

    def _changes(
        self, sizes: Sizes, group: frozenset[str], axes: Sequence[str], runs: list[tuple[Sizes, Shapes]]
    ) -> bool:
        """Whether the graph runs with another size of `axes`, and its streams too; the run is added to `runs`."""
        size = sizes[axes[0]]
        for other in (size + 4, 2 * size, 3 * size, size + 1, size // 2):  # not 1, which is repeated to any size
            if other < 2:
                continue
            changed = {**sizes, **dict.fromkeys(axes, other)}
            try:
                shapes = self.trial.one(changed)
                if group:
                    self.trial.rows(changed, group, _STREAMS[0])
            except MisfitError:
                continue
            if not self.strict or self._is_declared(shapes, changed):
                runs.append((changed, shapes))
                return True
        return False

    def _names(self, group: frozenset[str], classes: Mapping[str, str]) -> dict[str, str]:
        """The name in the contract of each axis that has one."""
        names = {}
        for axis, kept in classes.items():
            name = kept
            if kept == BATCH:  # so the file says, but its rows are no streams
                tensor, place = next(
                    (t, p.known_axes.index(kept)) for t, p in self.ports.items() if kept in p.known_axes
                )
                name = contract_name(f"{tensor[:80]}_{place}")
            names[axis] = name
        return names | dict.fromkeys(group, BATCH)

    def _output(self, name: str, runs: Sequence[tuple[Sizes, Shapes]], names: Mapping[str, str]) -> tuple[Axis, ...]:
        shapes = [shapes[name] for _, shapes in runs]
        graph = self.trial.graph
        if len({len(shape) for shape in shapes}) > 1:
            raise ExportError(
                f"graph {graph.name}: output {graph.own(name)} has {len(shapes[0])} axes, and then others"
            )
        axes = []
        for place, seen in enumerate(zip(*shapes, strict=True)):
            if 0 in seen:
                raise ExportError(f"graph {graph.name}: output {graph.own(name)} has no elements: {list(shapes[0])}")
            axes.append(self._output_axis(name, place, seen, runs, names))
        return tuple(axes)

    def _output_axis(
        self, name: str, place: int, seen: Sequence[int], runs: Sequence[tuple[Sizes, Shapes]], names: Mapping[str, str]
    ) -> Axis:
        if len(set(seen)) == 1:
            return seen[0]
        for axis, known in names.items():
            if all(sizes[axis] == size for (sizes, _), size in zip(runs, seen, strict=True)):
                return known
        port = self.trial.graph.outputs[name]
        own = port.axes[place] if port.axes is not None and len(port.axes) > place else 0
        taken = {*names.values(), BATCH}
        return own if isinstance(own, str) and own not in taken else contract_name(f"{name[:80]}_{place}")

    def _notes(self, group: frozenset[str], sizes: Sizes, names: Mapping[str, str], leading: set[str]) -> Iterator[str]:
        graph = self.trial.graph
        for name, port in self.ports.items():
            fixed = [axis for axis in port.known_axes if isinstance(axis, str) and axis not in names]
            if not fixed:
                continue
            why = "the other sizes that were tried failed"
            if leading.intersection(fixed):
                why = "the size of a state follows"
            if name in self.states:
                why = "a state has one size"
            said = ",".join(
                str(names.get(axis, sizes[axis]) if isinstance(axis, str) else axis) for axis in port.known_axes
            )
            values = ", ".join(f"{axis} = {sizes[axis]}" for axis in fixed)
            option = f"--axes {graph.own(name)}={said}"
            yield f"{graph.own(name)} is fixed at {values}: {why}; {option} with other numbers sets others"
        rows = [error for error in self.misfits if error.kind == "rows"]
        if rows and not group:
            yield f"streams cannot be batched: {rows[0]}"

    def _failure(self) -> ExportError:
        name = self.trial.graph.name
        if self.forced and self.misfits:
            return ExportError(f"graph {name}: the axes that --axes calls batch count no streams: {self.misfits[0]}")
        for kind in ("state", "values"):
            for error in self.failed:
                if error.kind == kind:
                    return ExportError(f"graph {name}: {error}")
        reason = self.failed[0] if self.failed else "no sizes were found in time; say them with --axes"
        hint = ""
        if any(port.dtype.startswith(("int", "uint")) for port in self.ports.values()) and not self.example:
            hint = "; if it needs other values than random ones, give some with --example"
        return ExportError(f"graph {name} runs neither with one stream nor with several; {reason}{hint}")


Ladder = Callable[[Sequence[str]], Iterator[Sizes]]
