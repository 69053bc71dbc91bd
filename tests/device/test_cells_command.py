"""`edgernn cells`, and `edgernn run --cells`: what they print, write and refuse."""

import io
import json
import re
import sys

import numpy as np
import pytest
from rich.console import Console
from tiny import PLANTED_ALPHABET, write_captioner, write_planted, write_text_classifier

from edgernn.cli import shades
from edgernn.cli.cells import CellsSettings
from edgernn.settings import declared_options
from edgernn.tokenizer import UNKNOWN_CHOICES

BUILT_IN = ["quotes", "position", "newline-distance", "indentation", "word", "comment", "string", "brackets"]
ABSENT = {"indentation", "comment", "brackets", "bracket-depth", "brace-depth", "if-condition"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    write_planted(folder / "planted")
    write_captioner(folder / "captioner")
    write_text_classifier(folder / "classifier", labels=["a", "b", "c"])
    random = np.random.default_rng(0)

    def word(letters):
        return "".join(random.choice(list(letters), random.integers(1, 9)))

    text = "".join(f'{word("12")} "{word("ab ")}" {word("12 ")}\n' for _ in range(200))
    (folder / "text.txt").write_text(text)
    (folder / "short.txt").write_text('12 "ab"\n' * 9)
    (folder / "other.txt").write_text("12 x\n" * 90)
    (folder / "page.html").write_text(text)
    (folder / "plain.txt").write_text("1" * 400)
    (folder / "own.py").write_text(
        "def long(text): return [1.0] * 3\ndef mark(text): return [c == '\"' for c in text]\n"
    )
    return folder


@pytest.fixture
def at(folder, tmp_path, monkeypatch):
    """The folder, with an empty one to write in as the working directory."""
    monkeypatch.chdir(tmp_path)
    return folder


def run(call, at, *arguments):
    return call("cells", at / "planted", "--text", at / "text.txt", *arguments)


def test_json_has_every_property_with_its_unit_score_and_baseline(call, at):
    status, out, err = run(call, at, "--json")
    values = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert [each["name"] for each in values["properties"]] == [name for name in BUILT_IN if name not in ABSENT]
    assert {each["name"] for each in values["skipped"]} == ABSENT
    assert values["skipped"][1]["reason"] == "comment holds nowhere in the text, so no unit can tell it"
    quotes, *_ = values["properties"]
    assert quotes == {
        **{"name": "quotes", "unit": 2, "state": "h", "layer": 0, "index": 2, "kind": "balanced accuracy"},
        **{"score": 1.0, "baseline": pytest.approx(0.5, abs=0.06), "sign": 1, "threshold": 0.5},
        **{"slope": None, "intercept": None, "low": 0.0, "high": 1.0, "mean": quotes["mean"]},
    }
    distance = values["properties"][2]
    assert (distance["unit"], distance["threshold"]) == (3, None)
    assert (distance["score"], distance["slope"]) == (pytest.approx(1), pytest.approx(100, rel=1e-3))
    assert (values["units"], values["out"]) == (4, "cells.html")
    assert values["characters"] == values["tokens"] == len((at / "text.txt").read_text())


def test_the_report_for_people_has_a_line_for_each_property(call, at):
    status, out, err = run(call, at)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"[\d,]+ characters of \S+, 4 units; chosen on the first half, scored on the second", lines[0])
    assert re.fullmatch(r"quotes +2 \(h\.0\.2\) +100\.0% +\d\d\.\d% +above 0\.5", lines[2])
    assert re.fullmatch(r"newline-distance +3 \(h\.0\.3\) +1\.00 +-?0\.\d\d +high", lines[4])
    assert "comment holds nowhere in the text, so no unit can tell it" in lines
    assert lines[-1] == "cells.html"
    assert "\x1b" not in out


def test_the_drawing_is_a_page_or_a_picture(call, at, tmp_path):
    assert run(call, at, "--length", 80)[0] == 0
    page = (tmp_path / "cells.html").read_text()
    assert page.count("<pre>") == 5
    assert "<u>" in page
    assert run(call, at, "--out", "one.svg", "--property", "quotes")[0] == 0
    assert "quotes: unit 2 (h.0.2)" in (tmp_path / "one.svg").read_text()


def test_properties_can_be_chosen_and_own(call, at):
    options = ("--property", "word", "--property", "digit=[12]", "--property", f"{at / 'own.py'}:mark", "--json")
    values = json.loads(run(call, at, *options)[1])
    assert [each["name"] for each in values["properties"]] == ["word", "digit", "mark"]
    assert values["skipped"] == []


