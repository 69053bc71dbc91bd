"""What the README and the pages in `docs/` say is run: Python, commands, options, links and tables of options."""

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer.main
from commands import command_options
from gallery import write_image

from edgernn.cli import app, execute
from edgernn.cli.options import RENAMED_OPTIONS
from edgernn.exporters import export
from edgernn.runtime import Model
from edgernn.training import Run

ROOT = Path(__file__).parents[2]
DOCS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PAGES = [*DOCS, "CONTRIBUTING.md", "CHANGELOG.md", "export/CONTRACT.md"]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
OTHER_OPTIONS = {"--nproc-per-node", "--megabytes", "--mutations", "--only"}  # of other programs that pages name


def blocks(page, language):
    return [text for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT[page], re.M | re.S) if name == language]


def test_the_commands_on_your_own_text_work_as_written(tmp_path, monkeypatch, corpus, capsys):
    (commands,) = [block for block in blocks("README.md", "") if "shakespeare.txt" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare.txt").write_text(corpus.read_text().replace("the ", "ROMEO: "))
    small = ["--hidden", "8", "--layers", "1", "--bptt", "16", "--steps", "5"]
    lines = commands.splitlines()
    assert [line.split()[1] for line in lines] == ["train", "export", "verify", "run"]
    for line in lines:
        arguments = shlex.split(line)[1:]
        assert execute(arguments + (small if arguments[0] == "train" else [])) == 0, capsys.readouterr().err


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained, corpus, gallery):
    """A directory with the runs, bundles and files that the Python of the pages names."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "shakespeare.txt").write_text(corpus.read_text())
    (folder / "runs").mkdir()
    (folder / "runs" / "shakespeare").symlink_to(trained, target_is_directory=True)
    export(Run.load(trained).source(), folder / "bundles" / "demo", steps=8)
    export(Run.load(gallery[0] / "run").source(), folder / "bundles" / "photos", steps=8)
    write_image(folder / "holiday.jpg")
    return folder


def execute_python(page, place, monkeypatch):
    """The names that the Python of a page defines, its blocks run one after the other."""
    monkeypatch.chdir(place)
    names = {}
    for code in blocks(page, "python"):
        fitting = code.replace('"def "', '"the "').replace("steps=200", "steps=4")
        exec(compile(fitting, page, "exec"), names)
    return names


def test_the_python_of_the_readme_works_as_written(place, monkeypatch, capsys):
    names = execute_python("README.md", place, monkeypatch)
    assert len(capsys.readouterr().out) == 200
    assert "".join(names["stream"].decode(20)) == "".join(names["twin"].decode(20))


def test_the_python_of_the_runtime_page_works_as_written(place, monkeypatch, capsys):
    names = execute_python("docs/runtime.md", place, monkeypatch)
    assert names["logits"].shape == (1, len(names["model"].tokenizer))
    np.testing.assert_array_equal(names["outputs"]["logits"], names["logits"])
    assert [len(slot.text) for slot in names["slots"]] == [50] * 64
    assert "length" in capsys.readouterr().out


def test_the_python_of_the_export_page_works_as_written(place, monkeypatch, capsys):
    names = execute_python("docs/export.md", place, monkeypatch)
    assert capsys.readouterr().out.startswith(f"{names['exported'].bytes} ")
    assert Model.load("bundles/shakespeare-int4").manifest.precision == "int4"
    stream = Model.load("bundles/denoiser").stream()
    assert stream.step({"frame": np.ones((1, 6), np.float32)})["clean"].shape == (1, 6)


def test_the_python_of_the_captioning_page_works_as_written(place, monkeypatch):
    names = execute_python("docs/captioning.md", place, monkeypatch)
    best = names["found"].candidates[0]
    assert names["maps"].shape[0] == len(best.tokens)
    np.testing.assert_allclose(names["maps"].sum(axis=(1, 2)), 1, rtol=1e-5)


def test_the_python_of_the_training_page_works_as_written(place, monkeypatch, capsys):
    names = execute_python("docs/training.md", place, monkeypatch)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["2", "4"]
    assert names["source"].network.config.hidden == 96


def test_no_page_has_python_that_is_not_run():
    known = {"README.md", *(f"docs/{name}.md" for name in ("captioning", "export", "runtime", "training"))}
    assert {page for page in PAGES if "```python" in TEXT[page]} == known


def commands_of(page):
    """The commands in the code blocks of a page, each as its words; lines that end in a backslash are joined."""
    lines = "".join(blocks(page, "")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if re.match(r"(edgernn|torchrun|python|make) ", line)]


def parse(words):
    """Parse the words of a command line of edgernn; nothing is run."""
    command, path = typer.main.get_command(app), []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return command.make_context(" ".join(path), list(words))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_code_block_is_one_that_the_command_line_accepts(page):
    for words in commands_of(page):
        if words[0] == "python":
            assert (ROOT / words[1]).is_file(), words
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
        else:
            parse(words[words.index("edgernn") + 1 :])


@pytest.fixture(scope="module")
def options():
    return command_options(typer.main.get_command(app))


@pytest.mark.parametrize("page", DOCS)
def test_every_option_that_a_page_names_exists(page, options):
    text = re.sub(r"^```.*?^```", "", TEXT[page], flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", text):
        words = span.split()
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", span)) - OTHER_OPTIONS
        if not flags or words[0] in ("python", "pip", "torchrun"):
            continue
        name = " ".join(words[1 : 3 if words[1:2] == ["train"] else 2]) if words[0] == "edgernn" else ""
        known = [options[name]] if name in options else options.values()
        assert flags <= {"--help"}.union(*known), span
        assert not flags & RENAMED_OPTIONS.keys(), span


def anchors(text):
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", TEXT[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(path) if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_linked_from_the_readme():
    assert {page for page in DOCS if page.startswith("docs/")} <= set(re.findall(r"\]\(([^)#]+)", TEXT["README.md"]))


@pytest.mark.parametrize("page", DOCS)
def test_the_tables_of_options_are_those_of_the_settings(page):
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "docs" / "write_options.py")
    write_options = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_options)
    assert write_options.written(TEXT[page]) == TEXT[page], "make docs"
