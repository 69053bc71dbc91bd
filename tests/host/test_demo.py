"""The demo, from its first step to the commands that it ends with, and how it is shown and installed."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgernn.cli.demo import steps
from edgernn.cli.demo.drawing import Picture, lit, sparkline
from edgernn.cli.demo.screen import Screen
from edgernn.data.captions import TEST
from edgernn.data.scenes import draw_scenes
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import caption_image
from edgernn.runtime.suggest import Suggestion

ROOT = Path(__file__).parents[2]
WALK = """
import json, sys
from pathlib import Path
from edgernn.cli.demo.command import walk
from edgernn.cli.demo.screen import Screen
sys.argv[0] = str(Path(sys.executable).with_name("edgernn"))
values = walk(Screen(), Path(), 0.1, 60)
print(json.dumps(values), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The directory in which the demo ran, what it printed, and its figures."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-c", WALK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, json.loads(done.stderr.splitlines()[-1])


@pytest.mark.slow
def test_the_steps_come_in_order_with_the_figures_that_were_measured(walked):
    _, printed, values = walked
    words = " ".join(printed.split())
    learned, exported, streamed = values["learn"], values["export"], values["stream"]
    places = [
        words.index(text)
        for text in (
            "1. A character LSTM",
            f"{learned['parameters']:,} parameters",
            "before def read(self, ",
            "half-way def read(self, ",
            "after def read(self, ",
            f"{learned['best']['nats_per_char']:.3f} nats per character",
            "2. It is exported",
            f"fp32: {exported['fp32']['bytes']:,} bytes",
            f"int8: {exported['int8']['bytes']:,} bytes",
            "3. The int8 bundle streams",
            f"60 characters at {streamed['tokens_per_second']:,.0f} characters/s",
            "4. It suggests up to three words",
            f"{values['suggest']['milliseconds']:.1f} ms a line",
            "5. A snapshot",
            f"a snapshot of {values['resume']['snapshot_bytes']:,} bytes",
            "6. Another network, trained beforehand",
            f"{values['describe']['bundle_bytes']:,} bytes; verified",
            values["describe"]["caption"],
            f"All of it took {values['seconds']:.0f} s",
        )
    ]
    assert places == sorted(places)
    assert all(command in printed for command in values["commands"])


def test_no_word_is_suggested_that_is_hardly_possible(monkeypatch, capsys):
    words = [Suggestion("o", 0.62), Suggestion("oo", 0.0101), Suggestion("ooo", 0.0049)]
    monkeypatch.setattr(steps, "load_model", lambda path: None)
    monkeypatch.setattr("edgernn.runtime.suggest", lambda model, line: words)
    suggested = steps.suggest(Screen(bar=False), Path("bundle"))
    printed = re.findall(r"(o+) (\d+)%", capsys.readouterr().out)
    assert {percent for _, percent in printed} == {"62", "1"}
    assert all(len(found) == 3 for found in suggested.words.values())


@pytest.mark.slow
def test_what_the_demo_claims_is_so(walked):
    folder, _, values = walked
    fp32, int8 = values["export"]["fp32"], values["export"]["int8"]
    assert fp32["parity"]["max_abs_diff_outputs"] < 1e-4 < int8["parity"]["max_abs_diff_outputs"]
    assert int8["bytes"] < 0.4 * fp32["bytes"]
    assert len(values["stream"]["text"]) == len(steps.PROMPT) + 60
    assert all(len(words) == 3 for words in values["suggest"]["words"].values())
    assert values["resume"]["equal"] == values["resume"]["characters"] == 200
    assert values["describe"]["true"]
    assert Model.load(folder / "bundles" / "scenes").manifest == Model.load(steps.SCENES).manifest


@pytest.mark.slow
def test_the_commands_it_ends_with_work_as_typed(walked):
    folder, _, values = walked
    assert len(values["commands"]) == 3
    for command in values["commands"]:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=600, check=False
        )
        assert (done.returncode, bool(done.stdout)) == (0, True), (command, done.stderr)


def test_the_shipped_bundle_is_copied_byte_for_byte_over_itself_too(tmp_path):
    for _ in range(2):
        steps.copy_bundle(steps.SCENES, tmp_path / "scenes")
    files = [path.relative_to(steps.SCENES) for path in steps.SCENES.rglob("*") if path.is_file()]
    assert all((steps.SCENES / each).read_bytes() == (tmp_path / "scenes" / each).read_bytes() for each in files)


