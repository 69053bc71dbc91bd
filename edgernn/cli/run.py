"""`edgernn run`: drive a bundle of any task over files, or continue a text."""

# Annotations are evaluated at once, not as text: some hold what the pipelines say of their inputs.

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, log, on_interrupt, on_terminal, progress, result, waiting
from edgernn.cli.load import load_model
from edgernn.cli.options import Given, command_from
from edgernn.cli.shades import print_piece
from edgernn.errors import ConfigError, EdgeRNNError, MissingExtraError
from edgernn.execution import Execution

if TYPE_CHECKING:
    from edgernn.contract import Array
    from edgernn.runtime.pipelines import Pipeline, Result
    from edgernn.runtime.pipelines.pipeline import Show
    from edgernn.settings import Settings

    _Run = Callable[[Show], Result]  # a pipeline with its inputs and options

__all__ = ["pipeline_command", "run"]


def run() -> Callable[..., None]:
    """Run a bundle: continue or translate text, describe or classify pictures, label sequences, draw or paint."""
    from edgernn.runtime.pipelines import PIPELINES

    assert run.__doc__ is not None
    about = run.__doc__ + " Text is printed as it is generated."
    return pipeline_command("run", about, PIPELINES)


def pipeline_command(name: str, about: str, pipelines: "Mapping[str, type[Pipeline[Any]]]") -> Callable[..., None]:
    """Return the command `name` for bundles of the tasks that have `pipelines`, with the options of all of them."""
    kinds = list(pipelines.values())
    metavar = kinds[0].inputs[0] if len(kinds) == 1 else "INPUT"
    arguments = typer.Argument(metavar=metavar, help=_about_inputs(kinds), show_default=False)

    def command(
        bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to run.", show_default=False)],
        given: Given,
        inputs: Annotated[list[str] | None, arguments] = None,
        json: Json = False,
    ) -> None:
        from edgernn.runtime.pipelines import pipeline_for

        execution = Execution(**given.of(Execution))
        pipeline = pipeline_for(load_model(bundle, execution))
        if pipeline.task not in pipelines:
            raise ConfigError(f"{bundle} is a bundle of the task {pipeline.task}: drive it with edgernn run")
        given.refuse_others(pipeline.options, Execution, what=f"{pipeline.task} bundles")
        options = pipeline.options(**given.of(pipeline.options))
        live = pipeline.live(options)
        if live is not None:
            _run_live(live, inputs or [], as_json=json)
        elif pipeline.takes_nothing:
            _run_alone(pipeline, inputs or [], options, as_json=json)
        elif pipeline.takes_text:
            _run_text(f"edgernn {name} {bundle}", pipeline, inputs or [], options, as_json=json)
        elif inputs:
            _run_files(pipeline, _files(inputs, pipeline), options, as_json=json)
        else:
            needed, what = pipeline.inputs
            raise ConfigError(f"a {pipeline.task} bundle runs on {what}: edgernn {name} {bundle} {needed}")

    examples = "\n\n".join(f"[bold]Example:[/bold] edgernn {name} {each.example}" for each in kinds)
    command.__doc__ = f"{about}\n\n{examples}"
    titles = {each.options: each.task for each in kinds}
    return command_from(command, *(each.options for each in kinds), Execution, titles=titles)


def _about_inputs(kinds: "Sequence[type[Pipeline[Any]]]") -> str:
    """What the help says of INPUT: a sentence for each task, which names the task where there are several."""
    sentences = []
    for each in kinds:
        if each.takes_nothing:
            sentences.append(f"For the task {each.task}: {each.inputs[1]}.")
            continue
        what = each.inputs[1]
        also = "without it, or for -, standard input is read" if each.takes_text else "- is standard input"
        sentence = f"{what if each.takes_text else f'{what}, or directories of them'}; {also}."
        sentences.append(
            f"For the task {each.task}: {sentence}" if len(kinds) > 1 else sentence[0].upper() + sentence[1:]
        )
    return " ".join(sentences)


def _files(inputs: Sequence[str], pipeline: "Pipeline[Any]") -> list[Path]:
    """Inputs as they are named, and the files in other directories that have a suffix of the pipeline's."""
    suffixes = pipeline.suffixes
    found: list[Path] = []
    for name in inputs:
        if not name:
            raise ConfigError("the name of a file is empty")
        path = Path(name)
        inside = [path]
        if path.is_dir() and not pipeline.is_input(path):
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in suffixes)
        if not inside:
            raise ConfigError(f"{path} has no files that end in {', '.join(suffixes)}")
        found += inside
    return found


def _run_files(pipeline: "Pipeline[Any]", paths: Sequence[Path], options: "Settings", *, as_json: bool) -> None:
    pipeline.check(options, paths)
    if len(paths) == 1:
        read = _read(pipeline, paths[0], options)
        _run_one(partial(pipeline, read, options), _named(pipeline, paths[0]), as_json=as_json)
        return
    damaged = 0
    with progress("running") as show:
        for number, path in enumerate(paths, start=1):
            try:
                read = _read(pipeline, path, options)
                found, interrupted = _drive(partial(pipeline, read, options), lambda text: None)
            except MissingExtraError:
                raise
            except EdgeRNNError as error:
                message = str(error)
                log(message if str(path) in message else f"{path}: {message}")
                damaged += 1
            else:
                text = found.summary
                line = f"{path}:\n{text}" if "\n" in text else f"{path}: {text}"
                result({**_named(pipeline, path), **found.to_json()}, line, as_json=as_json)
                if interrupted:
                    raise KeyboardInterrupt
            show(number / len(paths), f"{number:,} of {len(paths):,}")
    if damaged:
        raise EdgeRNNError(f"{damaged:,} of {len(paths):,} inputs failed: the lines above say why")


