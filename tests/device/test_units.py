"""The units of a language model: what they tell of a text, found in recordings whose units are known."""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from tiny import TinyLanguage, write_captioner, write_planted

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError, StreamError, UnknownTokenError
from edgernn.runtime import Model, Sampler
from edgernn.runtime.units.drawing import draw_finding, draw_unit, expanded, page, picture
from edgernn.runtime.units.finding import Finder
from edgernn.runtime.units.holding import hold
from edgernn.runtime.units.properties import PROPERTIES, Property, matching, named
from edgernn.runtime.units.recording import Recording, record
from edgernn.runtime.units.shades import STEPS, Scale, colour, level, runs, window
from edgernn.runtime.units.shading import Shading
from edgernn.runtime.units.unit import Units
from edgernn.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Model.load(write_planted(tmp_path_factory.mktemp("planted") / "bundle"))


@pytest.fixture(scope="module")
def quoted():
    """Lines of digits with quotations of letters, of lengths that do not repeat."""
    random = np.random.default_rng(0)

    def word(letters):
        return "".join(random.choice(list(letters), random.integers(1, 9)))

    return "".join(f'{word("12")} "{word("ab ")}" {word("12 ")}\n' for _ in range(200))


@pytest.fixture(scope="module")
def recording(planted, quoted):
    return record(planted, quoted)


# Properties: what holds once each character has been read; . is no, a digit is a number.


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("quotes", 'a "b c" d', "..1111..."),
        ("quotes", "a “b” 'c'", "..11....."),
        ("quotes", '"a\nb" c"d\n \ne', "1111...11...."),  # an empty line ends a quotation
        ("quotes", "x = '\"'; y", ".........."),
        ("quotes", r'"a\"b" c', "11111..."),
        ("position", "ab\n\tc\n", "12.89."),
        ("position", "abc\td", "12389"),
        ("newline-distance", "ab\n\tc\n\nd", "12.12..1"),
        ("indentation", "  a b\n  \nc\n\td\n   e\n  f", "..1111111...1111111111"),
        ("indentation", "f\n a\n   b\n\n\n a\nc", "...111112222211."),
        ("word", "ab_1 (é)-", "1111..1.."),
        ("comment", "a /* b */ c", "...11111..."),
        ("comment", "/*/ a */ b", ".111111..."),
        ("comment", "a // b\nc", "...111.."),
        ("comment", '"/* a */" //b', "...........11"),
        ("comment", "a /* b", "...111"),
        ("string", 'f("a\\"b", c)', "..11111....."),
        ("string", "x = 'a' + '\\''", "....11....111."),
        ("string", '/* "a" */ "b"', "..........11."),
        ("string", '"a\nb"c', "11..11"),  # a line break ends a string that is not closed
        ("string", "don't, 'tis", "..........."),
        ("brackets", "f(a[1])+b", ".11111..."),
        ("bracket-depth", "f(a[1])+b)(", ".11221....1"),
        ("bracket-depth", "f('(', \"(\") /*(*/", ".111111111......."),
        ("bracket-depth", "f(a {b) c} d", ".11111111111"),  # what is within braces does not close what is around them
        ("brace-depth", "{a{b}c}}d{", "112211...1"),
        ("brace-depth", "{{{\n}\n{a", "1233..11"),  # a brace in the first column closes everything
        ("if-condition", "if (a(b)) c(d)", "...11111......"),
        ("if-condition", "if /* x */ (a) b", "...........11..."),
        ("if-condition", "#if (a)\nelif (b)", "................"),
        ("if-condition", "x.if a (b)", ".........."),
    ],
)
def test_a_property_is_what_is_so_once_a_character_was_read(name, text, expected):
    values = PROPERTIES[name](text)
    assert values.dtype == (bool if name in BOOLS else np.float64)
    assert "".join(f"{value:.0f}" if value else "." for value in values.astype(float)) == expected


BOOLS = {"quotes", "word", "comment", "string", "brackets", "if-condition"}


