"""`edgernn run`: stream text from a bundle."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from edgernn.cli.console import Json, note, on_terminal, result
from edgernn.cli.load import load_model
from edgernn.errors import ConfigError

__all__ = ["run"]


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    prompt: Annotated[
        str | None, typer.Option(help="What the text begins with.", show_default="standard input, or a line break")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to draw.")] = 400,
    temperature: Annotated[float, typer.Option(help="Boldness of the draw; 0 for the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the k likeliest tokens; 0 for all.")] = 40,
    seed: Annotated[int | None, typer.Option(help="Equal seeds draw equal text.", show_default="random")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt first.")] = False,
    json: Json = False,
) -> None:
    """Stream text from a bundle, as it is decided.

    [bold]Example:[/bold] edgernn run bundles/shakespeare --prompt "ROMEO:" --max-tokens 200
    """
    from edgernn.runtime import Sampler

    sampler = Sampler(temperature, top_k, seed)
    model = load_model(bundle)
    stream = model.stream(sampler)
    opening = _opening() if prompt is None else prompt
    if not opening:
        raise ConfigError('the prompt is empty: give it with --prompt "TEXT" or on standard input')
    stream.prefill(opening)
    pieces = [opening] if echo else []
    if echo and not json:
        print(opening, end="", flush=True)
    begun = time.perf_counter()
    for text in stream.decode(max_tokens):
        pieces.append(text)
        if not json:
            print(text, end="", flush=True)
    seconds = time.perf_counter() - begun
    if json:
        result({"text": "".join(pieces), "tokens": max_tokens}, "", as_json=True)
    else:
        print(flush=True)
    if on_terminal():
        note(f"{max_tokens:,} tokens, {max_tokens / seconds:,.0f} tokens/s")


def _opening() -> str:
    """The prompt on standard input; a line break, which any text can follow, where nobody feeds it."""
    if sys.stdin is None or sys.stdin.isatty():
        return "\n"
    return sys.stdin.read()