def test_any_unit_is_drawn_and_scored_alone(call, at, tmp_path):
    for unit in ("0", "h.0.0"):
        values = json.loads(run(call, at, "--unit", unit, "--json")[1])
        assert {each["unit"] for each in values["properties"]} == {0}
        assert values["properties"][0]["score"] < 0.9
    assert "<h2>unit 0 (h.0.0)</h2>" in (tmp_path / "cells.html").read_text()
    status, out, _ = call("cells", at / "planted", "--text", at / "plain.txt", "--unit", 1, "--json")
    assert (status, [each["name"] for each in json.loads(out)["properties"]]) == (0, ["position", "newline-distance"])


def test_fewer_characters_can_be_read(call, at):
    assert json.loads(run(call, at, "--chars", 500, "--json")[1])["characters"] == 500


def test_what_becomes_of_unknown_characters_is_as_elsewhere(call, at):
    assert declared_options(CellsSettings)["unknown"].option.choices == UNKNOWN_CHOICES
    for unknown, tokens in (("skip", 360), ("replace", 450)):  # of 90 lines, 12 x
        found = call("cells", at / "planted", "--text", at / "other.txt", "--unknown", unknown, "--json")[1]
        assert json.loads(found)["tokens"] == tokens


def test_the_text_can_be_standard_input(call, at, monkeypatch):
    class Input:
        buffer = io.BytesIO((at / "text.txt").read_bytes())

    monkeypatch.setattr(sys, "stdin", Input)
    status, out, _ = call("cells", at / "planted", "--text", "-", "--property", "quotes", "--json")
    assert (status, json.loads(out)["properties"][0]["score"]) == (0, 1)


