"""Settings of language models. Importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.media.text import TextFormat
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CELLS, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "LanguageConfig", "LanguageData", "LanguageEvaluation", "LanguageTraining"]

TOKENIZERS = ("characters", "bytes", "words", "bpe")  # the names of `data.vocabulary.TOKENIZERS`
INPUTS = ("embedding", "one-hot")
INITIALS = ("zeros", "learned")  # the names of `models.stack.INITIALS`
OPTIMIZERS = ("muon", "adamw")
_EMBEDDING = 128
_LARGEST = 1_000_000  # size of anything


@dataclass(frozen=True, kw_only=True)
class LanguageData(TextFormat):
    """Which text is learned from, how it is read, and how it is cut into tokens."""

    glob: str | None = option(
        None, "The pattern of the files that are read from a directory.", unset="*.txt, or *.jsonl with --field"
    )
    held_out: str = option(
        "0.1", "What is held out for evaluation: a fraction of the text, taken from its end, or another file."
    )
    tokenizer: str = option("characters", "What a token is.", choices=TOKENIZERS)
    vocabulary: int | None = option(
        None,
        "The size of the vocabulary of words or bpe; the other tokenizers have a size of their own.",
        low=1,
        high=_LARGEST,
        unset="10,000 words or 1,000 bpe",
    )


@dataclass(frozen=True)
class LanguageConfig(Settings):
    """The shape of a language model. vocabulary: how many tokens there are, which the data decides."""

    vocabulary: int = 0
    cell: str = option("lstm", "The recurrent cell.", choices=CELLS)
    input: str = option("embedding", "How a token enters the network.", choices=INPUTS)
    embedding: int | None = option(
        None, "The size of the embedding.", low=1, high=_LARGEST, unset=f"{_EMBEDDING}; none with --input one-hot"
    )
    hidden: int = option(256, "The size of the state of each layer.", low=1, high=_LARGEST)
    layers: int = option(2, "The number of recurrent layers.", low=1, high=_LARGEST)
    dropout: float = option(0.3, "Dropout after the embedding, between layers and before the output.", low=0, below=1)
    residual: bool = option(False, "Add the input of each layer from the second on to its output.")
    initial: str = option("zeros", "The state before the first token: zeros, or a learned vector.", choices=INITIALS)
    tied: bool = option(False, "Use the weights of the embedding for the output too.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input == "one-hot" and self.embedding is not None:
            raise ConfigError("--input one-hot has no --embedding: leave one of them out")
        if self.input == "one-hot" and self.tied:
            raise ConfigError(
                "--tied needs the weights of an embedding, and --input one-hot has none: leave one of them out"
            )
        if self.residual and self.layers == 1:
            raise ConfigError(
                "--residual adds the input of a layer from the second on: leave it out, or give --layers 2 or more"
            )
        if type(self.vocabulary) is not int or not 0 <= self.vocabulary <= _LARGEST:
            raise ConfigError(f"a vocabulary of {str(self.vocabulary)[:40]} tokens is not possible")

    @property
    def embedding_size(self) -> int | None:
        """The size of the embedding, or None where tokens enter as one-hot vectors."""
        return None if self.input == "one-hot" else self.embedding or _EMBEDDING


@dataclass(frozen=True, kw_only=True)
class LanguageTraining(TrainingSettings):
    """How a language model is trained: by truncated back-propagation through time."""

    batch_size: int = option(
        32,
        "The number of sequences in a batch; each is read from a place of its own in the text.",
        low=1,
        high=_LARGEST,
    )
    bptt: int = option(
        128,
        "The number of tokens that the gradient flows back through; the state is carried on beyond them.",
        low=1,
        high=_LARGEST,
    )
    reset: float = option(
        0.02,
        "The probability that a sequence starts a batch from the initial state, not from the carried one.",
        low=0,
        high=1,
    )
    optimizer: str = option(
        "muon", "The optimizer of the recurrent matrices; AdamW trains the other parameters.", choices=OPTIMIZERS
    )
    passes: float | None = redefault(TrainingSettings, "passes", 24.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 6e-3)
    weight_decay: float = option(
        0.16,
        "Decoupled weight decay of the recurrent matrices: a step shrinks them by this times the learning rate.",
        low=0,
        high=1e6,
    )


@dataclass(frozen=True, kw_only=True)
class LanguageEvaluation(TextFormat):
    """What a language model is evaluated on."""

    text: str = option("", "A text file to evaluate on, read as one stream.")


PRESETS = {
    "small": Preset(),
    "tiny": Preset({"hidden": 128, "dropout": 0.1}, {"passes": 20.0, "evaluations": 20}),
    "medium": Preset({"hidden": 384, "dropout": 0.35}, {"passes": 16.0, "evaluations": 16}),
}