def test_every_property_has_one_value_for_each_character_of_any_text():
    random = np.random.default_rng(0)
    for _ in range(50):
        text = "".join(random.choice(list("ab \n\t\"'/*(){}[]#if\\“”é"), random.integers(1, 60)))
        for each in PROPERTIES.values():
            assert each(text).shape == (len(text),), (each.name, text)


def test_a_regular_expression_holds_inside_its_matches():
    assert named("number=[0-9]+")("a12 b3").tolist() == [False, True, True, False, False, True]
    assert named("first=^.").name == "first"
    assert named("first=^.")("ab\ncd").tolist() == [True, False, False, True, False]
    assert named("equal==").measure("a=b").tolist() == [False, True, False]


FUNCTIONS = """
import sys
def vowel(text): return [character in "aeiou" for character in text]
def place(text): return range(len(text))
def short(text): return [1]
def single(text): return 1
def words(text): return ["a"] * len(text)
def square(text): return [[1, 2]] * len(text)
def infinite(text): return [float("inf")] * len(text)
def fails(text): return 1 / 0
def leaves(text): sys.exit(3)
_own = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FUNCTIONS)
    return path


def test_a_function_has_one_value_for_each_character(file):
    assert named(f"{file}:vowel")("hello").tolist() == [False, True, False, False, True]
    place = named(f"{file}:place")
    assert (place.name, place("abc").tolist(), place("abc").dtype) == ("place", [0, 1, 2], np.float64)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("short", "returns 1 value: return one value for each of the 3 characters of the text"),
        ("single", "returns int: return one value"),
        ("words", "returns values such as 'a'"),
        ("square", "returns an array of shape (3, 2)"),
        ("infinite", "returns inf for a character"),
        ("fails", "fails: ZeroDivisionError: division by zero"),
        ("leaves", "fails: it exits"),
    ],
)
def test_a_function_that_fails_or_returns_anything_else_is_refused(file, function, words):
    with pytest.raises(ConfigError, match=re.escape(f"{function} of {file} {words}")):
        named(f"{file}:{function}")("abc")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("comet", "there is no property 'comet': it is one of quotes, position"),
        ("a=(", "the property a is no regular expression: missing ), unterminated subpattern"),
        ("a=", "the property a is an empty regular expression"),
        ("none.py:f", "there is no file none.py"),
        ("OWN:nothing", "has no function 'nothing': it has vowel, place, short"),
        ("OWN:_own", "has no function '_own'"),
        ("WRONG:f", "wrong.py fails: SyntaxError: invalid syntax (wrong.py, line 1)"),
        ("EXITS:f", "exits.py fails: it exits"),
    ],
)
def test_a_property_that_is_none_is_refused(file, text, words):
    for name, content in (("wrong", "a b"), ("exits", "import sys; sys.exit(2)")):
        file.with_name(f"{name}.py").write_text(content)
        text = text.replace(name.upper(), str(file.with_name(f"{name}.py")))
    with pytest.raises(ConfigError, match=re.escape(words)):
        named(text.replace("OWN", str(file)))


# Units


def graph(*states):
    token = TensorSpec("token", "int64", (BATCH,), bound=9, kind="token")
    logits = TensorSpec("logits", "float32", (BATCH, 9), kind="next-token")
    return GraphSpec("step", (token,), (logits,), states)


STATES = (StateSpec("h", "float32", (2, BATCH, 3)), StateSpec("a.c", "float16", (BATCH, 4)))


def test_units_have_numbers_and_names():
    units = Units(graph(*STATES))
    names = ["h.0.0", "h.0.1", "h.0.2", "h.1.0", "h.1.1", "h.1.2", "a.c.0", "a.c.1", "a.c.2", "a.c.3"]
    assert [unit.name for unit in units] == names
    assert len(units) == 10
    for number, name in enumerate(names):
        assert units.find(str(number)) == units.find(name) == units[number]
    assert str(units[4]) == "4 (h.1.1)"
    assert units[4].to_json() == {"unit": 4, "state": "h", "layer": 1, "index": 1}
    assert units[7].to_json() == {"unit": 7, "state": "a.c", "layer": None, "index": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10", "there is no unit 10: units are numbered from 0 to 9"),
        ("9" * 30, "units are numbered from 0 to 9"),
        ("-1", "a unit is a number from 0 to 9, or a name, up to h.1.2 and a.c.3"),
        ("", "there is no unit ''"),
        ("c.1", "there is no unit 'c.1'"),
        ("h.2.0", "the layers of the state h are 0 to 1"),
        ("h.0.3", "the units of a layer of the state h are 0 to 2"),
        ("h.1", "units of the state h are named STATE.LAYER.INDEX"),
        ("a.c.4", "the units of the state a.c are 0 to 3"),
        ("a.c.0.1", "units of the state a.c are named STATE.INDEX"),
        ("h.0.x", "there is no unit 'h.0.x'"),
    ],
)
def test_a_unit_that_does_not_exist_is_refused(text, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        Units(graph(*STATES)).find(text)


def test_states_without_units_are_refused():
    with pytest.raises(StreamError, match="graph step has no state, and so no units"):
        Units(graph())
    with pytest.raises(StreamError, match="state n is not a fixed number of floating-point numbers"):
        Units(graph(StateSpec("n", "int64", (BATCH, 2))))
    with pytest.raises(StreamError, match="state n is not a fixed number"):
        Units(graph(StateSpec("n", "float32", (BATCH, "size"))))


def test_values_are_states_and_states_are_values():
    units = Units(graph(*STATES))
    values = np.arange(20, dtype=np.float32).reshape(2, 10)
    states = units.states(values)
    assert states["h"].shape == (2, 2, 3)
    assert states["a.c"].dtype == np.float16
    np.testing.assert_array_equal(states["h"][1, 0], [3, 4, 5])
    one = units.states(values[1:])
    np.testing.assert_array_equal(units.values(one), values[1])
    held = units.hold(states, units.find("h.1.1"), np.array([math.nan, -7]))
    np.testing.assert_array_equal(held["h"][1, :, 1], [4, -7])
    np.testing.assert_array_equal(held["a.c"], states["a.c"])
    held["h"][1, :, 1] = states["h"][1, :, 1]
    np.testing.assert_array_equal(held["h"], states["h"])
    np.testing.assert_array_equal(states["h"][1, :, 1], [4, 14])  # unchanged


# Recordings


def test_a_recording_is_the_oracles(model, tiny):
    text = "abc dead\nbeef " * 10
    found = record(model, text)
    h = c = np.zeros((1, tiny.hidden), np.float32)
    expected = []
    for token in tiny.tokenizer.encode(text):
        _, h, c = tiny.step(np.array([token]), h, c)
        expected.append(np.concatenate([h[0], c[0]]))
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert found.places.tolist() == list(range(len(text)))
    assert found.half == len(text) // 2


def test_characters_outside_the_vocabulary_are_refused_skipped_or_replaced(model):
    text = "abc x dead " * 12
    with pytest.raises(UnknownTokenError, match="--unknown skip leaves out"):
        record(model, text)
    skipped = record(model, text, unknown="skip")
    assert skipped.places.tolist() == [place for place, character in enumerate(text) if character != "x"]
    np.testing.assert_array_equal(skipped.values, record(model, text.replace("x", "")).values)
    assert len(record(model, text, unknown="replace").tokens) == len(text)


def test_a_text_that_is_too_short_is_refused(model):
    with pytest.raises(ConfigError, match="the text has 99 tokens: what units tell takes at least 100"):
        record(model, "abc" * 33)


def test_states_that_are_no_numbers_are_refused(tmp_path, tiny):
    weights = np.full_like(tiny.weight, np.nan)
    broken = TinyLanguage(tiny.embedding, weights, tiny.bias, tiny.output, tiny.tokenizer)
    with pytest.raises(StreamError, match="the states are not finite numbers after 1 tokens"):
        record(Model.load(broken.write(tmp_path / "broken")), "abc " * 40)


def test_a_network_that_reads_more_than_text_is_refused(tmp_path):
    with pytest.raises(Exception, match="a stream of this model begins with 'image'"):
        record(Model.load(write_captioner(tmp_path / "captioner")), "a dog " * 60, unknown="replace")


def synthetic(values, text=None):
    """A recording of one-character tokens whose units are `values` (tokens, units)."""
    text = text or "x" * len(values)
    units = Units(graph(StateSpec("h", "float32", (BATCH, values.shape[1]))))
    places = np.arange(len(text))
    return Recording(text, units, np.zeros(len(text), np.int64), places, values.astype(np.float32))


def test_characters_have_the_values_of_their_tokens():
    text = "one twöo"
    units = Units(graph(StateSpec("h", "float32", (BATCH, 1))))
    places = np.array([2, 5, 6, 6, 7])  # a word, a word of three with its space, two bytes of one character, a letter
    found = Recording(text, units, np.zeros(5, np.int64), places, np.zeros((5, 1), np.float32))
    assert found.of_characters(np.array([1, 2, 3, 4, 5])).tolist() == [1, 1, 1, 2, 2, 2, 4, 5]


# Finding


def known(truth, name="known"):
    return Property(name, "", lambda text: truth)


def stretches(random, size):
    """A property that holds in stretches of random length."""
    changes = random.random(size) < 0.05
    return (np.cumsum(changes) % 2).astype(bool)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_found_with_its_sign_and_threshold(sign):
    random = np.random.default_rng(1)
    truth = stretches(random, 4000)
    values = random.standard_normal((4000, 30))
    values[:, 17] = sign * (2.0 * truth + 5) + random.uniform(-0.4, 0.4, 4000)
    found = Finder(synthetic(values)).find(known(truth))
    assert (found.unit.number, found.sign, found.score) == (17, sign, 1.0)
    assert 5.4 < sign * found.threshold < 6.6
    assert found.line is None
    assert (sign * found.high, sign * found.low) == pytest.approx((7, 5), abs=0.05)
    assert found.mean == truth.mean()
    assert abs(found.baseline - 0.5) < 0.05
    assert found.kind == "balanced accuracy"


def test_the_score_is_the_mean_of_both_rates_on_the_second_half():
    truth = np.tile([True] * 5 + [False] * 15, 20)
    values = np.where(truth, 1.0, -1.0)[:, None]
    second = np.arange(200, 400)
    values[second[truth[200:]][:10], 0] = -1  # 10 of 50 are missed
    values[second[~truth[200:]][:15], 0] = 1  # 15 of 150 are told wrongly
    found = Finder(synthetic(values)).find(known(truth))
    assert found.score == pytest.approx((0.8 + 0.9) / 2)
    assert found.threshold == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_line_is_found(sign):
    random = np.random.default_rng(2)
    truth = np.cumsum(random.standard_normal(4000)) + 100
    values = random.standard_normal((4000, 20))
    values[:, 3] = sign * (truth - 7) / 2
    found = Finder(synthetic(values)).find(known(truth))
    assert (found.unit.number, found.sign, found.threshold) == (3, sign, None)
    assert found.score == pytest.approx(1)
    assert found.line == pytest.approx((2 * sign, 7), rel=1e-3)
    assert found.kind == "correlation"
    assert sign * found.high > sign * found.low


def test_units_are_chosen_on_the_first_half_alone():
    random = np.random.default_rng(3)
    truth = stretches(random, 2000)
    values = random.standard_normal((2000, 2))
    values[:1000, 0] = truth[:1000]  # tells the first half
    values[1000:, 1] = truth[1000:]  # tells the second half
    found = Finder(synthetic(values)).find(known(truth))
    assert found.unit.number == 0
    assert found.score == pytest.approx(0.5, abs=0.1)
    number = Finder(synthetic(values)).find(known(truth.astype(float)))
    assert number.unit.number == 0
    assert abs(number.score) < 0.2


def test_a_score_is_that_of_the_unit_in_numpy():
    random = np.random.default_rng(4)
    truth = np.cumsum(random.standard_normal(1000))
    values = (truth + random.normal(0, 9, 1000))[:, None]
    found = Finder(synthetic(values)).find(known(truth))
    assert found.score == pytest.approx(np.corrcoef(values[500:, 0], truth[500:])[0, 1], rel=1e-5)
    slope, intercept = np.polyfit(values[:500, 0], truth[:500], 1)
    assert found.line == pytest.approx((slope, intercept), rel=1e-4)


def test_the_shuffled_baseline_is_near_chance_even_for_a_text_that_repeats():
    truth = np.tile([True, True, False, False, False], 1000)
    values = np.stack([truth, ~truth, np.roll(truth, 2)], axis=1).astype(float)
    found = Finder(synthetic(values)).find(known(truth))
    assert found.score == 1
    assert abs(found.baseline - 0.5) < 0.06
    number = Finder(synthetic(values)).find(known(truth.astype(float)))
    assert number.score == pytest.approx(1)
    assert abs(number.baseline) < 0.1


def test_units_that_never_change_tell_nothing():
    truth = np.tile([True, False], 100)
    found = Finder(synthetic(np.ones((200, 3)))).find(known(truth))
    assert (found.score, found.unit.number) == (0.5, 0)
    assert Finder(synthetic(np.ones((200, 3)))).find(known(truth.astype(float))).score == 0


def test_units_can_be_chosen_from():
    random = np.random.default_rng(5)
    truth = stretches(random, 1000)
    recording = synthetic(np.stack([truth, random.standard_normal(1000), truth], axis=1))
    found = Finder(recording, [recording.units[1]]).find(known(truth))
    assert found.unit.number == 1
    assert found.score < 0.7
    assert Finder(recording, [recording.units[2]]).find(known(truth)).score == 1


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (np.zeros(200, bool), "known holds nowhere in the text, so no unit can tell it"),
        (np.ones(200, bool), "known holds everywhere in the text"),
        (np.arange(200) == 3, "known holds nowhere in the second half of the text, so no unit can tell it: take more"),
        (np.arange(200) < 150, "known holds everywhere in the first half of the text"),
        (np.full(200, 2.5), "known is 2.5 everywhere in the text"),
        (np.maximum(np.arange(200), 120), "known is 120 everywhere in the first half of the text"),
    ],
)
def test_a_property_that_is_the_same_everywhere_is_refused(truth, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        Finder(synthetic(np.random.default_rng(0).standard_normal((200, 2)))).find(known(truth))


def test_a_property_of_a_token_is_that_of_its_last_character():
    text = "ab" * 100
    places = np.arange(1, 200, 2)
    truth = np.arange(100) % 3 == 0
    of_characters = np.zeros(200, bool)
    of_characters[places] = truth
    of_characters[places - 1] = ~truth
    units = Units(graph(StateSpec("h", "float32", (BATCH, 1))))
    recording = Recording(text, units, np.zeros(100, np.int64), places, truth[:, None].astype(np.float32))
    assert Finder(recording).find(known(of_characters)).score == 1


def test_the_units_of_a_model_are_found(recording):
    finder = Finder(recording)
    quotes = finder.find(PROPERTIES["quotes"])
    assert (quotes.unit.name, quotes.sign, quotes.score, quotes.threshold) == ("h.0.2", 1, 1, 0.5)
    assert (quotes.high, quotes.low) == (1, 0)
    distance = finder.find(PROPERTIES["newline-distance"])
    assert (distance.unit.name, distance.sign) == ("h.0.3", 1)
    assert distance.score == pytest.approx(1)
    assert distance.line == pytest.approx((100, 0), abs=1e-2)
    assert abs(quotes.baseline - 0.5) < 0.06
    assert abs(distance.baseline) < 0.1


# Holding


@pytest.mark.parametrize("batched", [True, False])
def test_a_unit_that_controls_the_text_is_seen_to_do_so(tmp_path, quoted, batched):
    model = Model.load(write_planted(tmp_path / "bundle", batched=batched))
    recording = record(model, quoted)
    letters = Finder(recording).find(matching("letters", "[ab]"))
    quotes = Finder(recording).find(PROPERTIES["quotes"])
    assert letters.unit.name == quotes.unit.name == "h.0.2"
    held = hold(model, recording, quotes, Sampler(seed=0), 40)
    assert (held.prompts, held.tokens) == (16, 40)
    assert held.likeness.direction == 1
    assert held.likeness.low < held.likeness.free < held.likeness.high
    share = hold(model, recording, letters, Sampler(seed=0), 40).mean
    assert share.high > 0.8
    assert share.low < 0.1
    assert share.low < share.free < share.high
    assert share.direction == 1


def test_a_unit_without_influence_changes_nothing(planted, recording):
    noise = Finder(recording, [recording.units[0]]).find(PROPERTIES["quotes"])
    held = hold(planted, recording, noise, Sampler(seed=0), 30)
    for measured in (held.mean, held.likeness):
        assert measured.free == measured.high == measured.low
        assert (measured.difference, measured.direction) == (0, 0)


def test_holding_the_other_way_is_seen(planted, recording):
    """The means are exchanged, as if the unit had told the property with the other sign."""
    found = Finder(recording).find(PROPERTIES["quotes"])
    turned = replace(found, high=found.low, low=found.high)
    assert hold(planted, recording, turned, Sampler(seed=0), 30).likeness.direction == -1


def test_the_same_seed_holds_alike(planted, recording):
    found = Finder(recording).find(PROPERTIES["quotes"])
    one, other, third = (hold(planted, recording, found, Sampler(seed=seed), 20) for seed in (5, 5, 6))
    assert one == other
    assert one != third
    assert set(one.to_json()["mean"]) == {"free", "high", "low", "error", "difference", "direction"}


# Drawing


class Text(HTMLParser):
    """The text, the classes and the tags of a page, within <pre>."""

    def __init__(self, content):
        super().__init__()
        self.text, self.tags, self.marked, self._inside, self._mark = "", set(), "", False, False
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self._inside |= tag == "pre"
        self._mark |= tag == "u"

    def handle_endtag(self, tag):
        self._inside &= tag != "pre"
        self._mark &= tag != "u"

    def handle_data(self, data):
        if self._inside:
            self.text += data
            self.marked += data if self._mark else ""


def test_a_page_shows_the_text_as_it_is_whatever_it_holds():
    text = '<b>&amp; "x"</b>\n\n\t<script>\x1b[1m\n' * 10
    truth = np.array([character == "&" for character in text])
    recording = synthetic(np.stack([truth, ~truth], axis=1).astype(float), text)
    found = Finder(recording).find(known(truth, "<i>"))
    drawing = draw_finding(recording, found, 100)
    content = page("<title>", ["a < b"], [drawing])
    shown = Text(content)
    assert shown.text == drawing.text.replace("\x1b", "\ufffd")
    assert "<script>" in shown.text
    assert set(shown.marked) == {"&"}
    assert shown.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "i", "u"}
    assert "<h2>&lt;i&gt;: unit 0 (h.0)</h2>" in content
    assert "<p>a &lt; b</p>" in content
    assert "http" not in content


def test_a_picture_has_every_line_at_its_place():
    text = "a <b>\n\n\tc & d\n" * 12
    truth = np.array([character in "bc" for character in text])
    recording = synthetic(truth[:, None].astype(float), text)
    drawing = draw_finding(recording, Finder(recording).find(known(truth)), 40)
    root = ElementTree.fromstring(picture([drawing, draw_unit(recording, recording.units[0], 40)]))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    lines = [line for line in drawing.text.split("\n") if line]
    assert texts[: len(lines) + 1] == ["known: unit 0 (h.0)", *lines]
    assert "unit 0 (h.0)" in texts
    rows = {float(each.get("y")) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    cells = {each.get("fill") for each in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert {colour(STEPS), colour(-STEPS)} <= cells
    assert len(rows) == len(texts)


def test_tabs_are_spaces_up_to_the_next_multiple_of_eight():
    text, widths = expanded("\ta\n1234567\tb\t\n")
    assert text == "        a\n1234567 b       \n"
    assert widths.tolist() == [8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7, 1]


def test_colours_go_from_blue_over_white_to_red():
    assert (colour(-STEPS), colour(0), colour(STEPS)) == ("#5c8cf0", "#ffffff", "#f0645a")
    assert [level(shade) for shade in (-9, -1, -0.04, 0, 0.5, 1, 9)] == [-STEPS, -STEPS, 0, 0, 6, STEPS, STEPS]


def test_a_scale_is_white_at_the_threshold_and_red_where_the_property_holds():
    values = np.linspace(-1, 3, 1001)
    scale = Scale.of(values)
    assert (scale.blue, scale.white, scale.red) == pytest.approx((-0.92, 1, 2.92))
    assert scale(np.array([-5, -0.92, 0.04, 1, 1.96, 2.92, 9])).tolist() == pytest.approx([-1, -1, -0.5, 0, 0.5, 1, 1])
    turned = Scale(2.0, 0.0, -1.0)
    assert turned(np.array([2, 1, 0, -0.5, -1])).tolist() == [-1, -0.5, 0, 0.5, 1]
    flat = Scale(1.0, 1.0, 1.0)
    assert flat(np.array([0, 1, 2])).tolist() == [-1, 0, 1]


def test_runs_are_the_text():
    text, shades = "ab\n\ncd", np.array([0, 0, 0, 0, 0, 1.0])
    found = [(run, level) for run, level, _ in runs(text, shades)]
    assert found == [("ab", 0), ("\n", 0), ("\n", 0), ("c", 0), ("d", STEPS)]
    marks = np.array([False, True, True, True, True, True])
    assert [(run, mark) for run, _, mark in runs(text, shades, marks)][:2] == [("a", False), ("b", True)]


def test_the_window_is_where_the_property_varies_most():
    text = "aaaa\n" * 20
    truth = np.zeros(100, bool)
    truth[62:68] = True
    found = window(text, truth, 50, 20)
    assert (found.start % 5, found.stop % 5) == (0, 0)
    assert 55 <= found.start <= 60
    assert window("a" * 50, truth[:50], 25, 10) == slice(25, 35)


def test_a_stream_is_shaded_as_it_is_read_and_decoded(model, tiny):
    units = Units(model.contract["step"])
    shading = Shading(units, "c.0.3")
    stream, plain = model.stream(Sampler(seed=0)), model.stream(Sampler(seed=0))
    pieces = list(shading.prefill(stream, "abc"))
    plain.prefill("abc")
    assert "".join(pieces) == "abc"
    assert pieces[-1].shade == pytest.approx(math.tanh(plain.state["c"][0, 0, 3]))
    decoded = list(shading.decode(stream, 20))
    assert "".join(decoded) == "".join(plain.decode(20))
    assert decoded[-1].shade == pytest.approx(math.tanh(plain.state["c"][0, 0, 3]))
    assert all(-1 <= piece.shade <= 1 for piece in decoded)


def test_places_are_those_of_characters():
    tokenizer = Tokenizer.characters("abc\n")
    assert tokenizer.places("abx\nc").tolist() == [0, 1, 2, 3, 4]
    assert tokenizer.places("").tolist() == []
    long = "ab\n" * 50_000
    assert (tokenizer.places(long) == np.arange(len(long))).all()
