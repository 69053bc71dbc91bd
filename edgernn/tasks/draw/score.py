"""Score networks that draw: the variational bound on the negative log-likelihood of binary pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from edgernn.contract import Array
from edgernn.data.pictures import HELD_OUT, in_colour, open_part, part_to_evaluate
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, StreamError, counted
from edgernn.runtime import Model
from edgernn.runtime.pipelines.draw import Draw
from edgernn.runtime.pipelines.glimpse import Look
from edgernn.sampling import Generator
from edgernn.tasks.draw.network import Drawer
from edgernn.tasks.draw.settings import DrawEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["DrawScore", "Judged", "binary", "evaluate", "judge", "score_drawing"]

_Part = TypeVar("_Part")
_BATCH = 500  # pictures that are evaluated together
_JUDGED = 64  # drawings that are judged together: so many streams every engine takes
_BYTE = 255
_LEAST = 1e-12  # of a probability in a logarithm


@dataclass(frozen=True)
class Judged:
    """What a classifier takes new drawings for.

    asked_for: the fraction that it takes for the class that was asked for. drawings: their number.
    """

    asked_for: float
    drawings: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"asked_for": self.asked_for}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the figures in words."""
        return f"the judge recognises {100 * self.asked_for:.1f} % of {counted(self.drawings, 'new drawing')}"


@dataclass(frozen=True)
class DrawScore:
    """The score of pictures that are explained by a drawing.

    nats: the mean bound on -log p of a binary picture, given its label if the network has labels, from one sample of
    the latent variables; the sum of reconstruction and divergence (see `network.Bound`). judged: the score of new
    drawings, if they are judged.
    """

    nats: float
    reconstruction: float
    divergence: float
    count: int
    judged: Judged | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        bound = {"nats": self.nats, "reconstruction": self.reconstruction, "divergence": self.divergence}
        return bound | ({} if self.judged is None else self.judged.figures)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        found = asdict(self)
        del found["judged"]
        return found | ({} if self.judged is None else self.judged.to_json())

    def __str__(self) -> str:
        """Return the figures in words."""
        bound = (
            f"a bound of {self.nats:.2f} nats a picture: {self.reconstruction:.2f} for the picture, "
            f"{self.divergence:.2f} for the latent variables, on {counted(self.count, 'picture')}"
        )
        return bound if self.judged is None else f"{bound}; {self.judged}"


def binary(images: Array, random: np.random.Generator) -> Array:
    """Return images, bytes, as float32 of 0 and 1: a pixel is 1 with its intensity as probability."""
    return (random.random(images.shape, np.float32) * _BYTE < images).astype(np.float32)


def _ignore(done: float, figures: str) -> None:
    """Ignore the progress."""


def score_drawing(
    network: Drawer, images: Array, labels: Array, progress: Progress = _ignore, draw: Draw | None = None
) -> DrawScore:
    """Return the score of images, bytes (pictures, height, width), with labels (pictures,).

    draw: what draws from the latent variables in place of the decoder of `network`, such as a bundle of it.
    The binary pictures are drawn from seed 0, and the latent variables from a fixed seed too.
    Raises CheckFailedError for a bound that is not a number.
    """
    pictures, random = binary(images, np.random.default_rng(0)), np.random.default_rng((0, 1))
    config, device = network.config, next(network.parameters()).device
    found = []
    for begun in range(0, len(images), _BATCH):
        batch = slice(begun, begun + _BATCH)
        noise = random.standard_normal((config.writes, len(pictures[batch]), config.latents), np.float32)
        given = [torch.tensor(each, device=device) for each in (pictures[batch], labels[batch], noise)]
        with torch.no_grad():
            if draw is None:
                bound = torch.stack(network.bound(*given)).double().cpu().numpy()
            else:
                explained = network.explain(*given)
                drawn = draw.finished(explained.latents.cpu().numpy(), labels[batch])
                bound = np.stack([_cross_entropy(drawn, pictures[batch]), explained.divergence.double().cpu().numpy()])
        found.append(bound)
        progress(
            min(1.0, (begun + _BATCH) / len(images)), f"{begun + len(pictures[batch]):,} of {len(images):,} pictures"
        )
    reconstruction, divergence = map(float, np.concatenate(found, axis=1).mean(axis=1))
    if not np.isfinite(reconstruction + divergence):
        raise CheckFailedError("the bound is not a number")
    return DrawScore(reconstruction + divergence, reconstruction, divergence, len(images))


def _cross_entropy(drawn: Array, pictures: Array) -> Array:
    """Return -log p, in nats (pictures,), of binary pictures of drawings, from 0 to 1 (pictures, height, width)."""
    chances = np.abs(1 - pictures - drawn.astype(np.float64))
    lost: Array = -np.log(np.maximum(chances, _LEAST)).sum(axis=(1, 2))
    return lost


