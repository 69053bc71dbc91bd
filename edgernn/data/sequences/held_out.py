"""Split a data set: whole people or sessions are held out where they are known, and equal texts are never divided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from edgernn.data.sequences.dataset import Example, SequenceDataset
from edgernn.data.sequences.layouts import TEXT
from edgernn.errors import CorpusError, counted, few

__all__ = ["hold_out"]

_MOST_SHARE = 2  # times the fraction to hold out: groups that would exceed it are held out only if no others can be


def hold_out(dataset: SequenceDataset, fraction: float, seed: int) -> tuple[SequenceDataset, SequenceDataset]:
    """Return the data for training, and about `fraction` of it that is held out, chosen by `seed`.

    Whole groups are held out where groups are known, as long as every class stays in training; otherwise the same
    fraction of each class, of which at least one example stays in training. Equal texts without a group are a group,
    even in several classes: a network would know those that it was trained on. Notes are those of the first part.
    Raises CorpusError if nothing can be held out.
    """
    if not 0 < fraction < 1:
        raise CorpusError(f"{fraction} is not a fraction between 0 and 1 to hold out")
    random, notes = np.random.default_rng(seed), list(dataset.notes)
    known = len({each.group for each in dataset.examples}) > 1
    chosen = _whole_groups(dataset, fraction, random) if known else set()
    if known and chosen and len(chosen) < fraction * len(dataset.examples):
        notes.append(f"whole groups held out: {counted(len(chosen), 'example')}, since more would lose a class")
    if not chosen:
        if known:
            notes.append("no group can be held out without losing a class, so examples of all groups are held out")
        chosen = _stratified(dataset, fraction, random)
    if not chosen:
        texts = "different texts" if dataset.kind == TEXT else "examples"
        raise CorpusError(f"nothing can be held out: no class has two {texts}")
    if single := [name for name, count in zip(dataset.classes, dataset.counts(), strict=True) if count == 1]:
        notes.append(f"one example, which stays in training: {few(single)}")
    places = range(len(dataset.examples))
    train = [dataset.examples[place] for place in places if place not in chosen]
    held_out = [dataset.examples[place] for place in places if place in chosen]
    return replace(dataset, examples=train, notes=tuple(notes)), replace(dataset, examples=held_out, notes=())


def _whole_groups(dataset: SequenceDataset, fraction: float, random: np.random.Generator) -> set[int]:
    """Return the places of examples of groups that are held out, at least `fraction` of all if classes allow it."""
    found = _grouped(each.group or _own_group(place, each) for place, each in enumerate(dataset.examples))
    groups = [found[index] for index in random.permutation(len(found))]
    left, chosen = dataset.counts(), set[int]()
    wanted = fraction * len(dataset.examples)
    largest = _MOST_SHARE * wanted
    for group in [*(each for each in groups if len(each) <= largest), *sorted(groups, key=len)]:
        if len(chosen) >= wanted:
            break
        if group[0] in chosen or (chosen and len(chosen) + len(group) > largest):
            continue
        counts = np.bincount([dataset.examples[place].label for place in group], minlength=len(left))
        if ((counts > 0) & (counts == left)).any():  # training would lose a class
            continue
        left = left - counts
        chosen.update(group)
    return chosen


def _stratified(dataset: SequenceDataset, fraction: float, random: np.random.Generator) -> set[int]:
    """Return the places of the same fraction of each class, at least one of it if one can stay in training."""
    labels, counts = np.array([each.label for each in dataset.examples]), dataset.counts()
    groups = _grouped(_own_group(place, each) for place, each in enumerate(dataset.examples))
    group_of = {place: group for group in groups for place in group}
    left, chosen = counts.copy(), set[int]()
    for label, count in enumerate(counts):
        wanted = max(1, round(count * fraction))
        for place in random.permutation(np.flatnonzero(labels == label)).tolist() if count > 1 else ():
            if count - left[label] >= wanted:
                break
            taken = np.bincount(labels[group_of[place]], minlength=len(counts))
            if place not in chosen and not ((taken > 0) & (taken == left)).any():  # training would lose a class
                left -= taken
                chosen.update(group_of[place])
    return chosen


def _own_group(place: int, example: Example) -> str:
    """Return the group of an example that belongs to no person or session: that of all equal texts."""
    return f"\0{example.value if isinstance(example.value, str) else place}"


def _grouped(groups: Iterable[str]) -> list[list[int]]:
    """Return the places of the examples of each group, in order."""
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    return list(places.values())
