"""`edgernn run`: drive a bundle of any task over files, or continue a text."""

# Annotations are evaluated at once, not as text: some hold what the pipelines say of their inputs.

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, log, on_interrupt, on_terminal, progress, result
from edgernn.cli.load import load_model
from edgernn.cli.options import Given, command_from
from edgernn.errors import ConfigError, EdgeRNNError, MissingExtraError

if TYPE_CHECKING:
    from edgernn.contract import Array
    from edgernn.runtime.pipelines import Pipeline, Result
    from edgernn.settings import Settings

__all__ = ["pipeline_command", "run"]


def run() -> Callable[..., None]:
    """Run a bundle: continue a text or describe images, depending on its task."""
    from edgernn.runtime.pipelines import PIPELINES

    assert run.__doc__ is not None
    about = run.__doc__ + " Text is printed as it is generated."
    return pipeline_command("run", about, PIPELINES)


def pipeline_command(name: str, about: str, pipelines: "Mapping[str, type[Pipeline[Any]]]") -> Callable[..., None]:
    """The command `name` for bundles of the tasks that have `pipelines`, with the options of all of them."""
    kinds = list(pipelines.values())
    metavar, what = kinds[0].inputs
    if len(kinds) > 1:
        metavar, what = "INPUT", "; ".join(f"{each.inputs[1]} ({each.task})" for each in kinds)
    about_inputs = f"Files, or directories of them: {what}."
    arguments = typer.Argument(metavar=metavar, help=about_inputs, show_default=False)

    def command(
        bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to run.", show_default=False)],
        given: Given,
        inputs: Annotated[list[Path] | None, arguments] = None,
        json: Json = False,
    ) -> None:
        from edgernn.runtime.pipelines import pipeline_for

        model = load_model(bundle)
        pipeline = pipeline_for(model)
        if pipeline.task not in pipelines:
            raise ConfigError(f"{bundle} is a bundle of the task {pipeline.task}: drive it with edgernn run")
        given.refuse_others(pipeline.options, what=f"{pipeline.task} bundles")
        options = pipeline.options(**given.of(pipeline.options))
        if inputs:
            _run_files(pipeline, _files(inputs, pipeline.suffixes_for(options)), options, as_json=json)
        else:
            pipeline.check(options, ())
            _run_without_files(f"edgernn {name} {bundle}", pipeline, options, as_json=json)

    examples = "\n\n".join(f"[bold]Example:[/bold] edgernn {name} {each.example}" for each in kinds)
    command.__doc__ = f"{about}\n\n{examples}"
    return command_from(command, *(each.options for each in kinds), titles={each.options: each.task for each in kinds})


def _files(inputs: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Files as they are named, and the files in directories that have one of `suffixes`."""
    found: list[Path] = []
    for path in inputs:
        inside = [path]
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in suffixes)
        if not inside:
            raise ConfigError(f"{path} has no files that end in {', '.join(suffixes)}")
        found += inside
    return found


def _run_files(pipeline: "Pipeline[Any]", paths: Sequence[Path], options: "Settings", *, as_json: bool) -> None:
    pipeline.check(options, paths)
    if len(paths) == 1:
        _run_one(pipeline, pipeline.read_as(paths[0], options), options, _named(pipeline, paths[0]), as_json=as_json)
        return
    damaged = 0
    with progress("running") as show:
        for number, path in enumerate(paths, start=1):
            try:
                found, interrupted = _drive(pipeline, pipeline.read_as(path, options), options, lambda text: None)
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


def _run_without_files(command: str, pipeline: "Pipeline[Any]", options: "Settings", *, as_json: bool) -> None:
    """Run on what the options say, in turns with the user, or on standard input. command: as it was typed."""
    inputs = pipeline.inputs_from(options)
    if inputs is None:
        terminal = sys.stdin is not None and sys.stdin.isatty()
        talk = pipeline.conversation(options) if terminal and not as_json else None
        if talk is not None:
            from edgernn.cli.prompt import Prompt

            Prompt(*talk).run()
            return
        if not pipeline.standard_input:
            metavar, what = pipeline.inputs
            raise ConfigError(f"a {pipeline.task} bundle runs on {what}: {command} {metavar}")
        # A line break, which any text can follow, where nobody types.
        piped = None if terminal or sys.stdin is None else sys.stdin.buffer.read()
        inputs = pipeline.read(b"\n") if piped is None else pipeline.read_as(piped, options)
    _run_one(pipeline, inputs, options, {}, as_json=as_json)


def _run_one(
    pipeline: "Pipeline[Any]",
    inputs: "Mapping[str, Array]",
    options: "Settings",
    named: Mapping[str, str],
    *,
    as_json: bool,
) -> None:
    """Print the result of one input, for people as it is decided. Ctrl-C ends the text, not the line."""
    pieces: list[str] = []

    def show(text: str) -> None:
        if not as_json:
            pieces.append(text)
            print(text, end="", flush=True)

    try:
        found, interrupted = _drive(pipeline, inputs, options, show)
    except (EdgeRNNError, KeyboardInterrupt):
        if pieces:
            print(flush=True)  # the message begins on a line of its own
        raise
    text, shown = str(found), "".join(pieces)
    if as_json:
        result({**named, **found.to_json()}, "", as_json=True)
    elif text.startswith(shown):
        print(text[len(shown) :], flush=True)
    else:  # what was shown led to the result, and is not a part of it
        print("" if shown.endswith("\n") else "\n", text, sep="", flush=True)
    if found.note and on_terminal():
        log(found.note)
    if interrupted:
        raise KeyboardInterrupt


def _drive(
    pipeline: "Pipeline[Any]", inputs: "Mapping[str, Array]", options: "Settings", show: Callable[[str], None]
) -> "tuple[Result, bool]":
    """The result, and whether Ctrl-C ended it early."""
    interrupted: list[bool] = []

    def shown(text: str) -> bool:
        show(text)
        return not interrupted

    with on_interrupt(lambda: interrupted.append(True)):
        found = pipeline(inputs, options, shown)
    return found, bool(interrupted)


def _named(pipeline: "Pipeline[Any]", path: Path) -> dict[str, str]:
    return {pipeline.input_key: str(path)}
