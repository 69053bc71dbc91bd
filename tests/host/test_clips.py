"""Drawn clips: their labels agree with what moves, splits and seeds differ, and bad files of digits are refused."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from tasks import zipped

from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.clips import (
    CLIP_CLASSES,
    FRAME_CLASSES,
    FRAMES,
    MOMENT,
    SIDE,
    DrawnClips,
    Handwriting,
    draw_clip,
    draw_scene,
    draw_shapes,
)
from edgernn.data.digits import read_digits
from edgernn.errors import CorpusError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
COUNT = 48  # digits, of which four are held out


def idx(array):
    """The IDX file of an array of unsigned bytes."""
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def strokes():
    """Images of vertical strokes, wider for a larger digit: (COUNT, 28, 28)."""
    images = np.zeros((COUNT, 28, 28), np.uint8)
    for place in range(COUNT):
        images[place, 4:24, 6 : 8 + 2 * (place % 10)] = 255
    return images


@pytest.fixture
def digits(tmp_path):
    (tmp_path / IMAGES).write_bytes(zipped(idx(strokes())))
    (tmp_path / LABELS).write_bytes(zipped(idx(np.arange(COUNT) % 10)))
    read_digits.cache_clear()
    return tmp_path


@pytest.fixture(scope="module")
def scenes():
    """Scenes by the names of their classes."""
    found = {name: [] for name in CLIP_CLASSES}
    for seed in range(300):
        scene = draw_scene(np.random.default_rng(seed), draw_shapes)
        found[CLIP_CLASSES[scene.label]].append(scene)
    return found


def directions(thing):
    """Whether the velocity along each axis turns round at the moment."""
    return np.signbit(thing.velocities[0]) != np.signbit(thing.velocities[1])


def happening(scene):
    """The frames of the event, after checking that no other label occurs."""
    labels = scene.frame_labels
    assert set(labels.tolist()) == {0, 1 + scene.label}
    frames = np.flatnonzero(labels)
    assert (np.diff(frames) == 1).all()
    return frames


def test_a_clip_is_small_and_has_a_label_for_every_frame():
    clip = draw_clip(0, 0)
    assert (clip.frames.shape, clip.frames.dtype) == ((FRAMES, SIDE, SIDE, 3), np.uint8)
    assert (clip.frame_labels.shape, clip.frame_labels.dtype) == ((FRAMES,), np.int64)
    assert FRAME_CLASSES == ("nothing", "enters", "bounces", "collides", "leaves", "changes")


def test_a_clip_depends_on_seed_index_and_split_alone():
    one, again = draw_clip(3, 7), draw_clip(3, 7)
    assert np.array_equal(one.frames, again.frames)
    assert one.label == again.label
    others = [draw_clip(4, 7), draw_clip(3, 8), draw_clip(3, 7, DEV), draw_clip(3, 7, TEST)]
    assert len({clip.frames.tobytes() for clip in [one, *others]}) == 5


def test_the_series_of_a_split_is_drawn_as_it_is_read():
    clips = DrawnClips(3, seed=5, split=DEV)
    assert len(clips) == len(list(clips)) == 3
    assert np.array_equal(clips[2].frames, draw_clip(5, 2, DEV).frames)
    with pytest.raises(IndexError, match="3 is none of them"):
        clips[3]


def test_classes_are_equally_frequent(scenes):
    assert all(40 <= len(found) <= 80 for found in scenes.values())  # 60 expected, standard deviation 7


def test_an_entering_thing_is_unseen_before_and_whole_after(scenes):
    for scene in scenes["enters"]:
        thing, frames = scene.things[0], happening(scene)
        assert scene.start <= frames[0] <= scene.start + 2
        assert frames[-1] < FRAMES - 1
        assert (thing.visible[: frames[0]] <= 0.04).all()
        assert (thing.visible[frames[-1] + 1 :] >= 0.96).all()
        assert (np.diff(thing.visible[frames]) > 0).all()


def test_a_leaving_thing_is_whole_before_and_gone_after(scenes):
    for scene in scenes["leaves"]:
        thing, frames = scene.things[0], happening(scene)
        assert scene.start <= frames[0] <= scene.start + 2
        assert frames[-1] < FRAMES - 1
        assert (thing.visible[: frames[0]] >= 0.96).all()
        assert (thing.visible[frames[-1] + 1 :] <= 0.04).all()


def test_a_bouncing_thing_turns_at_the_border_between_two_frames(scenes):
    for scene in scenes["bounces"]:
        thing, frames = scene.things[0], happening(scene)
        assert frames.tolist() == list(range(scene.start, scene.start + MOMENT))
        assert directions(thing).sum() == 1
        axis = int(directions(thing).argmax())
        border = SIDE / 2 - thing.half[axis]  # the farthest place of its centre from the middle
        distances = border - np.abs(thing.path[:, axis] - SIDE / 2)
        assert (distances > 0).all()
        assert distances[scene.start - 1] == pytest.approx(distances[scene.start])
        assert sorted(distances.argsort(kind="stable")[:2]) == [scene.start - 1, scene.start]


def test_colliding_things_touch_and_exchange_their_velocities(scenes):
    for scene in scenes["collides"]:
        one, other = scene.things[:2]
        assert happening(scene).tolist() == list(range(scene.start, scene.start + MOMENT))
        axis = int(directions(one).argmax())
        assert directions(one)[axis]
        assert one.velocities[:, axis].tolist() == other.velocities[::-1, axis].tolist()
        gaps = np.abs(one.path - other.path)[:, axis] - one.half[axis] - other.half[axis]
        assert (gaps > 0).all()
        assert sorted(gaps.argsort(kind="stable")[:2]) == [scene.start - 1, scene.start]
        assert not np.array_equal(one.colours[0], other.colours[0])


def test_a_changing_thing_changes_shape_or_colour_and_moves_straight_on(scenes):
    kinds = set()
    for scene in scenes["changes"]:
        thing = scene.things[0]
        assert happening(scene).tolist() == list(range(scene.start, scene.start + MOMENT))
        assert np.array_equal(*thing.velocities)
        kind = (not np.array_equal(*thing.masks), not np.array_equal(*thing.colours))
        kinds.add(kind)
    assert kinds == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("size", [6, 7, 8])
def test_shapes_differ_clearly(size):
    shapes = []
    for seed in range(40):
        drawn = draw_shapes(np.random.default_rng(seed), 4)
        assert [shape.shape for shape in drawn] == [drawn[0].shape] * 4
        shapes += drawn if len(drawn[0]) == size and not shapes else []
    assert len(shapes) == 4
    differences = [np.abs(one - other).mean() for one, other in combinations(shapes, 2)]
    assert min(differences) > 0.36


def test_the_other_things_move_straight_on_and_touch_nothing(scenes):
    for scene in (scene for found in scenes.values() for scene in found):
        actors = 2 if CLIP_CLASSES[scene.label] == "collides" else 1
        for place, thing in enumerate(scene.things[actors:], actors):
            assert np.array_equal(*thing.velocities)
            assert np.array_equal(*thing.colours)
            assert (np.abs(thing.path - SIDE / 2) <= SIDE / 2 - thing.half - 1.5 + 1e-9).all()
            assert all(thing.clear_of(each) for each in scene.things[:place])


def test_what_is_drawn_is_where_the_thing_is(scenes):
    for scene in scenes["bounces"][:5]:
        alone = replace(scene, things=scene.things[:1])
        empty = replace(scene, things=())
        seen = [each.draw(np.random.default_rng(0)).astype(np.int16) for each in (alone, empty)]
        changed = np.abs(seen[0] - seen[1]).max(axis=-1) > 0
        for frame, (y, x) in enumerate(scene.things[0].path):
            rows, columns = np.nonzero(changed[frame])
            half_y, half_x = scene.things[0].half + 1
            assert y - half_y <= rows.min() + 0.5 <= rows.max() + 0.5 <= y + half_y
            assert x - half_x <= columns.min() + 0.5 <= columns.max() + 0.5 <= x + half_x


def test_digits_of_training_and_of_the_other_splits_are_different_images(digits):
    train, held_out = read_digits(digits).parts()
    assert (len(train.labels), len(held_out.labels)) == (44, 4)
    assert held_out.labels.tolist() == [4, 5, 6, 7]
    first, second = Handwriting(held_out)(np.random.default_rng(0), 2)
    assert first.shape != second.shape  # the width of a stroke is that of its digit
    assert first.shape[0] == second.shape[0] == 9
    clips = [draw_clip(0, 0, split, digits) for split in (TRAIN, DEV)]
    assert not np.array_equal(clips[0].frames, clips[1].frames)
    assert np.array_equal(clips[1].frames, draw_clip(0, 0, DEV, digits).frames)


def test_digits_that_fill_their_images_are_drawn_too(digits):
    (digits / IMAGES).write_bytes(zipped(idx(np.full((COUNT, 28, 28), 255))))
    labels = {draw_clip(0, index, digits=digits).label for index in range(60)}
    assert labels == set(range(len(CLIP_CLASSES)))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (IMAGES, None, "is missing: a folder of digits has"),
        (IMAGES, b"not gzip", "is not an IDX file"),
        (IMAGES, b"", "is not an IDX file"),
        (IMAGES, zipped(idx(strokes()))[:-20], "cannot be read"),
        (IMAGES, zipped(idx(strokes())[:-1]), "bytes that its header announces: get the file again"),
        (IMAGES, zipped(idx(strokes()) + b"\0"), "has surplus data after the"),
        (IMAGES, zipped(idx(strokes()[:, :14])), "has 48 × 14 × 28 values, and not any × 28 × 28"),
        (IMAGES, zipped(bytes([0, 0, 8, 3]) + b"\xff" * 4 + idx(strokes())[8:]), "at most 1,000,000 arrays"),
        (IMAGES, zipped(idx(np.zeros((COUNT, 28, 28)))), "image 0 is blank"),
        (IMAGES, zipped(idx(strokes()[:-1])), "has 47 images, but"),
        (LABELS, zipped(idx(np.full(COUNT, 10))), "has the label 10"),
        (LABELS, zipped(idx(np.full(COUNT, 3))), "at least two kinds"),
        (LABELS, zipped(idx(strokes())), "is not an IDX file of labels"),
        (LABELS, zipped(b"\0\0\x08"), "is not an IDX file"),
    ],
    ids=lambda each: each if isinstance(each, str) else "content",
)
def test_bad_files_of_digits_are_refused_by_name(digits, name, data, message):
    if data is None:
        (digits / name).unlink()
    else:
        (digits / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message) as error:
        draw_clip(0, 0, digits=digits)
    assert str(digits) in str(error.value)


@pytest.mark.real_data
def test_mnist_is_read_and_its_last_5000_digits_are_held_out(real_data):
    train, held_out = read_digits(real_data / "mnist").parts()
    assert (len(train.labels), len(held_out.labels)) == (55_000, 5_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(held_out.labels).min() > 400
    assert draw_clip(0, 0, TEST, real_data / "mnist").frames.shape == (FRAMES, SIDE, SIDE, 3)


def test_a_part_that_clips_do_not_have_is_named():
    with pytest.raises(CorpusError, match="the drawn clips have no part banana; they have train, dev, test"):
        DrawnClips(1, split="banana")
