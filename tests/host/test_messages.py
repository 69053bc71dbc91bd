"""What messages, help texts and docstrings say of the command line is true of it, and of the extras of the package."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from commands import command_options

from edgernn.cli import app, execute
from edgernn.cli.options import RENAMED_OPTIONS
from edgernn.errors import EXTRAS, MissingExtraError, counted

ROOT = Path(__file__).parents[2]
FOLDERS = ("edgernn", "runtime_demo", "export", "benchmarks")
# What prose says after edgernn, besides verbs such as "reads".
PROSE = {"can", "cannot", "did", "does", "downloaded", "in", "on", "relative", "that", "with", "without", "wrote"}
# Options of edgernn itself, and of other programs.
OTHERS = {
    *("--help", "--version", "--logdir", "--nproc-per-node", "--specs", "--oslib", "--gc-sections", "--defsym"),
    *("--target", "--no-entry", "--stack-first", "--strip-all", "--export", "--expose-gc"),
}
OPTIONS = command_options(typer.main.get_command(app))
OPTIONS["train"] = set().union(*(options for name, options in OPTIONS.items() if name.startswith("train ")))
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string in a source, with {} where a value is put in."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def named(text: str) -> Iterator[tuple[str, str]]:
    """Each command that a text names, and what follows it in the same sentence."""
    for found in re.finditer(r"(?<![\w/.'-])edgernn ([a-z]+)((?: [a-z]+)?)([^;,`]*)", text):
        word, second, rest = found.groups()
        name = word + second if word + second in OPTIONS else word
        yield name, rest if name != word else second + rest


def own_options(tree: ast.AST) -> set[str]:
    """The options that a script declares with argparse."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    declared = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    return {each.value for call in declared for each in call.args if isinstance(each, ast.Constant)}


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w{-])", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_options_that_a_text_names_exist(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = {option for options in OPTIONS.values() for option in options} | own_options(tree) | OTHERS
    known |= RENAMED_OPTIONS.keys() if path.name == "options.py" else set()
    for text in texts(tree):
        assert options_in(text) <= known, text
        for name, rest in named(text):
            assert name in OPTIONS or name in PROSE or name.endswith("s"), text
            if name in OPTIONS:
                assert options_in(rest) <= OPTIONS[name] | OTHERS, text


def test_what_is_wrong_is_found():
    """The test above would fail for such texts."""
    assert list(named("export it with edgernn exprot RUN --out B")) == [("exprot", " RUN --out B")]
    assert list(named("see edgernn train language --stepps 3; or")) == [("train language", " --stepps 3")]
    assert options_in("leave out --stepps, or --no-echo") == {"--stepps", "--no-echo"}


def test_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    modules = {"Pillow": "PIL"}
    for module, extra in EXTRAS.items():
        packages = {re.split(r"[>=\[]", each)[0] for each in project[extra]}
        assert module in {modules.get(name, name) for name in packages}


@pytest.mark.parametrize(
    ("module", "wanted", "package", "extra"),
    [
        ("torch", "export", "torch", "export"),
        ("onnxscript.rewriter", "export", "onnxscript", "export"),
        ("torchao", "executorch", "torchao", "executorch"),
        ("onnx", "train", "onnx", "export"),
        ("PIL.Image", "image", "Pillow", "image"),
        ("matplotlib", "plot", "matplotlib", "plot"),
        ("tensorboard", "tensorboard", "tensorboard", "tensorboard"),
        ("torch", "caption", "torch", "caption"),
        ("sacrebleu", "caption", "sacrebleu", "caption"),
        ("sacrebleu", "translate", "sacrebleu", "translate"),
    ],
)
def test_a_missing_extra_is_named_with_what_installs_it(module, wanted, package, extra):
    text = str(MissingExtraError(module, wanted))
    assert text.startswith(f"{package} is not installed: in edgernn's checkout, make install brings everything, ")
    assert f"pip install -e '.[{extra}]' the extra '{extra}'" in text
    assert "docs/install.md" in text


def test_a_module_that_is_missing_only_when_it_is_used_is_named_too(capsys):
    def missing():
        raise ModuleNotFoundError("No module named 'sacrebleu'", name="sacrebleu")

    application = typer.Typer()
    application.command()(missing)
    assert execute([], application) == 2
    assert (
        "edgernn: sacrebleu is not installed: in edgernn's checkout, make install brings everything"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [
        ("run x", "--temp", "--temperature"),
        ("run x", "--top", "--top-k or --top-p"),
        ("run x", "--topk", "--top-k"),
        ("run x", "--LR", None),
        ("run x", "--nope", None),
        ("run x", "--unkown", "--unknown"),
        ("train language x", "--lr", "--learning-rate"),
        ("train caption x", "--lr", "--learning-rate"),
        ("train language x", "--learing-rate", "--learning-rate"),
        ("train language x", "--epochs", "--passes"),
        ("train language x", "--hidden-size", "--hidden"),
        ("train language x", "--q", None),
        ("export x", "--target", "--to"),
        ("export x", "--force", "--overwrite"),
        ("bench x", "--target", None),
    ],
)
def test_a_mistyped_option_is_answered_with_what_was_meant(call, command, typed, meant):
    name = command.removesuffix(" x")
    also = f"; did you mean {meant}?" if meant else ""
    assert call(*command.split(), typed, "3") == (
        2,
        "",
        f"edgernn: No such option: {typed}{also} (see edgernn {name} --help)\n",
    )


def test_a_number_and_its_noun_agree():
    assert [counted(count, "step") for count in (0, 1, 1000)] == ["0 steps", "1 step", "1,000 steps"]
    assert counted(2, "process", "processes") == "2 processes"