def judge(draw: Draw, look: Look, count: int) -> Judged:
    """Return what `look` takes new drawings for, whose classes are asked for in turn.

    The latent variables are the normal deviates of the contract from seed 0.
    Raises ConfigError for a model without labels, and for classes or sizes that `look` does not know.
    """
    if not draw.labels:
        raise ConfigError("the network was trained without labels, so no class can be asked for: leave out --judge")
    if missing := [label for label in draw.labels if label not in look.labels]:
        raise ConfigError(f"the judge does not know the class {missing[0]}, which can be asked for: name another judge")
    labels = np.arange(count) % len(draw.labels)
    noise = Generator(0).normal(count * draw.steps * draw.latents).reshape(count, draw.steps, draw.latents)
    right = 0
    for begun in range(0, count, _JUDGED):
        batch = slice(begun, begun + _JUDGED)
        drawn = draw.finished(noise[batch].swapaxes(0, 1).astype(np.float32), labels[batch])
        if drawn.shape[1:] != look.size:
            raise ConfigError(
                f"the drawings have {drawn.shape[2]} × {drawn.shape[1]} pixels, and the judge looks at "
                f"{look.size[1]} × {look.size[0]}: name another judge"
            )
        scores = look.scores(in_colour(np.rint(_BYTE * drawn).astype(np.uint8)))[-1]
        right += sum(
            look.labels[best] == draw.labels[label]
            for best, label in zip(scores.argmax(axis=1), labels[batch], strict=True)
        )
    return Judged(right / count, count)


def evaluate(model: Model, settings: DrawEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of `model`, whose encoder is that of the run with the data `own`.

    Without --data, the pictures are those that the run held out. A bundle without its run has no encoder: its drawings
    can only be judged. Raises ConfigError for such a bundle without --judge, CorpusError for data that is missing, of
    another size or of other classes.
    """
    settings.refuse_without_judge()
    draw = Draw(model)
    look = None if settings.judge is None else _loaded("--judge", settings.judge, "glimpse", Look)
    if own is None:
        if look is None:
            raise ConfigError(
                "the bound on the likelihood of pictures takes the encoder, which a bundle of a network that draws "
                "does not have: name the run, and the bundle with --decoder"
            )
        if settings.data or settings.decoder is not None:
            raise ConfigError("--data and --decoder are for a run, whose encoder reads the pictures: leave them out")
        settings.refuse_without_data("split")
        return Evaluation(judge(draw, look, settings.drawings))
    if settings.decoder is not None:
        draw = _decoder(settings.decoder, model)
    network = own.network()
    assert isinstance(network, Drawer)
    images, labels, notes = _open(settings, model, network, own)
    judged = None if look is None else judge(draw, look, settings.drawings)
    return Evaluation(replace(score_drawing(network, images, labels, progress, draw), judged=judged), notes)


def _loaded(flag: str, path: Path, task: str, part: Callable[[Model], _Part]) -> _Part:
    """Return a part of the bundle that an option names. Raises ConfigError for a bundle of another task."""
    model = Model.load(path)
    try:
        return part(model)
    except StreamError:
        raise ConfigError(
            f"{flag} {path} is a bundle of the task {model.manifest.task}: name one of the task {task}"
        ) from None


def _decoder(path: Path, model: Model) -> Draw:
    """Return the bundle at `path`. Raises ConfigError unless it is one of the run that `model` is."""
    found = _loaded("--decoder", path, "draw", Draw)
    if found.model.manifest.digest != model.manifest.digest:
        raise ConfigError(f"--decoder {path} is no bundle of this run: name one that was exported from it")
    return found


def _open(settings: DrawEvaluation, model: Model, network: Drawer, own: RunData) -> tuple[Array, Array, Sequence[str]]:
    """Return the pictures to evaluate on, their labels, and notes about them."""
    if not settings.data:
        settings.refuse_without_data("split")
        kept = PackedSequences.of_run(own.folder, HELD_OUT, own.record)
        return kept.values, kept.labels, [note_held_out(counted(len(kept), "picture"))]
    part, notes = part_to_evaluate(settings.data, settings.split)
    pictures, size = open_part(settings.data, part), (network.config.height, network.config.width)
    if model.labels is not None:
        pictures = pictures.among(model.labels, settings.data)
    if pictures.images.shape[1:] != size:
        raise CorpusError(f"{settings.data} does not have grey pictures of {size[1]} × {size[0]} pixels, as the model")
    return pictures.images, pictures.labels, notes
