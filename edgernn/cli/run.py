"""`edgernn run`: stream text from a bundle."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, on_interrupt, on_terminal, result
from edgernn.cli.load import load_writer
from edgernn.cli.prompt import Prompt
from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.runtime import Stream

__all__ = ["run"]


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="What the text begins with.", show_default="standard input; on a terminal you are asked"),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to draw.")] = 400,
    temperature: Annotated[float, typer.Option(help="Boldness of the draw; 0 for the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the k likeliest tokens; 0 for all.")] = 40,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest that have this probability; 1 for all.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Draw from those at least so likely, beside the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: avoid what was said lately.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; it repeats.")] = None,
    seed: Annotated[int | None, typer.Option(help="Equal seeds draw equal text.", show_default="random")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt first.")] = False,
    json: Json = False,
) -> None:
    """Stream text from a bundle, as it is decided; on a terminal, without --prompt, in turns with you.

    [bold]Example:[/bold] edgernn run bundles/shakespeare --prompt "ROMEO:" --max-tokens 200
    """
    from edgernn.runtime import Sampler

    sampler = Sampler(temperature, top_k, seed, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty)
    stream = load_writer(bundle, f"describes pictures: edgernn caption {bundle} IMAGE").stream(sampler)
    stops = tuple(stop or ())
    if prompt is None and sys.stdin is not None and sys.stdin.isatty() and not json:
        Prompt(stream, max_tokens, stops).run()
        return
    opening = _opening() if prompt is None else prompt
    if not opening:
        raise ConfigError('the prompt is empty: give it with --prompt "TEXT" or on standard input')
    stream.prefill(opening)
    _speak(stream, opening if echo else "", max_tokens, stops, as_json=json)


def _speak(stream: Stream, opening: str, max_tokens: int, stops: tuple[str, ...], *, as_json: bool) -> None:
    """Decode once, aloud unless for machines; Ctrl-C ends the text, not the line."""
    pieces, interrupted = [opening], []
    begun, before = time.perf_counter(), stream.steps
    if not as_json:
        print(opening, end="", flush=True)
    with on_interrupt(lambda: interrupted.append(True)):
        for text in stream.decode(max_tokens, stops):
            pieces.append(text)
            if not as_json:
                print(text, end="", flush=True)
            if interrupted:
                break
    seconds, tokens = time.perf_counter() - begun, stream.steps - before
    if as_json:
        result({"text": "".join(pieces), "tokens": tokens, "ended": stream.ended}, "", as_json=True)
    else:
        print(flush=True)
    if on_terminal():
        log(f"{tokens:,} tokens, {tokens / seconds:,.0f} tokens/s")
    if interrupted:
        raise KeyboardInterrupt


def _opening() -> str:
    """The prompt on standard input; a line break, which any text can follow, where nobody feeds it."""
    if sys.stdin is None or sys.stdin.isatty():
        return "\n"
    return sys.stdin.read()