def test_clamping_says_what_it_changes(call, at):
    options = ("--clamp", "--max-tokens", 40, "--property", "letter=[ab]", "--property", "position")
    status, out, _ = run(call, at, *options)
    assert status == 0
    letters, likeness, position, _ = (re.split("  +", line) for line in out.splitlines()[-5:-1])
    assert letters[:2] == ["letter", "the share of characters"]
    held, free, low = (float(letters[place].rstrip("%")) for place in (2, 4, 3))
    assert held > 80 > free > low
    assert letters[-1] == likeness[-1] == "as expected"
    assert position[1] == "its mean"
    values = json.loads(run(call, at, *options, "--json")[1])["properties"][0]["clamp"]
    assert set(values) == {"prompts", "tokens", "mean", "likeness"}
    assert values["mean"]["direction"] == 1
    assert f"{values['mean']['high']:.1%}" == letters[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("planted", "edgernn cells needs a text that the model reads: name a file with --text"),
        ("none --text TEXT", "there is no none"),
        ("own.py --text TEXT", "own.py is not a run or a bundle"),
        ("captioner --text TEXT", "the bundle's task is caption, but it does not continue a text"),
        ("classifier --text TEXT", "the bundle's task is classify, but it does not continue a text"),
        ("planted --text none.txt", "none.txt: cannot be read: No such file or directory"),
        ("planted --text short.txt", "the text has 72 tokens: what units tell takes at least 100"),
        ("planted --text TEXT --chars 99", "the text has 99 tokens: what units tell takes at least 100"),
        ("planted --text other.txt", "the vocabulary has no 'x' (U+0078); --unknown skip leaves out"),
        ("planted --text TEXT --property comment", "comment holds nowhere in the text, so no unit can tell it"),
        ("planted --text TEXT --property any=(?s).", "any holds everywhere in the text, so no unit can tell it"),
        ("planted --text TEXT --property a=(", "the property a is no regular expression: missing )"),
        ("planted --text TEXT --property comments", "there is no property 'comments': it is one of quotes"),
        ("planted --text TEXT --property own.py:long", "long of own.py returns 3 values: return one value for each"),
        ("planted --text TEXT --property own.py:short", "own.py has no function 'short': it has long, mark"),
        ("planted --text TEXT --unit 4", "there is no unit 4: units are numbered from 0 to 3"),
        ("planted --text TEXT --unit c.0", "there is no unit 'c.0': a unit is a number from 0 to 3, or a name"),
        ("planted --text TEXT --unit h.1.0", "the layers of the state h are 0 to 0"),
        ("planted --text TEXT --out a.png", "--out a.png: the name must end in .html, .svg"),
        ("planted --text TEXT --out no/a.svg", "--out no/a.svg cannot be written: there is no directory no"),
        ("planted --text page.html --out page.html", "--out page.html is the input itself: choose another name"),
        ("planted --text TEXT --seed 3", "--seed goes with --clamp: leave it out, or add --clamp"),
        ("planted --text TEXT --max-tokens 3", "--max-tokens goes with --clamp"),
        ("planted --text TEXT --chars 0", "--chars 0 is not a whole number of at least 1 and at most 10,000,000"),
        ("planted --text TEXT --property=", "there is no property ''"),
    ],
)
def test_bad_input_is_one_line(call, folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    status, out, err = call("cells", *arguments.replace("TEXT", "text.txt").split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert sorted(folder.iterdir()) == before


def test_a_text_without_any_property_is_refused(call, at):
    (at / "ones.txt").write_text("\n" * 200)
    status, _, err = call("cells", at / "planted", "--text", at / "ones.txt")
    assert (status, err.count("\n")) == (2, 1)
    assert "the text has none of the built-in properties: quotes holds nowhere in the text" in err


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that shows colours, which records what is printed on it."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, highlight=False)
    monkeypatch.setattr(shades, "_console", lambda: console)
    return console.file


RED, BLUE = "48;2;240;100;90", "48;2;92;140;240"


def test_a_terminal_shows_the_text_in_colours(call, at, terminal):
    status, out, _ = run(call, at, "--property", "quotes", "--length", 60)
    assert (status, out.splitlines()[0]) == (0, "quotes: unit 2 (h.0.2)")
    shown = terminal.getvalue()
    pieces = re.findall(r"\x1b\[([\d;]+)m([^\x1b]*)\x1b\[0m", shown)
    assert {colour.split("30;")[1] for colour, _ in pieces} == {RED, BLUE}
    for colour, piece in pieces:
        inside = "b" in piece or "a" in piece
        assert inside <= colour.endswith(RED)
        assert colour.startswith("4;") == colour.endswith(RED)  # the property is underlined, and the unit tells it
    assert not run(call, at, "--property", "quotes", "--json")[1].startswith("quotes")


def test_generated_text_is_coloured_as_it_comes(call, at, terminal):
    status, out, _ = call("run", at / "planted", '12 "ab', "--cells", "h.0.2", "--seed", 0, "--max-tokens", 30)
    plain = call("run", at / "planted", '12 "ab', "--seed", 0, "--max-tokens", 30)[1]
    shown = terminal.getvalue()
    assert (status, out) == (0, "\n")
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) + "\n" == plain
    inside = re.findall(r"\x1b\[30;48;2;([\d;]+)m[ab]\x1b", shown)
    outside = re.findall(r"\x1b\[30;48;2;([\d;]+)m[12]\x1b", shown)
    assert set(inside) == {"244;139;131"}  # tanh(1) is 9 of 12 steps from white to red
    assert set(outside) == {"255;255;255"}


def test_generated_text_has_no_colours_in_a_file(call, at):
    options = ("--seed", 0, "--max-tokens", 30, "--stop", "2\n")
    plain = call("run", at / "planted", "12", *options)
    assert call("run", at / "planted", "12", "--cells", 2, *options) == plain
    assert call("run", at / "planted", "12", "--cells", 2, "--no-echo", *options)[1] == plain[1][2:]
    with_json = call("run", at / "planted", "12", *options, "--json")
    assert call("run", at / "planted", "12", "--cells", 2, *options, "--json") == with_json


def test_a_unit_that_does_not_exist_is_refused_before_any_text(call, at):
    status, out, err = call("run", at / "planted", "12", "--cells", "h.0.4")
    assert (status, out) == (2, "")
    assert "there is no unit h.0.4: the units of a layer of the state h are 0 to 3" in err


def test_the_prompt_of_a_terminal_is_coloured_too(at, terminal, monkeypatch, capsys):
    from edgernn.cli.prompt import Prompt
    from edgernn.runtime import Model
    from edgernn.runtime.pipelines.language import LanguageOptions, LanguagePipeline

    lines = iter(['12 "ab', "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    pipeline = LanguagePipeline(Model.load(at / "planted"))
    Prompt(pipeline.conversation(LanguageOptions(cells="2", seed=0, max_tokens=5))).run()
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert text.startswith('12 "ab')
    assert len(text) == len('12 "ab') + 5
    assert set(text) <= set(PLANTED_ALPHABET)


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_colours_are_not_shown_where_they_are_not_wanted(monkeypatch, variable):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    shades._console.cache_clear()
    assert shades.shows_colours()
    monkeypatch.setenv(variable, "dumb")
    shades._console.cache_clear()
    assert not shades.shows_colours()
    shades._console.cache_clear()
