"""The evolution of formulas: what is tried next, given what has been tried.

It proceeds in generations. The formulas of a generation, and the losses at which they are given up, depend on the seed
and the generations before it alone; neither on how many processes there are, nor on whether the search was
interrupted.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from edgernn import records
from edgernn.errors import FormatError
from edgernn.search.formula import Formula, parse
from edgernn.search.mutation import mutated

__all__ = [
    "EXPLODED",
    "FINISHED",
    "OUTCOMES",
    "REFUSED",
    "STOPPED",
    "Candidate",
    "Trial",
    "limits",
    "next_formulas",
    "ranked",
]

FINISHED, STOPPED, EXPLODED, REFUSED = OUTCOMES = ("finished", "stopped", "exploded", "refused")
_CHILDREN = 8  # of a generation
_POPULATION = 12  # the best formulas, which have children
_TOURNAMENT = 3
_TRIES = 100  # for a formula that has not been tried
_ENOUGH = 4  # trials at a rung, before one is stopped there


@dataclass(frozen=True)
class Trial:
    """What became of a formula.

    outcome: "finished"; "stopped", because it was worse than the median of those before it; "exploded", because a
    figure was not finite or a state grew without limit; or "refused", because the next state does not depend on what
    the formula says. loss: nats per character of the half of the held-out text by which candidates are chosen.
    reported: of the other half, if it was asked for. rungs: losses on the way. reason: why it did not finish.
    """

    formula: str
    outcome: str
    loss: float | None = None
    reported: float | None = None
    rungs: tuple[float, ...] = ()
    hidden: int = 0
    parameters: int = 0
    steps: int = 0
    seconds: float = 0.0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain JSON values."""
        return {**asdict(self), "rungs": list(self.rungs)}

    @classmethod
    def from_json(cls, value: Any) -> Trial:
        """Read what `to_json` wrote. Raises FormatError for anything else."""
        values = records.record(value, "a trial", set(cls.__dataclass_fields__))
        for name in ("formula", "outcome", "reason"):
            records.text(values[name], name)
        if values["outcome"] not in OUTCOMES:
            raise FormatError(f"the outcome {values['outcome'][:40]!r} is not one of {', '.join(OUTCOMES)}")
        for name in ("hidden", "parameters", "steps"):
            records.integer(values[name], name)
        values["seconds"] = records.number(values["seconds"], "seconds")
        values["rungs"] = tuple(records.number(each, "rungs") for each in records.items(values["rungs"], "rungs"))
        for name in ("loss", "reported"):
            if values[name] is not None or (name == "loss" and values["outcome"] == FINISHED):
                values[name] = records.number(values[name], name)
        return cls(**values)


@dataclass(frozen=True)
class Candidate:
    """A trial of the search, with its place: the generation, and the number within it."""

    generation: int
    place: int
    trial: Trial

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain JSON values."""
        return {"generation": self.generation, "place": self.place, **self.trial.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> Candidate:
        """Read what `to_json` wrote. Raises FormatError for anything else."""
        values = records.mapping(value, "a candidate")
        generation, place = (records.integer(values.pop(name, None), name) for name in ("generation", "place"))
        return cls(generation, place, Trial.from_json(values))


def next_formulas(generation: int, first: Sequence[Formula], before: Sequence[Candidate], seed: int) -> list[Formula]:
    """Return the formulas of a generation: mutants of the winners of tournaments, none of them tried before.

    first: the formulas of generation 0. before: the candidates of all generations before this one.
    """
    if generation == 0:
        return list(dict.fromkeys(first))
    random = Random(f"{seed}/{generation}")
    population = [parse(each.trial.formula) for each in ranked(before)[:_POPULATION]] or list(first)
    tried = {each.trial.formula for each in before}
    found: list[Formula] = []
    for _ in range(_TRIES * _CHILDREN):
        entrants = random.sample(range(len(population)), min(_TOURNAMENT, len(population)))
        child = mutated(random, population[min(entrants)])
        if str(child) not in tried:
            tried.add(str(child))
            found.append(child)
        if len(found) == _CHILDREN:
            break
    return found


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that finished, the best first."""
    finished = [(each.trial.loss, each.generation, each.place, each) for each in candidates]
    return [each for *_, each in sorted(row for row in finished if row[0] is not None)]


def limits(before: Sequence[Candidate], rungs: int) -> tuple[float | None, ...]:
    """Return the largest loss of a candidate that goes on, at each rung: the median of those that reached it.

    There is none where too few have.
    """
    reached = [[each.trial.rungs[rung] for each in before if len(each.trial.rungs) > rung] for rung in range(rungs)]
    return tuple(statistics.median(losses) if len(losses) >= _ENOUGH else None for losses in reached)