def test_the_shipped_bundle_describes_scenes_of_the_test_split_truly():
    model = Model.load(steps.SCENES)
    scenes = draw_scenes()[TEST][:20]
    assert sum(scene.allows(caption_image(model, scene.read()).text) for scene in scenes) >= 17
    own = steps.scene()
    assert own.allows(caption_image(model, own.read()).text)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--fast", "--minutes", "2"], "leave out --minutes or --fast"), (["--picture", "a.svg", "--json"], "--picture")],
)
def test_options_that_exclude_each_other_are_refused(call, options, words):
    status, out, err = call("demo", *options)
    assert (status, out) == (2, "")
    assert words in err


def test_a_quiet_screen_shows_results_alone(capsys):
    screen = Screen(details=False)
    screen.heading("a heading")
    screen.detail("a detail")
    screen.write("a text")
    with screen.busy("waiting") as show:
        show(0.5, "half")
        screen.result("a result")
    screen.close("the end", ["a command"])
    assert capsys.readouterr() == ("→ a result\n", "")


def test_a_screen_that_is_no_terminal_shows_no_colours_and_no_control_characters(capsys):
    screen = Screen()
    screen.heading("one")
    screen.write("a\x1b[31mb\nc")
    screen.detail("two")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["", "1. one", "   a\\x1b[31mb", "   c", "   two"]


def test_what_was_shown_becomes_a_picture_that_needs_nothing_from_the_network(tmp_path):
    screen = Screen(record=True)
    screen.heading("one")
    screen.detail(Picture(np.full((8, 8, 3), 200, np.uint8), 4))
    screen.save(tmp_path / "a.svg", "a demo")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "a&#160;demo" in svg or "a demo" in svg
    assert "1.&#160;one" in svg
    assert "#c8c8c8" in svg
    assert not re.search(r"url\((?!#)|@import|href", svg)


def test_pictures_have_two_pixels_to_a_character_and_shades_where_there_are_no_colours():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = 255
    coloured, plain = (Console(file=io.StringIO(), color_system=c, force_terminal=True) for c in ("truecolor", None))
    for console in (coloured, plain):
        console.print(Picture(image, 4))
    assert "38;2;255;255;255;48;2;255;255;255m▀" in coloured.file.getvalue()
    assert plain.file.getvalue().splitlines() == ["██  ", "    "]


def test_attention_lights_a_picture_and_losses_fall():
    image = np.full((4, 4, 3), 100, np.uint8)
    light = lit(image, np.array([[1.0, 0.0], [0.0, 0.5]]))
    np.testing.assert_array_equal(light[..., 0], [[100, 100, 12, 12]] * 2 + [[12, 12, 56, 56]] * 2)
    assert sparkline([4.0, 2.0, 1.0, 0.5]) == "█▄▂▁"
    assert sparkline([1.0] * 5) == "▁" * 5


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `make` reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "edgernn").mkdir()
    return tmp_path


def make(folder, *arguments):
    """Run make as from a shell, also where the tests themselves were started by make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_an_old_python_is_named_before_anything_is_made(checkout):
    old = checkout / "python3"
    script = "import sys; sys.version_info = (3, 9, 2, 'final', 0)"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}\n$2"\n')
    old.chmod(0o755)
    for goal in ("demo", "install", "wheel"):
        done = make(checkout, goal, f"PYTHON={old}")
        assert done.returncode == 2
        expected = f"edgernn needs Python 3.11 or later; {old} is 3.9.2: make {goal} PYTHON=python3.12"
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_a_python_that_does_not_run_is_named(checkout):
    done = make(checkout, "demo", "PYTHON=python-of-nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "python-of-nowhere does not run: make demo PYTHON=" in done.stderr


def test_the_demo_installs_its_own_extra_from_the_index_that_is_named(checkout):
    recipe = make(checkout, "-n", "demo", "TORCH_INDEX=file:///a/folder").stdout
    assert "-c constraints.txt --extra-index-url file:///a/folder -e '.[demo]'" in recipe
    assert "dev]" not in recipe
    assert recipe.splitlines()[-1] == ".venv/bin/edgernn demo"


def test_a_finished_installation_is_not_repeated_and_an_interrupted_one_is(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/pip", "installed", "installed-demo"):
        (checkout / ".venv" / name).touch()
    assert make(checkout, "-n", "demo").stdout == ".venv/bin/edgernn demo\n"
    assert "Nothing to be done" in make(checkout, "install", "BUILT_PAGE=").stdout
    (checkout / ".venv" / "unfinished").touch()
    assert "rm -rf .venv" in make(checkout, "-n", "demo").stdout
