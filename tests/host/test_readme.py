"""What the README and the pages in `docs/` name exists: commands, options, links, messages and tables of options."""

import ast
import importlib.util
import re
import shlex
from contextlib import suppress

import pytest
import typer
import typer.main
from commands import command_options
from pages import READ, ROOT, blocks

from edgernn.cli import app
from edgernn.cli.options import RENAMED_OPTIONS
from edgernn.errors import BundleError
from edgernn.runtime import Model

PAGES = [*READ, "CONTRIBUTING.md", "CHANGELOG.md", "export/CONTRACT.md"]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
OTHER_OPTIONS = {
    "--nproc-per-node",
    "--megabytes",
    "--mutations",
    "--only",
    "--write",
}  # of other programs that pages name


def commands_of(page):
    """The commands in the code blocks of a page, each as its words."""
    lines = [line for block in blocks(page) if block.language == "" for line in block.commands]
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
            with suppress(typer.Exit):  # of --help
                parse(words[words.index("edgernn") + 1 :])


@pytest.fixture(scope="module")
def options():
    command = typer.main.get_command(app)
    return command_options(command) | {"": {option for parameter in command.params for option in parameter.opts}}


@pytest.mark.parametrize("page", READ)
def test_every_option_that_a_page_names_exists(page, options):
    text = re.sub(r"^ *```.*?^ *```$", "", TEXT[page], flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", text):
        words = span.split()
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", span)) - OTHER_OPTIONS
        if not flags or words[0] in ("python", "pip", "torchrun"):
            continue
        name = " ".join(words[1 : 3 if words[1:2] == ["train"] else 2]) if words[0] == "edgernn" else ""
        known = [options[name]] if name and name in options else options.values()
        assert flags <= {"--help"}.union(*known), span
        assert not flags & RENAMED_OPTIONS.keys(), span


def anchors(text):
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", TEXT[page]):
        if link.startswith("https://"):  # nothing is requested
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(path) if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_linked_from_the_readme():
    assert {page for page in READ if page.startswith("docs/")} - {"docs/contract.md"} <= set(
        re.findall(r"\]\(([^)#]+)", TEXT["README.md"])
    )


@pytest.mark.parametrize("page", READ)
def test_the_tables_of_options_are_those_of_the_settings(page):
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "docs" / "write_options.py")
    write_options = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_options)
    assert write_options.written(TEXT[page]) == TEXT[page], "make docs"


def texts_of(source):
    """Every string in a source, with a line feed where a value is put in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\n" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_message_of_the_page_on_trouble_shooting_is_one_of_the_code(tmp_path):
    headings = re.findall(r"^### `(.*)`$", TEXT["docs/troubleshooting.md"], re.M)
    texts = [text for path in (ROOT / "edgernn").rglob("*.py") for text in texts_of(path.read_text(encoding="utf-8"))]
    foreign = {"edgernn: command not found", "Package 'edgernn' requires a different Python…"}  # of the shell, of pip
    (tmp_path / "a file").touch()
    with pytest.raises(BundleError) as refused:  # a message that is put together from parts
        Model.load(tmp_path)
    texts.append(str(refused.value))
    assert len(headings) > 20
    for heading in {*headings} - foreign:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in heading.split("…")), re.S)
        assert any(pattern.search(text) for text in texts), heading
