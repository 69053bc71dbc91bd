"""Drawing strokes on the device: the density, seeds, completion, files, snapshots and forks."""

import json
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from tasks import figures, write_figures
from tiny import PEN_AGES, PEN_LONGEST, PEN_MIXTURE, PEN_SCALE, write_drawer, write_pen

from edgernn.errors import (
    BundleError,
    ConfigError,
    CorpusError,
    ImageError,
    SamplingError,
    SnapshotError,
    StreamError,
    counted,
)
from edgernn.media.stroke_pictures import draw_strokes, stroke_text
from edgernn.media.strokes import from_lines, read_npz_drawings, read_strokes, strokes_json, to_lines
from edgernn.pens import ENDS, START, draw_point, point_rows
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.pens import Pen, PensOptions, PensPipeline
from edgernn.sampling import Generator

LINES = [[[0, 0], [30, 0], [30, 40]], [[5, 5]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_pen(tmp_path_factory.mktemp("pen") / "b"))


@pytest.fixture(scope="module")
def pipeline(model):
    return pipeline_for(model)


def drawn(seed, temperature, steps=1):
    """The points of the tiny pen after `steps` steps, drawn by hand."""
    generator, points = Generator(seed), []
    while len(points) < PEN_LONGEST:
        mixture = PEN_MIXTURE + np.float32(steps + len(points)) * PEN_AGES
        row = draw_point(mixture, temperature, generator)
        if row[2 + ENDS]:
            break
        points.append([*(PEN_SCALE * row[:2].astype(float)), row[3]])
    return np.array(points).reshape(-1, 3)


# The density


def test_drawn_points_have_the_moments_of_their_component():
    mixture = np.float32([9, -9, 3, 50, -2, 50, 2, 1, 0.5, 1, -0.6, 0, 1, 2, -30])
    for temperature in (1.0, 0.25):
        generator = Generator(1)
        points = np.array([draw_point(mixture, temperature, generator) for _ in range(4000)], float)
        assert points[:, 2:].sum(axis=0) / 4000 == pytest.approx(
            np.array([1, np.exp(1 / temperature), 0]) / (1 + np.exp(1 / temperature)), abs=0.03
        )
        deviations = (points[:, :2] - [3, -2]) / np.sqrt(temperature)
        assert deviations.mean(axis=0) == pytest.approx([0, 0], abs=0.1)
        np.testing.assert_allclose(np.cov(deviations.T), [[4, -0.6], [-0.6, 0.25]], atol=0.2)


def test_a_component_is_drawn_as_often_as_it_is_likely():
    logits = np.log([0.6, 0.3, 0.1])
    mixture = np.concatenate([logits, [0, 10, 20], np.zeros(3), np.full(6, 0.1), np.zeros(3), [0, 0, -40]])
    for temperature, expected in ((1, [0.6, 0.3, 0.1]), (0.5, np.array([0.36, 0.09, 0.01]) / 0.46)):
        generator = Generator(3)
        places = [round(float(draw_point(mixture, temperature, generator)[0]) / 10) for _ in range(3000)]
        assert np.bincount(places, minlength=3) / 3000 == pytest.approx(np.array(expected), abs=0.03)


def test_the_end_takes_one_number_and_has_no_offset():
    generator, twin = Generator(5), Generator(5)
    assert draw_point(np.float32([0, 9, 9, 1, 1, 0, 0, 0, 50]), 1, generator).tolist() == [0, 0, 0, 0, 1]
    twin.uniform()
    assert generator.state == twin.state


@pytest.mark.parametrize(("temperature", "kind"), [(0, ConfigError), (-1, ConfigError), (float("nan"), ConfigError)])
def test_a_temperature_that_draws_nothing_is_refused(temperature, kind):
    with pytest.raises(kind, match="temperature"):
        draw_point(PEN_MIXTURE, temperature, Generator(0))


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mixture_that_is_not_numbers_draws_nothing(place, value):
    mixture = PEN_MIXTURE.copy()
    mixture[place] = value
    with pytest.raises(SamplingError, match="not made of numbers"):
        draw_point(mixture, 1, Generator(0))


# Drawing


def test_a_drawing_is_what_its_seed_says(pipeline):
    shown = []
    found = pipeline({}, PensOptions(seed=2, temperature=0.5), shown.append)
    np.testing.assert_allclose(found.drawings[0], drawn(2, 0.5), rtol=1e-6)
    strokes = to_lines(found.drawings[0])
    assert (found.seeds, found.ended, found.steps) == ((2,), (True,), len(found.drawings[0]))
    assert [text.split("\n")[0] for text in shown] == [f"stroke {number}" for number in range(1, len(strokes) + 1)]
    value = json.loads(json.dumps(found.to_json()))
    assert (value["out"], value["steps"]) == (None, found.steps)
    assert [len(stroke) for stroke in value["drawings"][0]["strokes"]] == [len(line) for line in strokes]
    assert value["drawings"][0]["seed"] == "2"
    assert str(found) == f"1 drawing of {counted(len(strokes), 'stroke')} and {found.steps} points"


def test_each_of_several_drawings_is_the_one_of_its_seed(pipeline):
    together = pipeline({}, PensOptions(seed=2**64 - 2, count=4))
    assert together.seeds == (2**64 - 2, 2**64 - 1, 0, 1)
    for seed, points in zip(together.seeds, together.drawings, strict=True):
        assert np.array_equal(pipeline({}, PensOptions(seed=seed)).drawings[0], points)
    again = pipeline({}, PensOptions(seed=pipeline({}, PensOptions()).seeds[0]))
    assert len(again.drawings) == 1


def test_a_drawing_ends_after_the_largest_number_of_points(pipeline):
    whole = pipeline({}, PensOptions(seed=4))
    cut = pipeline({}, PensOptions(seed=4, max_points=2))
    assert (cut.ended, whole.ended) == ((False,), (True,))
    assert np.array_equal(cut.drawings[0], whole.drawings[0][:2])
    assert pipeline({}, PensOptions(seed=4, count=3), lambda text: False).seeds == (4,)


def test_a_stroke_that_the_end_of_the_drawing_cuts_is_shown(pipeline):
    first = {seed: pipeline({}, PensOptions(seed=seed, max_points=1)).drawings[0] for seed in range(20)}
    seed = next(seed for seed, points in first.items() if len(points) and not points[0, 2])
    shown = []
    pipeline({}, PensOptions(seed=seed, max_points=1), shown.append)
    assert shown == [f"stroke 1\n{stroke_text(first[seed])}"]


def test_a_drawing_that_is_begun_is_completed(pipeline, model, tmp_path):
    """The network reads the points that are given as if it had drawn them."""
    whole = pipeline({}, PensOptions(seed=4)).drawings[0]
    points = np.rint(whole[:3])
    points[-1, 2] = 1
    np.savez(tmp_path / "begun.npz", points=points.astype(np.int16), ends=np.array([3]))
    found = pipeline({}, PensOptions(seed=7, complete=tmp_path / "begun.npz"))
    assert np.array_equal(found.drawings[0][:3], points)
    np.testing.assert_allclose(found.drawings[0][3:], drawn(7, 1, steps=4)[: len(found.drawings[0]) - 3], rtol=1e-6)
    assert found.given == 3
    stream = Pen(model).stream(Sampler(seed=7), points)
    assert np.array_equal(Pen(model).draw(stream), found.drawings[0][3])


@pytest.mark.parametrize(
    "point", [(np.nan, 0, 0), (0, np.inf, 1), (-np.inf, 0, 0), (1e39 * PEN_SCALE, 0, 0), (0, 0, 0.5), (0, 0, np.nan)]
)
def test_a_point_that_is_none_is_not_read(model, point):
    with pytest.raises(StreamError, match=r"^point 1 is .*: it takes two finite numbers, and 1 where the pen lifts"):
        Pen(model).stream(Sampler(seed=1), np.array([(1, 2, 0), point]))


def test_the_pen_of_a_stream_is_where_its_points_lead(model):
    pen = Pen(model)
    stream, place = pen.stream(Sampler(seed=4)), np.zeros(2)
    assert pen.place(stream) == (0, 0)
    while (point := pen.draw(stream)) is not None:
        place += point[:2]
        assert pen.place(stream) == pytest.approx(tuple(place), abs=1e-4)
    assert pen.ended(stream)
    steps = stream.steps
    assert (pen.draw(stream), stream.steps) == (None, steps)


def test_a_snapshot_in_mid_drawing_goes_on_elsewhere_and_a_fork_by_itself(model, tmp_path):
    pen = Pen(model)
    stream = pen.stream(Sampler(0.5, seed=2))
    begun = [pen.draw(stream) for _ in range(2)]
    saved, twin, other = stream.snapshot(), stream.fork(), pen.stream(Sampler(2.0, seed=1))
    place = pen.place(stream)

    def rest(stream):
        points = []
        while (point := pen.draw(stream)) is not None:
            points.append(point)
        return np.array(points)

    whole = rest(stream)
    np.testing.assert_allclose(np.concatenate([begun, whole]), drawn(2, 0.5), rtol=1e-6)
    other.restore(saved)
    assert pen.place(other) == place
    assert np.array_equal(rest(other), whole)
    fork = twin.fork()
    fork.sampler = Sampler(0.5, seed=9)
    assert np.array_equal(rest(twin), whole)
    assert not np.array_equal(rest(fork), whole)
    stream.restore(saved)  # rewound
    assert np.array_equal(rest(stream), whole)
    stream.reset()
    assert np.array_equal(stream.next_point()["point"], START[None])
    strange = Model.load(write_pen(tmp_path / "strange", state="other"))
    with pytest.raises(SnapshotError):
        strange.stream().restore(saved)


def test_what_does_not_draw_strokes_is_named(tmp_path):
    drawer = Model.load(write_drawer(tmp_path / "drawer"))
    with pytest.raises(StreamError, match="it does not draw strokes: that takes an input of the kind point"):
        Pen(drawer)
    with pytest.raises(StreamError, match="does not read and predict points"):
        drawer.stream(inputs={"label": np.array([0])}).next_point()
    with pytest.raises(StreamError, match="a state pen"):
        Pen(Model.load(write_pen(tmp_path / "stateless", state="other")))
    with pytest.raises(StreamError, match=r"it has no strokes\.json"):
        Pen(Model.load(write_pen(tmp_path / "bare", units="")))


@pytest.mark.parametrize(
    "units", ["{", "[]", '{"scale": 0, "longest": 3}', '{"scale": 1, "longest": 0}', '{"scale": "1", "longest": 3}']
)
def test_damaged_units_are_one_line(tmp_path, units):
    with pytest.raises(BundleError, match=r"^[^\n]*strokes\.json[^\n]*$"):
        Model.load(write_pen(tmp_path / "b", units=units))


def test_a_stroke_in_progress_is_completed_as_it_is(tmp_path):
    points = np.array([[3, 0, 0], [0, 4, 1], [1, 1, 0]], float)
    assert np.array_equal(read_strokes(strokes_json([points])), points)
    points[-1, 2] = 1
    assert np.array_equal(read_strokes(strokes_json([points])), points)


offsets = st.integers(-200, 200) | st.just(0)


@given(st.lists(st.tuples(offsets, offsets, st.sampled_from([0, 1])), min_size=1, max_size=12))
def test_points_that_are_whole_numbers_are_the_same_after_json(points):
    """Those that do not move too, wherever they are."""
    for leading in ([], [(0, 0, 0)], [(0, 0, 0), (0, 0, 0)], [(0, 0, 1)]):
        drawing = np.array([*leading, *points], float)
        assert np.array_equal(read_strokes(strokes_json([drawing])), drawing)


def test_a_first_point_that_does_not_move_is_the_place_of_the_pen_again(pipeline, tmp_path):
    """As in drawings of Omniglot, of which each begins with an offset of 0, 0."""
    points = np.array([[0, 0, 0], [0, 5, 0], [35, 5, 1]])
    np.savez(tmp_path / "begun.npz", points=points.astype(np.int16), ends=np.array([3]))
    lines = [[[7, 7], [7, 7], [7, 12], [42, 17]]]
    (tmp_path / "begun.json").write_text(json.dumps(lines))
    found = [pipeline({}, PensOptions(seed=7, complete=tmp_path / f"begun.{each}")) for each in ("npz", "json")]
    assert found[0].given == found[1].given == 3
    assert np.array_equal(found[0].drawings[0][:3], points)
    assert np.array_equal(found[0].drawings[0], found[1].drawings[0])
    (tmp_path / "begun.json").write_text(json.dumps([lines[0][1:]]))
    assert np.array_equal(read_strokes(tmp_path / "begun.json"), points[1:])


def test_drawn_places_are_the_same_after_json_up_to_its_rounding(pipeline):
    points = pipeline({}, PensOptions(seed=2)).drawings[0]
    back = read_strokes(strokes_json([points]))
    assert np.array_equal(back[:, 2], points[:, 2])
    np.testing.assert_allclose(back[:, :2].cumsum(axis=0), points[:, :2].cumsum(axis=0), rtol=0, atol=0.0005001)


def test_a_drawing_without_room_for_a_point_is_refused(tmp_path):
    pipeline = PensPipeline(Model.load(write_pen(tmp_path / "b")))
    (tmp_path / "d.json").write_bytes(strokes_json([np.array([[3, 0, 0], [0, 4, 1]], float)]))
    with pytest.raises(ConfigError, match="has 2 points, and a drawing ends after 2: raise --max-points"):
        pipeline({}, PensOptions(complete=tmp_path / "d.json", max_points=2))


def test_an_animation_of_too_many_drawings_is_refused_before_anything_is_drawn(call, tmp_path, monkeypatch):
    bundle, out = write_pen(tmp_path / "b"), tmp_path / "a.gif"
    with monkeypatch.context() as patch:
        patch.setattr(Pen, "stream", None)  # which is called for each drawing
        assert call("run", bundle, "--count", 65, "--out", out) == (
            2,
            "",
            f"edgernn: --out {out}: an animation shows at most 64 drawings, and --count is 65: choose fewer, or "
            "another suffix\n",
        )
    assert not out.exists()
    assert call("run", bundle, "--count", 64, "--seed", 1, "--max-points", 2, "--out", out)[0] == 0
    with Image.open(out) as animation:
        assert animation.size == (8 * 120, 8 * 120)
    said = " ".join(call("run", "--help")[1].replace("│", " ").split())
    assert "For the task pens: write the drawings: as strokes" in said
    assert "as they grow (at most 64 drawings)" in said
    assert "For the tasks draw and pens: the seed of the random numbers of the first drawing" in said


def test_an_animation_of_too_many_drawings_and_a_directory_are_refused(tmp_path):
    pipeline = PensPipeline(Model.load(write_pen(tmp_path / "b")))
    with pytest.raises(ConfigError, match=r"an animation shows at most 64 drawings, and --count is 65"):
        pipeline.check(PensOptions(count=65, out=tmp_path / "a.gif"), ())
    (tmp_path / "d.svg").mkdir()
    with pytest.raises(ConfigError, match=r"d\.svg is a directory: name a file"):
        pipeline.check(PensOptions(out=tmp_path / "d.svg"), ())
    with pytest.raises(ConfigError, match=r"--temperature 0\.0005 is not a number of at least 0\.001"):
        pipeline.check(PensOptions(temperature=0.0005), ())


@pytest.mark.parametrize("temperature", [0, -1, 0.0001, float("nan")])
def test_an_impossible_temperature_is_refused(tmp_path, temperature):
    pipeline = PensPipeline(Model.load(write_pen(tmp_path / "b")))
    with pytest.raises(ConfigError, match="temperature"):
        pipeline({}, PensOptions(temperature=temperature))


def test_files_that_do_not_fit_are_named(pipeline, tmp_path):
    for options, words in (
        ({"out": tmp_path / "x.txt"}, "must end in"),
        ({"out": tmp_path / "none" / "x.svg"}, "there is no directory"),
        ({"complete": tmp_path / "x.svg"}, r"the name must end in \.json, \.npz"),
    ):
        with pytest.raises(ConfigError, match=words):
            pipeline.check(PensOptions(**options), [])
    (tmp_path / "x.json").write_text(json.dumps(LINES))
    same = PensOptions(complete=tmp_path / "x.json", out=tmp_path / "x.json")
    with pytest.raises(ConfigError, match="is the input itself"):
        pipeline.check(same, [])
    with pytest.raises(CorpusError, match=r"none\.json cannot be read"):
        pipeline({}, PensOptions(complete=tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="reads no files"):
        pipeline.read("x.json")
    for name in ("d.svg", "d.gif"):
        (tmp_path / name).mkdir()
        with pytest.raises(ImageError, match="cannot be written"):
            pipeline({}, PensOptions(out=tmp_path / name))


# Strokes in files


coordinates = st.integers(-1000, 1000)


@given(st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=4), min_size=1, max_size=4))
def test_strokes_are_points_and_points_are_strokes(lines):
    arrays = [np.array(line, float) for line in lines]
    points = from_lines(arrays)
    assert points[:, 2].sum() == len(lines)
    found = to_lines(points)
    if len(lines[0]) == 1:  # a dot is a line from the beginning to itself
        assert not found[0].any()
        found[0] = found[0][:1]
    for line, back in zip(arrays, found, strict=True):
        assert np.array_equal(line - arrays[0][0], back)
    assert np.array_equal(read_strokes(strokes_json([points])), points)
    assert np.array_equal(read_strokes(json.dumps(lines).encode()), points)
    rows = point_rows(points, 10)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[:, 2:].sum(axis=1), np.ones(len(points)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[[0, 0]", "is not JSON"),
        ("3", "not a list"),
        ("[]", "the drawing is empty: it needs a point"),
        ("[[]]", "a stroke is empty: it needs a point"),
        ("[[3]]", "a point: not a list"),
        ("[[[1, 2, 3]]]", "a point is not two numbers"),
        ('[[[1, "2"]]]', "a coordinate: 2 is not a number"),
        ("[[[1, 1e9]]]", "a point is not two numbers x, y within 1,000,000"),
        ("[[[1, NaN]]]", "is not a number"),
        ('{"drawings": []}', "has 0 drawings: name a file of one"),
        ('{"drawings": [[], []]}', "has 2 drawings: name a file of one"),
        ("{}", "drawings: not a list"),
        ('{"drawings": [[[[0, 0]]]], "lifted": false}', "lifted is neither [true] nor [false]"),
        (json.dumps([[[0, 0]] * 5001]), "has 5,001 points, more than 5,000: simplify it"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_damaged_drawing_is_one_line(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CorpusError) as caught:
        read_strokes(tmp_path / "x.json")
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert "x.json" in str(caught.value)


def test_a_file_of_one_drawing_is_read_and_of_several_is_not(tmp_path):
    write_figures(tmp_path / "one.npz", 1)
    assert np.array_equal(read_strokes(tmp_path / "one.npz"), figures(1)[0])
    write_figures(tmp_path / "two.npz", 2)
    with pytest.raises(CorpusError, match="has 2 drawings: name a file of one"):
        read_strokes(tmp_path / "two.npz")


def test_drawings_of_an_npz_file_are_those_that_were_stored(tmp_path):
    found = read_npz_drawings(write_figures(tmp_path / "x.npz", 7))
    assert all(np.array_equal(*each) for each in zip(found, figures(7), strict=True))


POINTS = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 0], [3, 3, 1]], np.int16)
OBJECTS = np.empty(2, object)
OBJECTS[:] = [POINTS, POINTS]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"points": None}, "has no points: it needs points, int16 (points, 3)"),
        ({"ends": None}, "has no ends: it needs points"),
        ({"points": POINTS.astype(float)}, "points are float64[4, 3], and not int16 (points, 3)"),
        ({"points": POINTS[:, :2]}, "points are int16[4, 2], and not int16 (points, 3)"),
        ({"points": POINTS[:, 0]}, "points are int16[4], and not int16 (points, 3)"),
        ({"ends": np.array([2.0, 4.0])}, "ends are float64[2], and not whole numbers"),
        ({"ends": np.array(4)}, "ends are int64[], and not whole numbers"),
        ({"ends": np.array([], int)}, "has no drawings"),
        ({"ends": np.array([2, 2, 4])}, "drawing 1 has no points: ends must increase"),
        ({"ends": np.array([4, 2])}, "drawing 1 has no points: ends must increase"),
        ({"ends": np.array([-1, 4])}, "drawing 0 has no points: ends must increase"),
        ({"ends": np.array([2, 6])}, "the last drawing ends at 6, and there are 4 points"),
        ({"ends": np.array([2])}, "the last drawing ends at 2, and there are 4 points"),
        ({"ends": np.array([2**63 + 4, 4], np.uint64)}, "drawing 0 has no points: ends must increase"),
        ({"points": POINTS * [1, 1, 0]}, "points are int64[4, 3], and not int16"),
        ({"points": (POINTS * [1, 1, 0]).astype(np.int16)}, "the pen does not lift at the end of drawing 0"),
        ({"points": (POINTS * [1, 1, 2]).astype(np.int16)}, "the third number of point 1 is neither 0 nor 1"),
        ({"points": np.repeat(POINTS, 2000, axis=0), "ends": np.array([8000])}, "drawing 0 has 8,000 points, more"),
        ({"points": OBJECTS}, "holds Python objects"),
        ({"points": None, "ends": None, "train": OBJECTS}, "store points, int16 (points, 3)"),
    ],
)
def test_a_hostile_file_of_drawings_is_one_line(tmp_path, arrays, words):
    given = {"points": POINTS, "ends": np.array([2, 4]), **arrays}
    np.savez(tmp_path / "x.npz", **{name: array for name, array in given.items() if array is not None})
    with pytest.raises(CorpusError) as caught:
        read_npz_drawings(tmp_path / "x.npz")
    assert words in str(caught.value)
    assert "x.npz" in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_is_one_line(tmp_path, part):
    data = write_figures(tmp_path / "x.npz", 30).read_bytes()
    (tmp_path / "x.npz").write_bytes(data[: int(part * len(data))])
    with pytest.raises(CorpusError, match=r"^[^\n]*x\.npz is not an \.npz file[^\n]*$"):
        read_npz_drawings(tmp_path / "x.npz")


