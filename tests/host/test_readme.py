"""What the README and the documentation say is run, and names only what there is."""

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer.main
from commands import command_options

from edgernn.cli import app, execute
from edgernn.cli.options import RENAMED_OPTIONS
from edgernn.runtime import Model

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def test_the_commands_on_your_own_text_work_as_written(tmp_path, monkeypatch, corpus, capsys):
    (commands,) = [block for block in blocks("") if "train language" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare.txt").write_text(corpus.read_text().replace("the ", "ROMEO: "))
    small = ["--hidden", "8", "--layers", "1", "--bptt", "16", "--steps", "5"]
    lines = commands.splitlines()
    assert [line.split()[1] for line in lines] == ["train", "export", "verify", "run"]
    for line in lines:
        arguments = shlex.split(line)[1:]
        assert execute(arguments + (small if arguments[0] == "train" else [])) == 0, capsys.readouterr().err


def test_the_python_works_as_written(trained, tmp_path, monkeypatch, capsys):
    from edgernn.exporters import export
    from edgernn.training import Run

    export(Run.load(trained).source(), tmp_path / "bundles" / "demo", steps=8)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names = {}
    exec(compile(code.replace('"def "', '"the "'), "README.md", "exec"), names)
    assert len(capsys.readouterr().out) == 200
    assert "".join(names["stream"].decode(20)) == "".join(names["twin"].decode(20))


def test_the_python_of_the_runtime_page_works_as_written(trained, tmp_path, monkeypatch, capsys):
    from edgernn.exporters import export
    from edgernn.training import Run

    export(Run.load(trained).source(), tmp_path / "bundles" / "demo", steps=8)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "runtime.md").read_text("utf-8").replace('"def "', '"the "')
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S):
        exec(compile(code, "runtime.md", "exec"), names)
    assert names["stream"].ended in ("length", "stop")
    assert [len(slot.text) for slot in names["slots"]] == [50] * 64
    assert "length" in capsys.readouterr().out


def test_the_module_of_the_export_page_is_exported_as_written(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text("utf-8"), flags=re.M | re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "export.md", "exec"), {})
    stream = Model.load("bundles/denoiser").stream()
    assert stream.step({"frame": np.ones((1, 6), np.float32)})["clean"].shape == (1, 6)


DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", read(page)):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", DOCS)
def test_tables_of_options_are_as_the_settings_say(page):
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "docs" / "write_options.py")
    write_options = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_options)
    assert write_options.written(read(page)) == read(page), "make docs writes them"


def command_lines(page):
    """The words after `edgernn` of each command in the fenced blocks of a page."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:torchrun .* -m )?edgernn (.*)", line):
                yield found[1].split()


@pytest.fixture(scope="module")
def options():
    return command_options(typer.main.get_command(app))


def test_commands_are_found_in_fenced_blocks():
    lines = ["edgernn plot runs/a \\", "    --out a.png", "torchrun --nproc-per-node 2 -m edgernn inspect", "ls"]
    page = "\n".join(["```", *lines, "```", "edgernn x", ""])
    assert list(command_lines(page)) == [["plot", "runs/a", "--out", "a.png"], ["inspect"]]


@pytest.mark.parametrize("page", ["README.md", *DOCS])
def test_commands_have_the_options_that_are_shown(page, options):
    for words in command_lines(read(page)):
        name = " ".join(words[: 2 if words[0] == "train" else 1])
        assert name in options, words
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options[name], words


@pytest.mark.parametrize("page", ["README.md", *DOCS])
def test_no_option_has_its_old_name(page):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", read(page)))
    assert named & RENAMED_OPTIONS.keys() == set()
