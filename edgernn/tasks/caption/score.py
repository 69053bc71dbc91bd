"""Score captions with BLEU (by sacrebleu) and CIDEr-D."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sacrebleu

from edgernn.data.captions import DEV, CaptionDataset, CaptionedImage
from edgernn.data.scenes import Scene
from edgernn.data.words import words
from edgernn.drawn_names import SCENES
from edgernn.errors import ConfigError, CorpusError, ImageError, counted
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import caption_image, largest_side
from edgernn.tasks.caption.data import DataRecord, left_out, open_dataset
from edgernn.tasks.caption.settings import CaptionEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["CaptionScore", "Cider", "evaluate", "score_captions", "score_images"]

_ORDERS = 4  # longest n-grams, in words
_SIGMA = 6.0  # standard deviation of the length penalty, in words
_SCALE = 10.0

Grams = tuple[str, ...]


@dataclass(frozen=True)
class CaptionScore:
    """The score of captions against their references: BLEU, from 0 to 100, and CIDEr-D, where 1.0 is 100 %.

    true: for drawn scenes, the fraction of captions that are true of the image.
    """

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    cider_d: float
    images: int
    true: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        true = {} if self.true is None else {"true": self.true}
        return {"bleu4": self.bleu4, "cider_d": self.cider_d, **true}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """Return the figures in words."""
        bleu = " ".join(f"{value:.1f}" for value in (self.bleu1, self.bleu2, self.bleu3, self.bleu4))
        true = "" if self.true is None else f"{100 * self.true:.1f} % true, "
        return f"{true}CIDEr-D {self.cider_d:.3f}, BLEU-1 to 4 {bleu} on {counted(self.images, 'image')}"


def evaluate(model: Model, settings: CaptionEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of the captions that `model` generates for the images of a split.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for one that is missing or has no readable image.
    """
    dataset, split = _open(model, settings, own)
    images = dataset[split]
    side = largest_side(model)
    read: list[CaptionedImage] = []
    captions: list[str] = []
    damaged: list[str] = []
    for number, image in enumerate(images, start=1):
        try:
            pixels = image.read(side)
        except ImageError as error:
            damaged.append(str(error))
            continue
        read.append(image)
        captions.append(caption_image(model, pixels, settings.beam).text)
        progress(number / len(images), f"{number:,} of {len(images):,} images")
    if not read:
        raise CorpusError(f"none of the images can be read: {damaged[0] if damaged else 'there are none'}")
    notes = left_out(dataset.missing, damaged, dataset.empty_captions)
    if not settings.data:
        notes.append(note_held_out(counted(len(read), "image")))
    return Evaluation(score_images(captions, read), notes)


def _open(model: Model, settings: CaptionEvaluation, own: RunData | None) -> tuple[CaptionDataset, str]:
    """Return the data set to evaluate on, and which split of it."""
    if settings.data:
        return open_dataset(settings.data), settings.split
    if own is None:
        trained = model.manifest.provenance.get("data")
        source = trained.get("source") if isinstance(trained, Mapping) else None
        also = f"; it was trained on {source}: add --data {source}" if source == SCENES else ""
        raise ConfigError(f"a captioner is evaluated on images with captions: name a data set with --data{also}")
    settings.refuse_without_data("split")
    record = DataRecord.from_json(dict(own.record))
    dataset = open_dataset(record.source)
    record.check(dataset)
    return dataset, DEV


def score_images(captions: Sequence[str], images: Sequence[CaptionedImage]) -> CaptionScore:
    """Return the score of one caption for each image; for drawn scenes, with the fraction of true captions."""
    score = score_captions(captions, [image.captions for image in images])
    scenes = [image for image in images if isinstance(image, Scene)]
    if len(scenes) < len(images):
        return score
    true = sum(scene.allows(caption) for scene, caption in zip(scenes, captions, strict=True))
    return replace(score, true=true / len(scenes))


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScore:
    """Score one caption for each image against its references, in lower case and without punctuation."""
    hypotheses = [" ".join(words(caption)) for caption in captions]
    known = [[" ".join(words(each)) for each in group] for group in references]
    most = max(map(len, known))
    # sacrebleu needs equally many references; repeating one does not change the score
    streams = [[group[place] if place < len(group) else group[0] for group in known] for place in range(most)]
    one, two, three, four = (_bleu(order, hypotheses, streams) for order in range(1, _ORDERS + 1))
    return CaptionScore(one, two, three, four, Cider(known).mean(hypotheses), len(hypotheses))


def _bleu(order: int, hypotheses: Sequence[str], streams: Sequence[Sequence[str]]) -> float:
    metric = sacrebleu.BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
    return float(metric.corpus_score(hypotheses, streams).score)


class Cider:
    """CIDEr-D (Vedantam et al. 2015), with document frequencies of n-grams from the images' references.

    For n from 1 to 4, the similarity of two captions is the cosine of their TF-IDF vectors of n-grams, where the
    caption's counts are clipped to the reference's, times exp(-(difference of lengths)^2 / (2 * 6^2)). The score is ten
    times the mean similarity over n and references.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Count document frequencies. references: of each image, as words separated by spaces."""
        self._seen = Counter(gram for group in references for gram in set().union(*map(_grams, group)))
        self._images = math.log(max(1, len(references)))
        self._references = references
        self._vectors: dict[int, list[_Vector]] = {}  # of an image's references, computed on demand

    def mean(self, captions: Sequence[str]) -> float:
        """Return the mean score of one caption for each image."""
        return sum(self.each(image, caption) for image, caption in enumerate(captions)) / max(1, len(captions))

    def each(self, image: int, caption: str) -> float:
        """Return the score of a caption of one image."""
        hypothesis = self._vector(_grams(caption))
        if image not in self._vectors:
            self._vectors[image] = [self._vector(_grams(reference)) for reference in self._references[image]]
        references = self._vectors[image]
        return _SCALE * sum(_similarity(hypothesis, each) for each in references) / (_ORDERS * len(references))

    def _vector(self, grams: Counter[Grams]) -> _Vector:
        weights: list[dict[Grams, float]] = [{} for _ in range(_ORDERS)]
        for gram, count in grams.items():
            rarity = self._images - math.log(max(1.0, self._seen[gram]))
            weights[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(weight**2 for weight in each.values())) for each in weights]
        return _Vector(weights, norms, sum(count for gram, count in grams.items() if len(gram) == 1))


@dataclass(frozen=True)
class _Vector:
    weights: Sequence[Mapping[Grams, float]]
    norms: Sequence[float]
    length: int


def _grams(caption: str) -> Counter[Grams]:
    tokens = caption.split()
    return Counter(
        tuple(tokens[at : at + size]) for size in range(1, _ORDERS + 1) for at in range(len(tokens) - size + 1)
    )


def _similarity(hypothesis: _Vector, reference: _Vector) -> float:
    """Return the sum of the similarities over n."""
    total = 0.0
    for ours, theirs, norm, other in zip(
        hypothesis.weights, reference.weights, hypothesis.norms, reference.norms, strict=True
    ):
        if norm and other:
            common: Iterable[Grams] = ours.keys() & theirs.keys()
            total += sum(min(ours[gram], theirs[gram]) * theirs[gram] for gram in common) / (norm * other)
    return total * math.exp(-((hypothesis.length - reference.length) ** 2) / (2 * _SIGMA**2))
