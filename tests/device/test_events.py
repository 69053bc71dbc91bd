"""Runs of labels as events: merging, dropping, and back to labels."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.media.events import Event, EventStream, events, labels_of

LABELS = st.lists(st.integers(0, 3), max_size=40)


def test_runs_of_one_label_are_events_and_the_background_is_none():
    assert events([0, 2, 2, 1, 0, 0, 1]) == [Event(1, 3, 2), Event(3, 4, 1), Event(6, 7, 1)]
    assert events([]) == []
    assert events(np.zeros(5, np.int16)) == []


def test_unknown_frames_are_no_events():
    assert events([-1, -1, 3, -1]) == [Event(2, 3, 3)]


def test_gaps_shorter_than_the_limit_are_closed():
    labels = [1, 1, 0, 0, 1, 0, 0, 0, 1]
    assert events(labels, merged=2) == [Event(0, 2, 1), Event(4, 5, 1), Event(8, 9, 1)]
    assert events(labels, merged=3) == [Event(0, 5, 1), Event(8, 9, 1)]
    assert events(labels, merged=4) == [Event(0, 9, 1)]
    assert events([1, 0, 2], merged=9) == [Event(0, 1, 1), Event(2, 3, 2)]  # another label is another event


def test_short_events_are_dropped_after_their_fragments_are_merged():
    assert events([1, 0, 2, 2, 2], shortest=2) == [Event(2, 5, 2)]
    assert events([1, 0, 1, 0, 1], merged=2, shortest=5) == [Event(0, 5, 1)]


def test_a_short_event_of_another_label_does_not_split_a_long_one():
    assert events([1, 1, 1, 2, 1, 1, 1], merged=2, shortest=2) == [Event(0, 7, 1)]
    assert events([1, 1, 1, 2, 1, 1, 1], merged=2) == [Event(0, 3, 1), Event(3, 4, 2), Event(4, 7, 1)]


def test_labels_of_several_axes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        events(np.zeros((2, 3), np.int64))


@given(LABELS)
def test_labels_and_events_round_trip(labels):
    assert labels_of(events(labels), len(labels)).tolist() == labels


@given(LABELS, st.integers(0, 5), st.integers(1, 5))
def test_events_are_in_order_apart_and_long_enough(labels, merged, shortest):
    found = events(labels, merged, shortest)
    assert all(each.end - each.start >= shortest for each in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    same = [(one, other) for one, other in pairwise(found) if one.label == other.label]
    assert all(other.start - one.end >= max(merged, 1) for one, other in same)
    assert events(labels_of(found, len(labels)), merged, shortest) == found


@given(st.lists(st.integers(-1, 3), max_size=40), st.integers(0, 5), st.integers(1, 4))
def test_labels_that_arrive_one_by_one_have_the_same_events(labels, merged, shortest):
    stream = EventStream(merged, shortest)
    found = [event for label in labels for event in stream.push(label)]
    assert found + stream.finish() == events(labels, merged, shortest)


@given(st.lists(st.integers(-1, 3), max_size=40), st.integers(0, 5), st.integers(1, 4))
def test_what_has_begun_comes_with_this_begin_and_label_and_no_earlier_end(labels, merged, shortest):
    stream, whole = EventStream(merged, shortest), events(labels, merged, shortest)
    for count, label in enumerate(labels, 1):
        ended = stream.push(label)
        for each in stream.begun:
            assert each not in ended
            (event,) = (event for event in whole if event[::2] == each[::2])
            assert each.end <= event.end
            assert each.end - each.start >= shortest
        begun = [each for each in events(labels[:count], merged, shortest) if each.end == count]
        assert [each.start for each in begun] == [each.start for each in stream.begun if each.end == count]
    stream.finish()
    assert stream.begun == ()


def test_an_event_comes_as_soon_as_it_can_no_longer_change():
    stream = EventStream(merged=2, shortest=2)
    arrived = [stream.push(label) for label in [1, 1, 0, 0, 2, 2, 3, 3, 3]]
    assert arrived[3] == [Event(0, 2, 1)]  # two frames later it cannot be continued
    assert arrived[7] == [Event(4, 6, 2)]
    assert sum(map(len, arrived)) == 2
    assert stream.finish() == [Event(6, 9, 3)]
