"""Score translations with BLEU, by sacrebleu, and by the share that equals the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sacrebleu

from edgernn.data.pairs import Pairs, read_pairs
from edgernn.errors import ConfigError, CorpusError, counted
from edgernn.runtime import Model
from edgernn.runtime.pipelines.translate import translate
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out
from edgernn.tasks.translate.data import DataRecord
from edgernn.tasks.translate.dates import dates
from edgernn.tasks.translate.settings import DATES, TranslateEvaluation

__all__ = ["TranslationScore", "evaluate", "score_translations"]


@dataclass(frozen=True)
class TranslationScore:
    """The score of translations against one reference each: BLEU, from 0 to 100, of both in lower case.

    exact: the fraction of translations that equal their reference, in lower case.
    """

    bleu: float
    exact: float
    sentences: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"bleu": self.bleu, "exact": self.exact}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the figures in words."""
        return f"BLEU {self.bleu:.1f}, {100 * self.exact:.1f} % exact on {counted(self.sentences, 'sentence')}"


def score_translations(translations: Sequence[str], references: Sequence[str]) -> TranslationScore:
    """Return the score of translations: BLEU as sacrebleu computes it by default (tokenizer 13a), in lower case."""
    ours, theirs = ([" ".join(text.lower().split()) for text in texts] for texts in (translations, references))
    bleu = float(sacrebleu.BLEU(lowercase=True, force=True).corpus_score(ours, [theirs]).score)
    exact = sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(theirs)
    return TranslationScore(bleu, exact, len(theirs))


def evaluate(model: Model, settings: TranslateEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of the translations that `model` writes of the sentences of a split.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for one that is missing or cannot be read.
    """
    pairs = _pairs(model, settings, own)
    translations: list[str] = []
    for number, sentence in enumerate(pairs.sources, start=1):
        translations.append(translate(model, sentence, settings.beam, unknown="replace").text)
        progress(number / len(pairs), f"{number:,} of {len(pairs):,}")
    notes = [f"lines that are empty on both sides are left out, {pairs.empty:,} in all"] if pairs.empty else []
    if not settings.data:
        notes.append(note_held_out(counted(len(pairs), "sentence")))
    return Evaluation(score_translations(translations, pairs.targets), notes)


def _pairs(model: Model, settings: TranslateEvaluation, own: RunData | None) -> Pairs:
    """Return the pairs to evaluate on."""
    if not settings.data:
        if own is None:
            raise ConfigError("a translator is evaluated on sentences with translations: name a data set with --data")
        settings.refuse_without_data("split", "source_language", "target_language", "translations")
        return DataRecord.from_json(dict(own.record)).open_held_out(own.folder)
    if settings.data == DATES:
        if settings.source_language or settings.target_language or settings.translations:
            raise ConfigError(f"--from, --to and --translations are about files, and {DATES} are none: leave them out")
        return dates(settings.split)
    recorded = model.manifest.provenance.get("settings", {})
    trained: Mapping[str, Any] = recorded.get("data", {}) if isinstance(recorded, Mapping) else {}
    languages = [
        getattr(settings, name) or str(trained.get(name, "")) for name in ("source_language", "target_language")
    ]
    paths = [Path(path) for path in (settings.data, settings.translations) if path]
    pairs = read_pairs(paths, settings.split, *languages)
    if pairs is None:
        raise CorpusError(f"{settings.data} has no files of the split {settings.split!r}: name another with --split")
    return pairs
