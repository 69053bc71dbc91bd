"""`edgernn train caption`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import (
    Json,
    Overwrite,
    drop_none,
    log,
    on_interrupt,
    on_terminal,
    option,
    progress,
    require_extra,
)
from edgernn.cli.training import (
    Autocast,
    Device,
    Out,
    Patience,
    Resume,
    Steps,
    end_early,
    refuse_beside_resume,
    report,
)
from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.training.captioning import CaptionEvaluated, CaptionScore, CaptionTrainer

__all__ = ["caption", "describe_score", "fit_caption", "tell_what_is_left_out"]

_DATA = (
    "Pictures with captions: a directory in the layout of Flickr8k, a COCO or Karpathy JSON file, a CSV file, or "
    "scenes for drawn ones, which need nothing."
)
_MOST_NAMED = 3


def caption(
    data: Annotated[str | None, typer.Argument(help=_DATA, show_default="scenes")] = None,
    out: Out = None,
    encoder: Annotated[str | None, option("mobilenet_v2 or small.", "mobilenet_v2; scenes: small")] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="Its weights in torchvision's names: .safetensors, a state dict, or torchvision itself."),
    ] = None,
    encoder_padding: Annotated[str | None, option("symmetric or tensorflow.", "what the weights say")] = None,
    encoder_scaling: Annotated[str | None, option("imagenet or x/127.5-1.", "what the weights say")] = None,
    image_size: Annotated[int | None, option("Pixels that pictures are resized to.", "224; scenes: 64")] = None,
    largest_side: Annotated[int | None, option("Of pictures that the bundle takes, in pixels.", "1024")] = None,
    attention: Annotated[str | None, option("soft or none.", "soft")] = None,
    heads: Annotated[int | None, option("Of the attention.", "8; scenes: 4")] = None,
    cell: Annotated[str | None, option("Recurrent cell: lstm, gru, elman or elman-relu.", "lstm")] = None,
    embedding: Annotated[int | None, option("Size of words and of the picture's vector.", "256; scenes: 64")] = None,
    hidden: Annotated[int | None, option("Size of each layer.", "512; scenes: 256")] = None,
    layers: Annotated[int | None, option("Number of layers.", "1; scenes: 2")] = None,
    dropout: Annotated[float | None, option("Dropout.", "0.5; scenes: 0.1")] = None,
    images: Annotated[int | None, option("Pictures at a step, with all captions.", "32; scenes: 64")] = None,
    steps: Steps = None,
    passes: Annotated[float | None, option("End after so many passes.", "18; scenes: 14")] = None,
    minutes: Annotated[float | None, option("End after so many minutes.", "18; scenes: none")] = None,
    reward: Annotated[float | None, option("Last part of the training, on rewards.", "0")] = None,
    learning_rate: Annotated[float | None, option("Peak of the learning rate.", "0.002")] = None,
    reward_rate: Annotated[float | None, option("That of the last part.", "0.0001")] = None,
    views: Annotated[int | None, option("Of a picture: 2 mirrors it, more also cut parts out.", "4; scenes: 1")] = None,
    freeze: Annotated[
        float | None, option("Part of it in which given encoder weights stay; 1 for always.", "0.1")
    ] = None,
    thaw: Annotated[int | None, option("Last layers of such an encoder that learn then.", "4")] = None,
    encoder_rate: Annotated[float | None, option("Of the encoder then, as a part of the rate.", "0.1")] = None,
    smoothing: Annotated[float | None, option("Of labels.", "0.1; scenes: 0")] = None,
    word_dropout: Annotated[float | None, option("How often a word before is not shown.", "0; scenes: 0.3")] = None,
    min_count: Annotated[int | None, option("How often a word occurs at least.", "5; scenes: 1")] = None,
    evaluations: Annotated[int | None, option("Evaluations and checkpoints in all.", "8; scenes: 10")] = None,
    patience: Patience = None,
    device: Device = None,
    autocast: Autocast = None,
    seed: Annotated[int | None, option("Seed of weights, dropout and order.", "0")] = None,
    resume: Resume = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a captioner: an image encoder and a recurrent decoder.

    [bold]Example:[/bold] edgernn train caption flickr8k --encoder-weights mobilenet_v2.safetensors --out runs/photos
    """
    with require_extra("caption"):
        from edgernn.training.captioning import CaptionTrainer

    model = {
        "cell": cell,
        "attention": attention,
        "heads": heads,
        "embedding": embedding,
        "hidden": hidden,
        "layers": layers,
        "dropout": dropout,
    }
    looks = {
        "name": encoder,
        "padding": encoder_padding,
        "scaling": encoder_scaling,
        "size": image_size,
        "largest_side": largest_side,
    }
    training = {
        "images": images,
        "steps": steps,
        "passes": passes,
        "minutes": minutes,
        "reward": reward,
        "learning_rate": learning_rate,
        "reward_rate": reward_rate,
        "views": views,
        "freeze": freeze,
        "thaw": thaw,
        "encoder_rate": encoder_rate,
        "smoothing": smoothing,
        "word_dropout": word_dropout,
        "min_count": min_count,
        "evaluations": evaluations,
        "patience": patience,
        "device": device,
        "autocast": autocast,
        "seed": seed,
    }
    with progress("looking at the pictures") as show:
        if resume is not None:
            others = {"DATA": data, "out": out, "encoder_weights": encoder_weights, "overwrite": overwrite or None}
            refuse_beside_resume({**others, **model, **looks, **training})
            trainer = CaptionTrainer.resume(resume, show)
        elif out is None:
            raise ConfigError("train caption needs --out RUN, or --resume RUN")
        else:
            trainer = CaptionTrainer.begin(
                data or "scenes",
                out,
                model=drop_none(model),
                encoder=drop_none(looks),
                training=drop_none(training),
                encoder_weights=encoder_weights,
                overwrite=overwrite,
                progress=show,
            )
    score = fit_caption(trainer)
    report(trainer, score, describe_score(score), as_json=json)


