"""`edgernn evaluate`: the loss of a run or a bundle on a text, or how good its captions are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, option, progress, require_extra, result
from edgernn.cli.load import load_model, load_writer
from edgernn.cli.train_caption import describe_score, tell_what_is_left_out
from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.score import Score
    from edgernn.training.captioning.evaluation import Evaluation

__all__ = ["evaluate"]

_DATA = "Of a captioner: pictures with captions, as `train caption` takes them."


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="What to evaluate.")],
    text: Annotated[
        Path | None, typer.Option(help="Of a language model: a UTF-8 text file, read as one stream.")
    ] = None,
    data: Annotated[str | None, typer.Option(help=_DATA)] = None,
    split: Annotated[
        str | None, option("Which part of the pictures: train, dev or test; of scenes also novel.", "test")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="How many captions are followed side by side.", show_default="1")
    ] = None,
    json: Json = False,
) -> None:
    """Measure how well a run or a bundle predicts a text, or describes pictures.

    [bold]Example:[/bold] edgernn evaluate bundles/shakespeare --text held-out.txt
    """
    from edgernn.bundle import MANIFEST

    if (text is None) == (data is None):
        raise ConfigError("evaluate needs --text FILE for a language model, or --data PATH for a captioner")
    if text is not None and (split or beam):
        raise ConfigError("--split and --beam are about pictures: leave them out with --text")
    bundle = (path / MANIFEST).exists()
    if data is not None:
        evaluation = _describe(path, data, split or "test", beam or 1, bundle=bundle)
        result(evaluation.score.to_json(), describe_score(evaluation.score), as_json=json)
    elif text is not None:
        _report_text(_score_bundle(path, text) if bundle else _score_run(path, text), as_json=json)


def _describe(path: Path, data: str, split: str, beam: int, *, bundle: bool) -> Evaluation:
    with require_extra("caption"):
        from edgernn.training.captioning import CaptionRun, open_dataset
        from edgernn.training.captioning.evaluation import evaluate_pictures, speaker_of_bundle, speaker_of_run

    collection = open_dataset(data)
    pictures = collection[split]
    speak, side = speaker_of_bundle(load_model(path), beam) if bundle else speaker_of_run(CaptionRun.load(path), beam)
    with progress("describing") as show:
        evaluation = evaluate_pictures(speak, pictures, side, show)
    tell_what_is_left_out(collection.missing, evaluation.damaged, collection.empty_captions)
    return evaluation


def _report_text(score: Score, *, as_json: bool) -> None:
    if score.unknown:
        log(f"{score.unknown:,} characters are outside the vocabulary and are scored as the unknown token")
    result(
        score.to_json(),
        f"{score.nats_per_char:.4f} nats per character ({score.bits_per_char:.3f} bits), "
        f"perplexity {score.perplexity:.2f} per token, over {score.chars:,} characters",
        as_json=as_json,
    )


def _score_bundle(path: Path, text: Path) -> Score:
    from edgernn.media.text import read_pieces
    from edgernn.runtime.scoring import score

    return score(load_writer(path, "describes pictures: give it some by --data"), read_pieces(text))


def _score_run(path: Path, text: Path) -> Score:
    from edgernn.media.text import read_text

    with require_extra("train"):
        from edgernn.training import Run, evaluate

    run = Run.load(path)
    return evaluate(run.network(), run.tokenizer, read_text(text))