# Pictures


def test_a_drawing_is_shown_in_block_characters():
    text = stroke_text(from_lines([np.array(line, float) for line in LINES]))
    assert len(text.splitlines()) == 20
    assert "█" in text
    assert max(map(len, text.splitlines())) <= 40
    assert stroke_text(np.array([[0.0, 0.0, 1.0]])).strip() in ("▀", "▄", "█")


def test_drawings_are_written_as_svg_and_json(tmp_path):
    drawings = [from_lines([np.array(line, float) for line in LINES]), *figures(2)]
    draw_strokes(drawings, 2, tmp_path / "x.svg")
    root = ElementTree.fromstring((tmp_path / "x.svg").read_bytes())
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == sum(len(to_lines(each)) for each in drawings)
    assert root.get("viewBox") == "0 0 240 240"
    first = np.array([[float(part) for part in pair.split(",")] for pair in lines[0].get("points").split()])
    np.testing.assert_allclose(np.diff(first, axis=0), 2.5 * np.diff(LINES[0], axis=0), atol=0.02)
    assert [line.get("stroke") for line in lines[:2]] == ["#2563eb", "#111111"]
    draw_strokes(drawings[:1], 0, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == {"drawings": [LINES], "lifted": [True]}


def test_drawings_are_written_as_an_image_and_as_they_grow(tmp_path):
    drawings = [*figures(3)]
    draw_strokes(drawings, 0, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.size == (240, 240)
        assert np.asarray(sheet.convert("L")).min() < 40
    draw_strokes(drawings, 0, tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as animation:
        ink = [(np.asarray(frame.convert("L")) < 100).sum() for frame in ImageSequence.Iterator(animation)]
    assert all(before <= after for before, after in pairwise(ink))
    assert ink[0] < ink[-1]
    long = np.tile(np.array([[1.0, 1.0, 0.0]]), (500, 1))
    draw_strokes([long], 0, tmp_path / "long.gif")
    with Image.open(tmp_path / "long.gif") as animation:
        assert animation.n_frames <= 80


@pytest.mark.parametrize("suffix", ["svg", "json", "png", "gif"])
def test_a_drawing_that_ended_before_its_first_point_is_a_white_picture(tmp_path, suffix):
    draw_strokes([np.zeros((0, 3)), figures(1)[0]], 0, tmp_path / f"x.{suffix}")
    assert (tmp_path / f"x.{suffix}").stat().st_size
    assert stroke_text(np.zeros((0, 3))) == "\n"
