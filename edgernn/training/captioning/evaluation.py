"""What runs and bundles say of the pictures of a data set, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from edgernn.contract import Array
from edgernn.data.captions import CaptionedImage
from edgernn.errors import CorpusError, ImageError
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import caption_image, largest_side
from edgernn.tasks.caption.decode import beam_captions
from edgernn.tasks.caption.feature_cache import Progress
from edgernn.tasks.caption.scenes import Scene
from edgernn.tasks.caption.score import CaptionScore, score_captions
from edgernn.training.captioning.run import CaptionRun

__all__ = ["Evaluation", "evaluate_pictures", "score_pictures", "speaker_of_bundle", "speaker_of_run"]

Speaker = Callable[[Array], str]  # what is said of a picture (height, width, 3)


@dataclass(frozen=True)
class Evaluation:
    """score: of the pictures that could be read. damaged: what was wrong with the others."""

    score: CaptionScore
    damaged: Sequence[str]


def evaluate_pictures(speak: Speaker, pictures: Sequence[CaptionedImage], side: int, progress: Progress) -> Evaluation:
    """Have every picture described, its sides at most `side` pixels. Raises CorpusError if none can be read."""
    seen: list[CaptionedImage] = []
    said: list[str] = []
    damaged: list[str] = []
    for number, picture in enumerate(pictures, start=1):
        try:
            image = picture.read(side)
        except ImageError as error:
            damaged.append(str(error))
            continue
        seen.append(picture)
        said.append(speak(image))
        progress(number / len(pictures), f"{number:,} of {len(pictures):,} pictures")
    if not seen:
        raise CorpusError(f"none of the pictures can be read: {damaged[0] if damaged else 'there are none'}")
    return Evaluation(score_pictures(said, seen), damaged)


def score_pictures(captions: Sequence[str], pictures: Sequence[CaptionedImage]) -> CaptionScore:
    """How good captions are; of drawn scenes, how many are true as well."""
    score = score_captions(captions, [picture.captions for picture in pictures])
    scenes = [picture for picture in pictures if isinstance(picture, Scene)]
    if len(scenes) < len(pictures):
        return score
    true = sum(scene.allows(caption) for scene, caption in zip(scenes, captions, strict=True))
    return replace(score, true=true / len(scenes))


def speaker_of_bundle(model: Model, width: int) -> tuple[Speaker, int]:
    """What describes pictures by a beam of `width`, and their largest side."""
    return lambda image: caption_image(model, image, width).text, largest_side(model)


def speaker_of_run(run: CaptionRun, width: int) -> tuple[Speaker, int]:
    """What describes pictures by a beam of `width`, and their largest side."""
    network, tokenizer = run.network(), run.tokenizer

    @torch.no_grad()
    def speak(image: Array) -> str:
        seen = network.glance(network.encoder(torch.from_numpy(image)[None]))
        return tokenizer.decode(beam_captions(network.decoder, seen, tokenizer, width)[0])

    return speak, run.model.encoder.largest_side
