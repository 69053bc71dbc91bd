"""Find which inputs are states and which outputs return them, by data flow and by names; if in doubt, ask the caller.

A pair is certain if a recurrent operator starts from the input and the output returns its final state, or if both have
the same name apart from a word for the direction and no other tensor has it; type and shape must fit as well. If
another input could be a state too, the caller is asked, because a state that is mistaken for an input loses the
recurrence.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from edgernn.errors import ConfigError
from edgernn.exporters.adoption.flow import recurrence_slots
from edgernn.exporters.adoption.graph import OpenGraph, Port
from edgernn.exporters.adoption.names import is_signal, is_state_like, stem
from edgernn.exporters.adoption.options import Pair, could_feed

__all__ = ["check_pairs", "find_states", "overlooked"]

_SHOWN = 12  # pairs that a question lists for each graph
_CHARACTERS = 350  # length of the options that a question lists


def find_states(graphs: Sequence[OpenGraph], others: Sequence[Iterable[str]]) -> list[list[Pair]]:
    """Return the states of each graph. others: the inputs that are not states.

    Raises ConfigError, listing the options, if it is uncertain which inputs are states.
    """
    findings = [_Finding.of(graph, {*other}) for graph, other in zip(graphs, others, strict=True)]
    if any(finding.doubtful for finding in findings):
        prefixes = [f"{graph.name}." if len(graphs) > 1 else "" for graph in graphs]
        together = list(zip(graphs, prefixes, findings, strict=True))
        certain = [line for graph, prefix, finding in together for line in _options(graph, prefix, finding.certain)]
        doubtful = [line for graph, prefix, finding in together for line in _options(graph, prefix, finding.doubtful)]
        known = f"{_listed(certain)} for certain, and " if certain else ""
        raise ConfigError(
            f"which of these are states? Names and data flow do not tell. Say --no-states if none is, or else which, "
            f"each input and each output once: {known}{_listed(doubtful)}"
        )
    return [finding.certain for finding in findings]


def _listed(options: Sequence[str]) -> str:
    """Return options to paste: whole ones, as many as a message has room for, and at least one."""
    shown = list(options[:1])
    for option in options[1:]:
        if len(" ".join([*shown, option])) > _CHARACTERS:
            break
        shown.append(option)
    left = len(options) - len(shown)
    return " ".join(shown) + (f" (and {left} more)" if left else "")


def overlooked(graph: OpenGraph, pairs: Sequence[Pair], other: Iterable[str]) -> list[Pair]:
    """Return pairs that would have been found as states if the caller had not named any."""
    given, made = {pair.given for pair in pairs}, {pair.made for pair in pairs}
    left = {*other, *given}
    return [pair for pair in _Finding.of(graph, left).certain if pair.given not in given and pair.made not in made]


def check_pairs(graph: OpenGraph, pairs: Sequence[Pair]) -> None:
    """Raise ConfigError for a state whose output differs from its input in type or shape."""
    for pair in pairs:
        given, made = graph.inputs[pair.given], graph.outputs[pair.made]
        if pair.part is not None:
            made = _cut(pair, graph, made)
        if not could_feed(made, given):
            raise ConfigError(f"--state {pair.text(graph)}: {given} goes in, but {made} comes out")


def _cut(pair: Pair, graph: OpenGraph, made: Port) -> Port:
    begin, end = pair.part or (0, 0)
    if made.axes is not None:
        last = made.axes[-1] if made.axes else 0
        if begin >= end or (isinstance(last, int) and end > last):
            raise ConfigError(f"--state {pair.text(graph)}: {made} has no such part of its last axis")
        return Port(made.name, made.kind, (*made.axes[:-1], end - begin))
    return made


class _Finding:
    """The pairs of one graph that are certain, and those that could be states too."""

    def __init__(self, certain: list[Pair], doubtful: list[Pair]) -> None:
        self.certain, self.doubtful = certain, doubtful

    @classmethod
    def of(cls, graph: OpenGraph, other: set[str]) -> _Finding:
        inputs = {name: port for name, port in graph.inputs.items() if name not in other}
        outputs = graph.outputs
        fitting = {
            name: [made for made, output in outputs.items() if could_feed(output, port)]
            for name, port in inputs.items()
        }
        certain = _by_flow(graph, fitting)
        named: list[Pair] = []
        for level in (stem, _without_zero):
            named += _by_name(graph, _left(fitting, [*certain, *named]), level)
        doubtful = [pair for pair in named if _is_doubtful(graph, pair)]
        certain += [pair for pair in named if pair not in doubtful]
        doubtful += _ambiguous(graph, _left(fitting, [*certain, *doubtful]))
        rest = _left(fitting, [*certain, *doubtful])
        if not certain and not doubtful:
            doubtful = [Pair(given, made) for given, each in rest.items() for made in each]
        else:
            doubtful += [Pair(given, made) for given in _like_states(graph, rest, certain) for made in rest[given]]
        if not doubtful and len(certain) == len(graph.inputs) > 0:
            certain, doubtful = [], certain  # at least one input must not be a state
        if not certain and not doubtful:
            doubtful = _packed(graph, inputs)
            _check_unlike(graph, inputs)
        return cls(certain, doubtful)


_Fitting = Mapping[str, Sequence[str]]  # by input, the outputs whose type and axes fit it


def _left(fitting: _Fitting, taken: Sequence[Pair]) -> dict[str, list[str]]:
    """Return `fitting` without the inputs and outputs of `taken`."""
    given, made = {pair.given for pair in taken}, {pair.made for pair in taken}
    return {
        name: [each for each in outputs if each not in made] for name, outputs in fitting.items() if name not in given
    }


def _by_flow(graph: OpenGraph, fitting: _Fitting) -> list[Pair]:
    """Return pairs of an initial state of recurrent operators and the only output that returns their final states."""
    begins, ends = recurrence_slots(graph)
    pairs = [
        Pair(given, made)
        for given, outputs in fitting.items()
        for made in outputs
        if given in begins and begins[given] == ends.get(made)
    ]
    return _unique(pairs)


def _by_name(graph: OpenGraph, fitting: _Fitting, key: Callable[[str], tuple[str, ...]]) -> list[Pair]:
    """Return pairs of an input and the only output with the same `key`."""
    keys = {made: key(graph.own(made)) for outputs in fitting.values() for made in outputs}
    return _unique(
        [
            Pair(given, made)
            for given, outputs in fitting.items()
            for made in outputs
            if keys[made] and keys[made] == key(graph.own(given))
        ]
    )


def _unique(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose input and output are in no other pair."""
    given, made = Counter(pair.given for pair in pairs), Counter(pair.made for pair in pairs)
    return [pair for pair in pairs if given[pair.given] == made[pair.made] == 1]


