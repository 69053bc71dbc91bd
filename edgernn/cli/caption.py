"""`edgernn caption`: what a bundle says of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, log, progress, result
from edgernn.cli.load import load_model
from edgernn.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.runtime.pipelines.caption import Caption

__all__ = ["caption"]


def caption(
    bundle: Annotated[Path, typer.Argument(help="A captioner's bundle.", show_default=False)],
    images: Annotated[list[Path], typer.Argument(help="Pictures, or directories of them.", show_default=False)],
    beam: Annotated[int, typer.Option(min=1, help="How many captions are followed side by side.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in words.")] = 20,
    attention: Annotated[Path | None, typer.Option(help="A picture to draw of where it looked for each word.")] = None,
    json: Json = False,
) -> None:
    """Describe pictures.

    [bold]Example:[/bold] edgernn caption bundles/photos holiday.jpg --beam 5
    """
    paths = _pictures(images)
    if attention is not None:
        _check_drawing(attention, paths)
    model = load_model(bundle)
    if len(paths) == 1 and beam == 1 and not json and attention is None:
        _speak(model, paths[0], max_tokens)
        return
    damaged: list[str] = []
    with progress("describing") if len(paths) > 1 else nullcontext() as show:
        for number, path in enumerate(paths, start=1):
            try:
                _describe(model, path, beam, max_tokens, attention, named=len(paths) > 1, as_json=json)
            except ImageError as error:
                if len(paths) == 1:
                    raise
                log(str(error))
                damaged.append(path.name)
            if show is not None:
                show(number / len(paths), f"{number:,} of {len(paths):,}")
    if damaged:
        raise ImageError(f"{len(damaged)} of {len(paths)} pictures could not be read")


def _pictures(paths: Sequence[Path]) -> list[Path]:
    """Files as they are named, and the pictures in directories."""
    from edgernn.media.image import SUFFIXES

    found: list[Path] = []
    for path in paths:
        inside = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"there are no pictures ({', '.join(SUFFIXES)}) in {path}")
        found += inside
    return found


def _check_drawing(out: Path, paths: Sequence[Path]) -> None:
    from edgernn.media.image import SUFFIXES

    if len(paths) > 1:
        raise ConfigError("--attention draws one picture: name one")
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--attention {out}: a picture's name ends in {', '.join(SUFFIXES)}")
    if out.exists() and paths[0].exists() and out.samefile(paths[0]):
        raise ConfigError(f"--attention {out} is the picture itself: choose another name")


def _speak(model: Model, path: Path, max_tokens: int) -> None:
    """Word by word, as they are decided."""
    from edgernn.runtime.pipelines.caption import open_image, start_caption

    for text in start_caption(model, open_image(model, path)).decode(max_tokens):
        print(text, end="", flush=True)
    print(flush=True)


def _describe(
    model: Model, path: Path, beam: int, max_tokens: int, attention: Path | None, *, named: bool, as_json: bool
) -> None:
    from edgernn.runtime.pipelines.caption import attention_maps, caption_image, open_image

    image = open_image(model, path)
    found = caption_image(model, image, beam, max_tokens)
    if attention is not None:
        from edgernn.media.image import draw_attention

        best = found.candidates[0]
        words = found.text.split()
        weights = attention_maps(model, image, best.tokens[: len(words)])
        draw_attention(image, words, weights, attention)
    result(_values(path, found), _text(path, found, named=named), as_json=as_json)


def _values(path: Path, found: Caption) -> dict[str, Any]:
    candidates = [
        {"text": each.text, "score": each.score, "log_probability": each.log_probability} for each in found.candidates
    ]
    tokens = len(found.candidates[0].tokens)
    return {"image": str(path), "caption": found.text, "text": found.text, "tokens": tokens, "candidates": candidates}


def _text(path: Path, found: Caption, *, named: bool) -> str:
    if named:
        return f"{path}: {found.text}"
    if len(found.candidates) == 1:
        return found.text
    return "\n".join(f"{each.score:7.3f}  {each.text}" for each in found.candidates)
