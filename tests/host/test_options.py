"""Options of commands: made from fields, shown in help, refused by name, and named in messages only if they exist."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
import typer.main
from commands import command_options

import edgernn
from edgernn.cli import app, execute
from edgernn.cli.options import (
    RENAMED_OPTIONS,
    Command,
    Given,
    command_from,
    default_text,
    help_text,
    option_table,
    renamed,
)
from edgernn.errors import ConfigError
from edgernn.settings import Settings, declared_options, option
from edgernn.tasks import TASKS

ELSEWHERE = {  # options of other programs that messages name, and of clang
    *("--nproc-per-node", "--logdir"),
    *("--target", "--export", "--no-entry", "--stack-first", "--strip-all"),
}


@dataclass(frozen=True, kw_only=True)
class Network(Settings):
    hidden: int = option(256, "The hidden size.", low=1, high=10_000)
    cell: str = option("lstm", "The cell.", choices=("lstm", "gru"))
    dropout: float = option(0.3, "The dropout rate [0, 1).", low=0, below=1)
    tied: bool = option(False, "Share the embedding.")
    bias: bool = option(True, "Use biases.")
    hidden_layers: int | None = option(None, "The number of layers.", flag="layers", unset="as many as fit")


@dataclass(frozen=True, kw_only=True)
class Data(Settings):
    glob: tuple[str, ...] = option((), "Patterns of files | in directories.")
    cache: Path | None = option(None, "Where to keep features.")
    plain: int = 3  # not an option


@dataclass(frozen=True, kw_only=True)
class Other(Settings):
    hidden: int = option(64, "The hidden size of the other.", low=1)
    width: int = option(5, "The width.", low=1, high=9)


def build(*kinds, **about):
    """A command whose options are those of `kinds`, and what it was called with."""
    calls = []

    def function(
        data: Annotated[list[str] | None, typer.Argument(help="Data.")] = None, given: Given = None, json: bool = False
    ):
        """Do something.

        [bold]Example:[/bold] something
        """
        calls.append((data, given, json))

    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command("something", cls=Command)(command_from(function, *kinds, **about))
    return typer.main.get_command(single), calls


def invoke(kinds, *arguments, **about):
    command, calls = build(*kinds, **about)
    command([*map(str, arguments)], prog_name="something", standalone_mode=False)
    return calls[0]


def test_only_what_is_given_arrives_by_its_settings():
    data, given, json_ = invoke((Network, Data), "x", "y", "--hidden", 7, "--layers", 2, "--tied", "--json")
    assert (data, json_) == (["x", "y"], True)
    assert given.of(Network) == {"hidden": 7, "hidden_layers": 2, "tied": True}
    assert given.of(Data) == {}
    assert given.of(Network, Data) == given.of(Network)
    assert given.flags == ["--hidden", "--tied", "--layers"]
    assert Network(**given.of(Network)) == Network(hidden=7, hidden_layers=2, tied=True)
    data, given, _ = invoke((Network, Data), "--glob", "*.py", "--glob", "*.md", "--cache", "a/b", "--no-bias")
    assert data is None
    assert given.of(Data) == {"glob": ("*.py", "*.md"), "cache": Path("a/b")}
    assert given.of(Network) == {"bias": False}
    assert invoke((Network,), "--bias")[1].of(Network) == {"bias": True}
    assert invoke((Network, Data))[1].flags == []


def test_an_option_of_several_settings_is_one_option():
    _, given, _ = invoke((Network, Other), "--hidden", 7, "--width", 3)
    assert given.of(Network) == {"hidden": 7}
    assert given.of(Other) == {"hidden": 7, "width": 3}
    given.refuse_others(Other, what="others")
    with pytest.raises(ConfigError, match="--width is not an option for networks"):
        given.refuse_others(Network, what="networks")
    with pytest.raises(ConfigError, match="--hidden, --width are not options for data"):
        given.refuse_others(Data, what="data")


def shown(*kinds, capsys, **about):
    command, _ = build(*kinds, **about)
    command(["--help"], prog_name="something", standalone_mode=False)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_help_says_what_the_fields_say(capsys):
    text = shown(Network, Data, capsys=capsys)
    for words in (
        "The hidden size. [default: 256]",
        "The cell. One of: lstm, gru. [default: lstm]",
        "The dropout rate [0, 1). [default: 0.3]",
        "Share the embedding.",
        "The number of layers. [default: as many as fit]",
        "Example: something",
    ):
        assert words in text, words
    assert "--no-tied" not in text
    assert "plain" not in text
    text = shown(Network, Other, capsys=capsys, titles={Network: "networks", Other: "others"})
    both = "For the task networks: the hidden size. For the task others: the hidden size of the other."
    assert f"{both} [default: 256; others: 64]" in text
    assert "Options for the task others" in text
    text = shown(Network, capsys=capsys, shown=lambda each: f"{each.field.name}!")
    assert "[default: hidden_layers!]" in text


def test_a_table_for_the_documentation():
    table = option_table(Network, Data)
    assert table.splitlines() == [
        "| option | default | what it does |",
        "|---|---|---|",
        "| `--hidden` | 256 | The hidden size. Accepts a whole number of at least 1 and at most 10,000. |",
        "| `--cell` | lstm | The cell. One of: lstm, gru. |",
        "| `--dropout` | 0.3 | The dropout rate [0, 1). Accepts a number of at least 0 and below 1. |",
        "| `--tied` | off | Share the embedding. |",
        "| `--bias` | on | Use biases. |",
        "| `--layers` | as many as fit | The number of layers. |",
        "| `--glob` |  | Patterns of files \\| in directories. |",
        "| `--cache` |  | Where to keep features. |",
    ]
    declared = declared_options(Network)["layers"]
    assert (default_text(declared), help_text(declared)) == ("as many as fit", "The number of layers.")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden": 0}, "--hidden 0 is not a whole number of at least 1 and at most 10,000"),
        ({"hidden": True}, "--hidden True is not a whole number"),
        ({"hidden": 1.5}, "--hidden 1.5 is not a whole number"),
        ({"cell": "lstn"}, "--cell lstn is not one of lstm, gru"),
        ({"dropout": float("nan")}, "--dropout nan is not a number of at least 0 and below 1"),
        ({"tied": 1}, "--tied 1 is not true or false"),
        ({"hidden_layers": 10**13}, "--layers 10000000000000 is not a whole number of at most 10^12"),
        ({"cell": "x" * 100}, "--cell " + "x" * 40 + "… is not one of"),
    ],
)
def test_a_value_that_is_not_accepted_is_refused_by_its_option(values, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        Network(**values)


def test_settings_are_read_as_they_were_written():
    settings = Data(glob=("*.py",), cache=Path("a/b"))
    text = json.dumps(settings.to_json())
    assert Data.from_json(json.loads(text)) == settings
    assert settings.but(plain=4).plain == 4
    with pytest.raises(ConfigError, match="--cache 3 is not a path"):
        Data(cache=3)
    with pytest.raises(ConfigError, match="--glob x is not a list"):
        Data(glob="x")


def test_a_large_seed_is_accepted_where_the_bound_says_so():
    @dataclass(frozen=True)
    class Seeded(Settings):
        seed: int = option(0, "The seed.", low=0, below=2**64)

    assert Seeded(2**64 - 1).seed == 2**64 - 1
    with pytest.raises(ConfigError, match=re.escape("not a whole number of at least 0 and below 2^64")):
        Seeded(2**64)


@dataclass(frozen=True, kw_only=True)
class Renamed(Settings):
    batch_size: int = option(8, "The batch size.", low=1)
    bptt: int = option(8, "The length of backpropagation.", low=1)


def test_an_old_option_is_refused_with_its_new_name():
    command, _ = build(Renamed)
    for arguments, words in (
        (["--lanes", "3"], "--lanes is now --batch-size"),
        (["--chunk=3"], "--chunk is now --bptt"),
        (["--thaw", "3"], None),  # this command has nothing like it
        (["--prompt", "3"], None),
        (["--nothing", "3"], None),
        (["--bptt"], None),
    ):
        with pytest.raises(typer.TyperException) as caught:
            command(arguments, prog_name="something", standalone_mode=False)
        assert renamed(caught.value) == words


# By the beginning of a module's path: the commands that print its messages. Each list has to have the option in one of
# its commands; a module that is not listed has its messages printed by any command.
PRINTED_BY = {
    **{
        f"cli/{name}.py": [[name]]
        for name in ("adopt", "bench", "cache", "cells", "compare", "evaluate", "inspect", "plot")
    },
    "comparison/": [["compare"]],
    "cli/demo/": [["demo", "run", "train language"]],  # which it says to try
    "cli/export.py": [["export", "verify"]],
    "exporters/adoption/": [["adopt"]],
    "exporters/": [["export"]],
    "runtime/pipelines/": [["run"]],
    "runtime/units/": [["cells"]],
    **{prefix: [["search", "train language"]] for prefix in ("search/", "cli/search.py")},  # whose cells that takes
    "training/gradients.py": [["inspect"]],
    "training/curves.py": [["plot", "bench", "inspect"]],
    **{f"tasks/{name}/": [[f"train {name}", "evaluate"]] for name in TASKS},
    "models/encoder.py": [["train caption"]],
    "data/": [["train language", "train caption", "train translate", "evaluate"]],
    "tasks/labelling.py": [["train classify", "evaluate"]],
    "tasks/score.py": [["evaluate"]],
    "tasks/settings.py": [[f"train {name}", "evaluate"] for name in TASKS],
    **{prefix: [[f"train {name}"] for name in TASKS] for prefix in ("tasks/", "training/", "cli/train.py")},
}


def test_every_option_that_a_message_names_exists_on_the_command_that_prints_it():
    options = command_options(typer.main.get_command(app))
    root = Path(edgernn.__file__).parent
    unknown = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name == "cli/options.py":
            continue  # it holds the table of new names, which is tested by what commands do with it
        groups = next((groups for prefix, groups in PRINTED_BY.items() if name.startswith(prefix)), [list(options)])
        known = [{"--help", "--version"}.union(*(options[command] for command in group)) for group in groups]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", node.value))
                for flag in flags - ELSEWHERE - RENAMED_OPTIONS.keys():
                    unknown += [f"{name}:{node.lineno} {flag}" for each in known if flag not in each]
    assert unknown == []


def names():
    return list(command_options(typer.main.get_command(app)))


HEAVY = {
    *("torch", "onnx", "onnxruntime", "numpy", "tokenizers", "PIL", "matplotlib"),
    *("pydantic", "pygments", "markdown_it", "rich.markdown", "rich.traceback", "rich.syntax", "typer.rich_utils"),
}


def loaded_after(*command_lines, status=0, watched=HEAVY):
    """Which of the modules `watched` are imported once these command lines have returned `status`."""
    code = "import sys; from edgernn.cli import execute\n"
    code += f"for line in {command_lines!r}: assert execute(line.split()) == {status}\n"
    code += f"print(sorted({watched!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    assert loaded_after("--help") == set()
    deferred = {"run", "caption"}  # they ask the pipelines for their options
    assert loaded_after("train --help", *(f"{name} --help" for name in names() if name not in deferred)) == set()
    assert loaded_after(*(f"{name} --help" for name in deferred)) == {"numpy", "onnxruntime", "tokenizers"}


def test_an_error_message_imports_nothing_of_rich():
    lines = ("inspect x --nope", "nope", "inspect", "train language --hidden 0")
    assert loaded_after(*lines, status=2, watched=HEAVY - {"pydantic"} | {"rich"}) == set()


def help_at(width, command, **environment):
    """The help of a command, as another program reads it, with the trailing spaces of each line removed."""
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "TERM")}
    done = subprocess.run(
        [sys.executable, "-m", "edgernn", *command.split(), "--help"],
        env=plain | {"COLUMNS": str(width), "PYTHONUTF8": "1"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    return [line.rstrip() for line in done.stdout.splitlines()]


def panel(title, width, *rows):
    """The lines of a panel."""
    head = f"╭─ {title} "
    return [
        head + "─" * (width - len(head) - 1) + "╮",
        *(f"│ {row:<{width - 4}} │" for row in rows),
        "╰" + "─" * (width - 2) + "╯",
    ]


def test_the_help_of_a_command_without_settings_is_laid_out_for_the_width():
    assert help_at(80, "demo") == [
        *("", " Usage: edgernn demo [OPTIONS]", ""),
        " Train, export, stream and suggest text, and describe a picture: the whole way",
        *(" in about two minutes.", ""),
        " A network learns from the source code of Python's standard library, so nothing",
        *(" is downloaded. Every figure that the demo shows was measured in that run.", ""),
        *(" Example: edgernn demo --fast", ""),
        *panel(
            *("Options", 80),
            "--minutes      <float>  The minutes of training. [default: 1]",
            "--fast         <bool>   Train for ten seconds only.",
            "--tokens       <int>    The number of characters to stream. [default: 300]",
            "--folder       <path>   Where runs/demo and bundles/ are written; they are",
            "                        replaced. [default: .]",
            "--picture      <path>   Write what the demo shows to this file, as SVG.",
            "--quiet        <bool>   Print only one line for the result of each step.",
            "--json         <bool>   Print each result as a JSON object on one line.",
            "--help     -h  <bool>   Show this message and exit.",
        ),
        "",
    ]
    wide = help_at(120, "demo")
    assert wide[6] == " demo shows was measured in that run."
    row = "--folder       <path>   Where runs/demo and bundles/ are written; they are replaced. [default: .]"
    assert wide[14] == f"│ {row:<116} │"
    narrow = "\n".join(help_at(44, "inspect"))
    assert (
        "\n of the gradient of runs by the distance in\n time (vanishing or exploding gradients).\n\n Example:"
        in narrow
    )


def test_the_help_of_a_command_with_settings_has_a_panel_for_each_task():
    for width in (80, 120):
        lines = help_at(width, "evaluate")
        assert " Example: edgernn evaluate bundles/shakespeare --text held-out.txt" in lines
        text = "\n".join(lines)
        argument = "*  RUN_OR_BUNDLE  <path>  The run or bundle to evaluate. [required]"
        assert "\n".join(panel("Arguments", width, argument)) in text
        assert f"╭─ Options for the task classify {'─' * (width - 34)}╮" in lines
    picture = "--confusion  <path>  Write a picture of the confusion matrix, in a .png or .svg file."
    assert "\n".join(panel("Options for the task classify", 120, picture)) in text
    row = "--threads       <int>        The number of threads that compute one step. [default: 1 for onnx and ort]"
    assert f"│ {row:<116} │" in lines


def test_help_has_colours_only_where_they_are_wanted():
    assert "\x1b" not in "".join(help_at(80, "demo"))
    coloured = "\n".join(help_at(80, "demo", FORCE_COLOR="1", TERM="xterm"))
    assert "\x1b[1;2mExample:\x1b[0m\x1b[2m edgernn demo \x1b[0m\x1b[1;2;36m--fast\x1b[0m" in coloured
    assert "\x1b[1;32m-h\x1b[0m" in coloured
    assert "\x1b[2m[default: 300]\x1b[0m" in coloured
    plain = "\n".join(help_at(80, "demo", FORCE_COLOR="1", TERM="xterm", NO_COLOR="1"))
    assert "\x1b[1;2mExample:\x1b[0m" in plain
    assert set(re.findall(r"\x1b\[([\d;]*)m", plain)) == {"0", "1", "2", "1;2"}


def test_help_of_deferred_commands_is_whole(capsys):
    for name in ("run", "caption"):
        assert execute([name, "--help"]) == 0
        assert "--max-tokens" in capsys.readouterr().out