def _without_zero(name: str) -> tuple[str, ...]:
    """Return the stem of a name without a final zero, which marks the initial value, as in `h0`."""
    parts = stem(name)
    return parts[:-1] if parts[-1:] == ("0",) else parts


def _is_doubtful(graph: OpenGraph, pair: Pair) -> bool:
    """Return whether the name may belong to a signal that passes through, or consists of digits only."""
    own = graph.own(pair.given)
    return is_signal(own) or all(part.isdigit() for part in stem(own))


def _ambiguous(graph: OpenGraph, fitting: _Fitting) -> list[Pair]:
    """Return all pairs of an input and an output with similar names."""
    return [
        Pair(given, made)
        for given, outputs in fitting.items()
        for made in outputs
        if stem(graph.own(given)) == stem(graph.own(made)) != ()
    ]


def _like_states(graph: OpenGraph, rest: _Fitting, certain: Sequence[Pair]) -> list[str]:
    """Return unassigned inputs that may be states, by their names, or by having a state's shape that others lack."""
    ports = graph.inputs
    shapes = {(ports[pair.given].kind, ports[pair.given].axes) for pair in certain}
    shaped = [name for name in rest if (ports[name].kind, ports[name].axes) in shapes]
    plain = [name for name in rest if name not in shaped]
    return [
        name
        for name, outputs in rest.items()
        if outputs and (is_state_like(graph.own(name)) or (name in shaped and plain and not is_signal(graph.own(name))))
    ]


def _packed(graph: OpenGraph, inputs: Mapping[str, Port]) -> list[Pair]:
    """Return pairs of an input that is named like a state and a part of an output that may pack it."""
    found = []
    for name, port in inputs.items():
        size = port.axes[-1] if port.axes else None
        for made, output in graph.outputs.items():
            last = output.axes[-1] if output.axes else None
            if isinstance(size, int) and isinstance(last, int) and last > size and is_state_like(graph.own(name)):
                part = Port(made, output.kind, (*output.known_axes[:-1], size))
                if could_feed(part, port):
                    begins = sorted({*range(0, last - size + 1, size), last - size})
                    found += [Pair(name, made, (begin, begin + size)) for begin in begins]
    return found


def _check_unlike(graph: OpenGraph, inputs: Mapping[str, Port]) -> None:
    """Raise ConfigError for an input and an output that are named like a state but differ in type or shape."""
    for name, port in inputs.items():
        parts = stem(graph.own(name))
        for made, output in graph.outputs.items():
            if parts and parts == stem(graph.own(made)) and is_state_like(graph.own(name)):
                raise ConfigError(
                    f"graph {graph.name}: {port} and {output} are called like a state, but differ in type or shape; "
                    f"say which are states with --state, or --no-states"
                )


def _options(graph: OpenGraph, prefix: str, pairs: Sequence[Pair]) -> list[str]:
    """Return the options for pairs; patterns if there are many pairs."""
    texts = [pair.text(graph, prefix) for pair in pairs]
    patterns = _patterns(texts)
    if len(texts) > _SHOWN and len(patterns) < len(texts):
        texts = patterns
    return [f"--state {shlex.quote(text)}" for text in texts]


def _patterns(texts: Sequence[str]) -> list[str]:
    """Return texts in which equal numbers on both sides of the colon are replaced by a star."""
    found = dict.fromkeys(_pattern(text) for text in texts)
    return list(found)


def _pattern(text: str) -> str:
    given, _, made = text.partition(":")
    for number in re.findall(r"\d+", given):
        if number in re.findall(r"\d+", made) and given.count(number) == made.count(number) == 1:
            return f"{given.replace(number, '*')}:{made.replace(number, '*')}"
    return text
