"""Settings of translators. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = [
    "ATTENTIONS",
    "DATES",
    "PRESETS",
    "TranslateConfig",
    "TranslateData",
    "TranslateEvaluation",
    "TranslateTraining",
]

DATES = "dates"  # the name of the data set of dates
READ, STEP = "read", "step"  # the names of the graphs
ATTENTIONS = ("additive", "dot", "none")
VOCABULARIES = ("joint", "separate")
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class TranslateData(Settings):
    """The settings of the data: the languages and the vocabulary."""

    source_language: str = option(
        "", "The language to translate from, as file names or columns name it, such as de.", flag="from"
    )
    target_language: str = option(
        "", "The language to translate to, as file names or columns name it, such as en.", flag="to"
    )
    vocabulary: int = option(
        8000,
        "The number of parts of words (byte-pair encoding) in the vocabulary.",
        low=4,
        high=_LARGEST,
    )
    vocabularies: str = option(
        "joint",
        "One vocabulary for both languages (joint), or one of the size --vocabulary for each (separate).",
        choices=VOCABULARIES,
    )
    lowercase: bool = option(True, "Read and write all text in lower case.")


@dataclass(frozen=True)
class TranslateConfig(CellSettings):
    """The configuration of the network.

    source_vocabulary, vocabulary: the numbers of tokens that are read and written, which depend on the data.
    """

    source_vocabulary: int = 0
    vocabulary: int = 0
    attention: str = option(
        "additive",
        "The decoder's attention over the words of the sentence: by a layer of tanh units (additive), by dot products, "
        "or none.",
        choices=ATTENTIONS,
    )
    embedding: int = option(256, "The size of the embeddings and of the attention.", low=1, high=_LARGEST)
    hidden: int = option(512, "The size of the state of each recurrent layer.", low=1, high=_LARGEST)
    layers: int = option(
        1,
        "The number of recurrent layers of the encoder, and also of the decoder. The first layer of the decoder is "
        "below the attention, and its other layers are above it.",
        low=1,
        high=_LARGEST,
    )
    dropout: float = option(0.3, "The dropout probability of embeddings and of the outputs of layers.", low=0, below=1)
    longest: int = option(
        200, "The largest number of tokens of a sentence; longer ones are left out of training.", low=2, high=1024
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in (self.source_vocabulary, self.vocabulary):
            if type(size) is not int or not 0 <= size <= _LARGEST:
                raise ConfigError(f"a vocabulary of {str(size)[:40]} tokens is not possible")


@dataclass(frozen=True, kw_only=True)
class TranslateTraining(TrainingSettings):
    """How a translator is trained: it predicts every word of a translation from the preceding true words."""

    batch_size: int = option(64, "The number of sentences in a batch.", low=1, high=_LARGEST)
    smoothing: float = option(
        0.1,
        "Label smoothing: this fraction of the target probability is spread over all tokens; 0 disables it.",
        low=0,
        below=1,
    )
    word_dropout: float = option(
        0.0, "The probability that an input token is replaced by the unknown token in training.", low=0, below=1
    )
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 2e-3)
    average: float = redefault(TrainingSettings, "average", 0.999)
    passes: float | None = redefault(TrainingSettings, "passes", 30.0)
    minutes: float | None = redefault(TrainingSettings, "minutes", 55.0)
    warmup: float = redefault(TrainingSettings, "warmup", 0.05)
    evaluations: int = redefault(TrainingSettings, "evaluations", 12)


@dataclass(frozen=True, kw_only=True)
class TranslateEvaluation(EvaluationSettings):
    """The data on which a translator is evaluated, and how sentences are translated."""

    source_language: str = option("", "The language to translate from.", flag="from", unset="that of the training")
    target_language: str = option("", "The language to translate to.", flag="to", unset="that of the training")
    translations: str = option("", "The directory of the translations, if it is not that of the sentences (--data).")
    beam: int = option(5, "The beam width; 1 is greedy decoding.", low=1, high=100)


PRESETS = {
    "sentences": Preset(),
    "dates": Preset(
        {"embedding": 64, "hidden": 128, "dropout": 0.0},
        {"passes": 5.0, "minutes": None, "learning_rate": 3e-3, "smoothing": 0.0, "evaluations": 5},
        {"vocabulary": 300},
    ),
}
