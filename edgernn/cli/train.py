"""`edgernn train`: one subcommand for each task."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from edgernn.cli.train_caption import caption
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
    from edgernn.score import Score
    from edgernn.training import Evaluated, Trainer
    from edgernn.training.board import TensorBoardLogger

__all__ = ["describe_score", "fit", "train"]

_CORPUS = (
    "UTF-8 text: files, directories, - for standard input, stdlib for Python's own source, or tinyshakespeare, "
    "which is downloaded once."
)

train = typer.Typer(help="Train a network; a subcommand for each task.")


train.command()(caption)


@train.callback()
def _tasks() -> None:
    """Train a network; a subcommand for each task."""


@train.command()
def language(
    corpus: Annotated[list[str] | None, typer.Argument(help=_CORPUS, show_default=False)] = None,
    out: Out = None,
    glob: Annotated[str | None, option("Which files of a directory.", "*.txt")] = None,
    held_out: Annotated[str | None, option("Fraction at the text's end, or a file, to evaluate on.", "0.1")] = None,
    preset: Annotated[str | None, option("Where settings come from: tiny, small or medium.", "small")] = None,
    tokenizer: Annotated[str | None, option("characters, bytes, words or bpe.", "characters")] = None,
    vocabulary: Annotated[int | None, option("Size of it: words or bpe.", "10,000 or 1,000")] = None,
    cell: Annotated[str | None, option("Recurrent cell: lstm, gru, elman or elman-relu.", "lstm")] = None,
    input: Annotated[str | None, option("How tokens go in: embedding or one-hot.", "embedding")] = None,
    embedding: Annotated[int | None, option("Size of the embedding.", "128")] = None,
    hidden: Annotated[int | None, option("Size of each layer.", "256")] = None,
    layers: Annotated[int | None, option("Number of layers.", "2")] = None,
    dropout: Annotated[float | None, option("Dropout around and between layers.", "0.3")] = None,
    residual: Annotated[bool, typer.Option("--residual", help="Add each layer's input to its output.")] = False,
    initial: Annotated[str | None, option("Initial state: zeros or learned.", "zeros")] = None,
    tied: Annotated[bool, typer.Option("--tied", help="Share the weights of input and output embedding.")] = False,
    lanes: Annotated[int | None, option("Parallel readers of the text.", "32")] = None,
    chunk: Annotated[int | None, option("Tokens that gradients flow back through.", "128")] = None,
    reset: Annotated[float | None, option("Probability that a lane forgets its state at a chunk.", "0.02")] = None,
    steps: Steps = None,
    passes: Annotated[float | None, option("End after so many passes over the text.", "24")] = None,
    minutes: Annotated[float | None, typer.Option(help="End after so many minutes.")] = None,
    optimizer: Annotated[str | None, option("Of recurrent matrices: muon or adamw.", "muon")] = None,
    learning_rate: Annotated[float | None, option("Peak of the learning rate.", "0.006")] = None,
    warmup: Annotated[float | None, option("Part of the training in which it rises.", "0.1")] = None,
    weight_decay: Annotated[float | None, option("Of recurrent matrices, as a part of the rate.", "0.16")] = None,
    clip: Annotated[float | None, option("Bound of the gradient's norm.", "1.0")] = None,
    evaluations: Annotated[int | None, option("Evaluations and checkpoints in all.", "24")] = None,
    patience: Patience = None,
    device: Device = None,
    autocast: Autocast = None,
    seed: Annotated[int | None, option("Seed of weights, dropout and lanes.", "0")] = None,
    resume: Resume = None,
    tensorboard: Annotated[Path | None, typer.Option(help="A directory for TensorBoard's event files.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a language model on a text.

    [bold]Example:[/bold] edgernn train language shakespeare.txt --out runs/shakespeare --minutes 10
    """
    with require_extra("train"):
        from edgernn.training import DEFAULT, Trainer
    if tensorboard is not None:
        with require_extra("tensorboard"):
            from edgernn.training.board import TensorBoardLogger
        _check_board(tensorboard, out or resume)  # before anything is written

    model = {
        "cell": cell,
        "input": input,
        "embedding": embedding,
        "hidden": hidden,
        "layers": layers,
        "dropout": dropout,
        "residual": residual or None,
        "initial": initial,
        "tied": tied or None,
    }
    training = {
        "lanes": lanes,
        "chunk": chunk,
        "reset": reset,
        "steps": steps,
        "passes": passes,
        "minutes": minutes,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "clip": clip,
        "evaluations": evaluations,
        "patience": patience,
        "device": device,
        "autocast": autocast,
        "seed": seed,
    }
    if resume is not None:
        asked: dict[str, Any] = {
            "CORPUS": corpus or None,
            "out": out,
            "glob": glob,
            "held_out": held_out,
            "preset": preset,
            "tokenizer": tokenizer,
            "vocabulary": vocabulary,
        }
        refuse_beside_resume({**asked, **model, **training, "overwrite": overwrite or None})
        trainer = Trainer.resume(resume)
    elif not corpus or out is None:
        raise ConfigError("train language needs a CORPUS and --out RUN, or --resume RUN")
    elif glob is not None and not any(Path(source).is_dir() for source in corpus):
        raise ConfigError("--glob chooses files of a directory, and no corpus is one")
    else:
        trainer = Trainer.begin(
            corpus,
            out,
            "0.1" if held_out is None else held_out,
            glob=glob or "*.txt",
            preset=preset or DEFAULT,
            model=drop_none(model),
            training=drop_none(training),
            tokenizer=tokenizer or "characters",
            vocabulary=vocabulary,
            overwrite=overwrite,
        )
    with ExitStack() as stack:
        board = None
        if tensorboard is not None and trainer.ranks.first:
            board = stack.enter_context(closing(TensorBoardLogger(tensorboard, trainer.step)))
        score = fit(trainer, board)
    if trainer.ranks.first:
        report(trainer, score, describe_score(score), as_json=json)