def describe_score(score: CaptionScore) -> str:
    """The figures in words."""
    bleu = " ".join(f"{value:.1f}" for value in (score.bleu1, score.bleu2, score.bleu3, score.bleu4))
    true = "" if score.true is None else f"{100 * score.true:.1f} % true, "
    return f"{true}CIDEr-D {score.cider_d:.3f}, BLEU-1 to 4 {bleu} on {score.images:,} pictures"


def fit_caption(trainer: CaptionTrainer) -> CaptionScore:
    """Train to the end with a progress bar; the best weights' score on the split "dev".

    Ctrl-C ends the training after the step that is under way and writes a checkpoint; once more ends it at once.
    """
    from edgernn.training.captioning import CaptionEvaluated

    tell_what_is_left_out(trainer.missing, trainer.damaged, trainer.empty_captions)
    with on_interrupt(trainer.stop), progress("training") as show:
        for event in trainer.fit():
            if isinstance(event, CaptionEvaluated):
                _show(event)
            else:
                figure = f"loss {event.nats:.3f}" if event.nats is not None else f"reward {event.reward:.3f}"
                show(event.progress, f"{figure} · {event.pictures_per_second:,.0f} pictures/s")
    if trainer.stopped:
        end_early(trainer, f"edgernn {trainer.run.resume}")
    return trainer.score()


def tell_what_is_left_out(missing: Sequence[str], damaged: Sequence[str], empty_captions: int) -> None:
    """Of a data set, so that nobody takes figures of a part for those of the whole."""
    for what, names in (("have captions and no file", missing), ("cannot be read", damaged)):
        if names:
            more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
            log(f"pictures that {what} are left out, {len(names):,} in all: {', '.join(names[:_MOST_NAMED])}{more}")
    if empty_captions:
        log(f"captions without words are left out, {empty_captions:,} in all")


def _show(event: CaptionEvaluated) -> None:
    if on_terminal():
        log(f"  step {event.step:,}: {describe_score(event.score)}")
        log(textwrap.indent("\n".join(f"{name}: {text}" for name, text in event.samples.items()), "    | "))
