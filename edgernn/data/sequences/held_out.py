"""Split a data set: whole people or sessions are held out where they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn.data.sequences.dataset import SequenceDataset
from edgernn.errors import CorpusError, counted, few

__all__ = ["hold_out"]

_MOST_SHARE = 2  # times the fraction to hold out: groups that would exceed it are held out only if no others can be


def hold_out(dataset: SequenceDataset, fraction: float, seed: int) -> tuple[SequenceDataset, SequenceDataset]:
    """Return the data for training, and about `fraction` of it that is held out, chosen by `seed`.

    Whole groups are held out where groups are known, as long as every class stays in training; otherwise the same
    fraction of each class, of which at least one example stays in training. Notes are those of the first part.
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
        raise CorpusError("nothing can be held out: no class has two examples")
    if single := [name for name, count in zip(dataset.classes, dataset.counts(), strict=True) if count == 1]:
        notes.append(f"one example, which stays in training: {few(single)}")
    places = range(len(dataset.examples))
    train = [dataset.examples[place] for place in places if place not in chosen]
    held_out = [dataset.examples[place] for place in places if place in chosen]
    return replace(dataset, examples=train, notes=tuple(notes)), replace(dataset, examples=held_out, notes=())


def _whole_groups(dataset: SequenceDataset, fraction: float, random: np.random.Generator) -> set[int]:
    """Return the places of examples of groups that are held out, at least `fraction` of all if classes allow it."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(dataset.examples):
        places.setdefault(each.group or f"\0{place}", []).append(place)
    groups = [list(places.values())[index] for index in random.permutation(len(places))]
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
    labels = np.array([each.label for each in dataset.examples])
    chosen = set[int]()
    for label, count in enumerate(dataset.counts()):
        if count > 1:
            size = min(max(1, round(count * fraction)), count - 1)
            chosen.update(random.permutation(np.flatnonzero(labels == label))[:size].tolist())
    return chosen