def _check_board(directory: Path, run: Path | None) -> None:
    """Raise ConfigError unless event files can be written at `directory`, which is no part of the run."""
    if run is not None and directory.resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"--tensorboard {directory} is inside the run: choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--tensorboard {directory}: {error.strerror}") from None


def fit(trainer: Trainer, board: TensorBoardLogger | None = None) -> Score:
    """Train to the end with a progress bar; the best weights' score on the whole held-out text.

    board: where the figures are logged beside.

    Ctrl-C ends the training after the step that is under way and writes a checkpoint; once more ends it at once.
    """
    from edgernn.training import Evaluated

    with on_interrupt(trainer.stop), progress("training") as show:
        for event in trainer.fit():
            if board is not None:
                board.log(event)
            if isinstance(event, Evaluated):
                _show(event)
            else:
                rate = f"{event.chars_per_second:,.0f} characters/s"
                show(event.progress, f"loss {event.nats:.3f} · {event.bits_per_char:.3f} bits/character · {rate}")
    if trainer.stopped:
        processes = trainer.ranks.count
        program = "edgernn" if processes == 1 else f"torchrun --nproc-per-node {processes} -m edgernn"
        end_early(trainer, f"{program} {trainer.run.resume}")
    return trainer.score()


def _show(event: Evaluated) -> None:
    if on_terminal():
        nats, bits = event.score.nats_per_char, event.score.bits_per_char
        log(f"  step {event.step:,}: held-out {nats:.4f} nats ({bits:.3f} bits) per character")
        log(textwrap.indent(event.sample.strip(), "    | "))


def describe_score(score: Score) -> str:
    """The figures in words."""
    return (
        f"{score.nats_per_char:.4f} nats per character ({score.bits_per_char:.3f} bits) on {score.chars:,} held-out "
        "characters"
    )
