"""`edgernn evaluate`: the loss of a run or a bundle on a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, needs, note, result
from edgernn.cli.load import load_model

if TYPE_CHECKING:
    from edgernn.score import Score

__all__ = ["evaluate"]


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="What to evaluate.")],
    text: Annotated[Path, typer.Option(help="A UTF-8 text file, read as one stream.")],
    json: Json = False,
) -> None:
    """Measure how well a run or a bundle predicts a text.

    [bold]Example:[/bold] edgernn evaluate bundles/shakespeare --text held-out.txt
    """
    from edgernn.bundle import MANIFEST

    score = _score_bundle(path, text) if (path / MANIFEST).exists() else _score_run(path, text)
    if score.unknown:
        note(f"{score.unknown:,} characters are outside the vocabulary and are scored as the unknown token")
    result(
        score.to_json(),
        f"{score.nats_per_char:.4f} nats per character ({score.bits_per_char:.3f} bits), "
        f"perplexity {score.perplexity:.2f} per token, over {score.chars:,} characters",
        as_json=json,
    )


def _score_bundle(path: Path, text: Path) -> Score:
    from edgernn.runtime.scoring import score
    from edgernn.textfile import read_pieces

    return score(load_model(path), read_pieces(text))


def _score_run(path: Path, text: Path) -> Score:
    from edgernn.textfile import read_text

    with needs("train"):
        from edgernn.training import Run, evaluate

    run = Run.load(path)
    return evaluate(run.network(), run.tokenizer, read_text(text))