def _read(pipeline: "Pipeline[Any]", path: Path, options: "Settings") -> "Mapping[str, Array]":
    return pipeline.read_as(_standard_input() if str(path) == _STANDARD_INPUT else path, options)


def _run_text(
    command: str, pipeline: "Pipeline[Any]", inputs: Sequence[str], options: "Settings", *, as_json: bool
) -> None:
    """Run on the text that is given, or on standard input, or in turns with the user. command: as it was typed."""
    if len(inputs) > 1:
        raise ConfigError(f"{command} takes one text, not {len(inputs)}: put all of it in one pair of quotation marks")
    if pipeline.takes_lines and (not inputs or inputs[0] == _STANDARD_INPUT):
        _run_lines(pipeline, options, as_json=as_json)
        return
    terminal = sys.stdin.isatty()
    if not inputs and terminal:
        talk = None if as_json else pipeline.conversation(options)
        if talk is None:
            raise ConfigError(f'there is no text to run on: {command} "TEXT"')
        from edgernn.cli.prompt import Prompt

        Prompt(talk).run()
        return
    if inputs and inputs[0] != _STANDARD_INPUT:
        _remark_file(command, inputs[0])
        read = pipeline.read_typed(inputs[0], options)
    else:
        read = pipeline.read_as(_standard_input(), options)
    _run_one(partial(pipeline, read, options), {}, as_json=as_json)


def _run_lines(pipeline: "Pipeline[Any]", options: "Settings", *, as_json: bool) -> None:
    """Run on each line of standard input as it comes; an empty line gives an empty line."""
    pipeline.check(options, ())
    damaged = lines = 0
    if sys.stdin.isatty():
        log("type a text, and Enter; Ctrl-D ends")
    for line in sys.stdin.buffer:
        lines += 1
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n").removeprefix("\ufeff")
        try:
            if text.strip():
                own = pipeline.for_line(options, lines)
                _run_one(partial(pipeline, pipeline.read_typed(text, own), own), {}, as_json=as_json)
            else:
                result({pipeline.input_key: text, **pipeline.of_nothing}, "", as_json=as_json)
        except MissingExtraError:
            raise
        except EdgeRNNError as error:
            log(f"line {lines:,}: {error}")
            damaged += 1
    if not lines:
        raise ConfigError("standard input is empty")
    if damaged:
        raise EdgeRNNError(f"{damaged:,} of {lines:,} lines failed: the messages above say why")


def _remark_file(command: str, text: str) -> None:
    """Say so if the text is the name of a file: whoever names one may mean what is in it."""
    with suppress(OSError, ValueError):
        if Path(text).is_file():
            log(f"note: {text} is taken as the text itself; to run on the file of that name: {command} < {text}")


def _standard_input() -> bytes:
    """All of standard input."""
    if sys.stdin.isatty():
        return sys.stdin.buffer.read()
    with waiting("reading standard input") as wait:
        blocks: list[bytes] = []
        while block := sys.stdin.buffer.read(_BLOCK):
            blocks.append(block)
            wait.figures = f"{sum(map(len, blocks)) / 1e6:,.1f} MB"
    return b"".join(blocks)


_BLOCK = 1 << 20  # bytes
_STANDARD_INPUT = "-"


def _run_alone(pipeline: "Pipeline[Any]", inputs: Sequence[str], options: "Settings", *, as_json: bool) -> None:
    """Run without any input."""
    if inputs:
        raise ConfigError(f"a {pipeline.task} bundle takes no INPUT: leave out {inputs[0]}")
    pipeline.check(options, ())
    _run_one(partial(pipeline, {}, options), {}, as_json=as_json)


def _run_live(live: "_Run", inputs: Sequence[str], *, as_json: bool) -> None:
    """Run on the microphone; Ctrl-C is its end."""
    if inputs:
        raise ConfigError(f"--microphone takes the place of INPUT: leave out {inputs[0]}, or --microphone")
    with suppress(KeyboardInterrupt):
        _run_one(live, {}, as_json=as_json)


def _run_one(run: "_Run", named: Mapping[str, str], *, as_json: bool) -> None:
    """Print the result of `run`, for people as it is decided. Ctrl-C ends the text, not the line."""
    pieces: list[str] = []

    def show(text: str) -> None:
        if text and not as_json:
            wait.stop()
            pieces.append(text)
            print_piece(text)

    try:
        with waiting("reading the input") as wait:
            found, interrupted = _drive(run, show)
    except (EdgeRNNError, KeyboardInterrupt):
        if pieces:
            print(flush=True)  # the message begins on a line of its own
        raise
    text, shown = f"{found}\n", "".join(pieces)
    if as_json:
        result({**named, **found.to_json()}, "", as_json=True)
    elif text.startswith(shown):
        print(text[len(shown) :], end="", flush=True)
    else:  # what was shown led to the result, and is not a part of it
        print("" if shown.endswith("\n") else "\n", text, sep="", end="", flush=True)
    if found.note and on_terminal():
        log(found.note)
    if interrupted:
        raise KeyboardInterrupt


def _drive(run: "_Run", show: Callable[[str], None]) -> "tuple[Result, bool]":
    """Return the result, and whether Ctrl-C ended it early."""
    interrupted: list[bool] = []

    def shown(text: str) -> bool:
        show(text)
        return not interrupted

    with on_interrupt(lambda: interrupted.append(True)):
        found = run(shown)
    return found, bool(interrupted)


def _named(pipeline: "Pipeline[Any]", path: Path) -> dict[str, str]:
    return {pipeline.input_key: str(path)}
