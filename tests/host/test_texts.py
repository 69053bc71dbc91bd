"""The report on what language models generate: benchmarks/texts.py."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from edgernn.syntax import Share
from edgernn.training import Run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "texts.py"


@pytest.fixture(scope="module")
def names():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def report(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_words_and_long_sequences_of_the_training_text_are_counted(names):
    letters = "".join(chr(0x100 + place) for place in range(100))
    known, copied = names["of_training_text"](f"the cat sat on it {letters}").values()
    assert known("the dog sat on 123 cats it") == Share(2, 4)
    assert known("") == Share(0, 0)
    assert copied(letters) == Share(51, 51)
    assert copied(letters[:60] + "a" * 40) == Share(11, 51)
    assert copied(letters[::-1]) == Share(0, 51)
    assert copied(letters[:49]) == Share(0, 0)


def test_characters_are_shuffled_by_the_seed(names):
    shuffled = names["shuffled"]
    assert sorted(shuffled("abcabc", 0)) == sorted("abcabc")
    assert shuffled("abcdefgh", 1) == shuffled("abcdefgh", 1) != shuffled("abcdefgh", 2)


def test_places_are_at_equal_distances(names, trained):
    run = Run.load(trained)
    tokenizer = names["Tokenizer"].from_json(run.prepared.assets["tokenizer.json"].decode())
    held_out = ("the quick brown fox jumps over the lazy dog.\n" * 60)[2430:]  # the last tenth of 2,700 characters
    places = names["held_out_places"](run, tokenizer, 3, 20)
    assert [tokenizer.decode(place.prompt.tolist()) for place in places] == [
        held_out[start : start + 45] for start in (0, 90, 180)
    ]
    assert [place.real for place in places] == [held_out[start + 45 : start + 65] for start in (0, 90, 180)]


def test_a_page_has_a_part_for_each_run(names, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Fox\n\n<!-- texts: fox -->\nold\n<!-- end -->\n<!-- texts: cat -->\n<!-- end -->\n")
    before, after = names["around"](page, "fox")
    assert before == "# Fox\n\n<!-- texts: fox -->\n"
    assert after == "<!-- end -->\n<!-- texts: cat -->\n<!-- end -->\n"
    with pytest.raises(SystemExit, match="has no part between <!-- texts: dog --> and <!-- end -->"):
        names["around"](page, "dog")


@pytest.mark.slow
def test_the_report_has_the_loss_the_measures_and_the_stages(report, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "fox")
    options = ["--texts", 2, "--length", 60, "--stages", 2, "--characters", 30]
    said = report(f"{run}=c", *options)
    stages = Run.load(run).stages()
    assert said.startswith("The network has 2 layers of 24 units (lstm) and")
    assert "trained in 60 steps, 1.62 passes over 2,430 characters" in said
    assert float(re.search(r"\*\*([\d.]+) nats", said)[1]) == pytest.approx(
        stages[-1].figures["nats_per_char"], rel=0.1
    )
    rows = {
        cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in said.split("\n") if "%" in line)
    }
    assert rows["lines that a lexer of C accepts"][-1] == "100.0 %"
    assert rows["words of the training text"][-1] == "91.7 %"  # 22 of 24: both texts begin in the middle of "jumps"
    assert rows["sequences of 50 characters of the training text"][0] == "0.0 %"
    assert re.findall(r"<th>step (\d+), ", said) == ["20", "60"]
    page = tmp_path / "page.md"
    page.write_text("<!-- texts: fox -->\nold\n<!-- end -->\n")
    assert report(f"{run}=c", *options, "--write", page) == ""
    assert page.read_text() == f"<!-- texts: fox -->\n\n{said}<!-- end -->\n"  # seeds are fixed


def test_what_is_wrong_is_said_before_anything_is_measured(report, trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        report(f"{trained}=fortran")
    assert "the syntax is c or latex" in capsys.readouterr().err
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(SystemExit, match="has no part between <!-- texts: fox -->"):
        report(trained, "--write", tmp_path / "page.md")
