"""Settings of language models. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.media.text import TextFormat
from edgernn.settings import option, redefault
from edgernn.tasks.settings import CellSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "LanguageConfig", "LanguageData", "LanguageEvaluation", "LanguageTraining"]

TOKENIZERS = ("characters", "bytes", "words", "bpe")  # the names of `data.vocabulary.TOKENIZERS`
INPUTS = ("embedding", "one-hot")
INITIALS = ("zeros", "learned")  # the names of `models.stack.INITIALS`
OPTIMIZERS = ("muon", "adamw")
_EMBEDDING = 128
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class LanguageData(TextFormat):
    """The text to train on, how it is read, and how it is tokenised."""

    glob: str | None = option(
        None,
        "The pattern of the file names to read from a directory, such as '*.py'.",
        unset="*.txt, or *.jsonl with --field",
    )
    held_out: str = option(
        "0.1",
        "The held-out set, on which the model is evaluated: a fraction of the text, taken from its end, or a separate "
        "file.",
    )
    tokenizer: str = option(
        "characters",
        "The unit of the vocabulary: characters, UTF-8 bytes, words, or byte-pair encoding (bpe).",
        choices=TOKENIZERS,
    )
    vocabulary: int | None = option(
        None,
        "The number of tokens in the vocabulary, for the tokenizers words and bpe; the others have a fixed size.",
        low=1,
        high=_LARGEST,
        unset="10,000 words or 1,000 bpe",
    )


@dataclass(frozen=True)
class LanguageConfig(CellSettings):
    """The configuration of the network. vocabulary: the number of tokens, which depends on the data."""

    vocabulary: int = 0
    input: str = option(
        "embedding", "The input of the network: learned embeddings of tokens, or one-hot vectors.", choices=INPUTS
    )
    embedding: int | None = option(
        None,
        "The size of the token embeddings.",
        low=1,
        high=_LARGEST,
        unset=f"{_EMBEDDING}; none with --input one-hot",
    )
    hidden: int = option(256, "The size of the state of each recurrent layer.", low=1, high=_LARGEST)
    layers: int = option(2, "The number of recurrent layers.", low=1, high=_LARGEST)
    dropout: float = option(
        0.3,
        "The dropout probability after the embedding, between layers and before the output layer.",
        low=0,
        below=1,
    )
    residual: bool = option(False, "Add a residual connection around each recurrent layer from the second on.")
    initial: str = option("zeros", "The state before the first token: zeros, or a learned vector.", choices=INITIALS)
    tied: bool = option(False, "Tie the weights of the output layer to those of the embedding.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input == "one-hot" and self.embedding is not None:
            raise ConfigError("--input one-hot has no --embedding: leave one of them out")
        if self.input == "one-hot" and self.tied:
            raise ConfigError(
                "--tied needs the weights of an embedding, and --input one-hot has none: leave one of them out"
            )
        if type(self.vocabulary) is not int or not 0 <= self.vocabulary <= _LARGEST:
            raise ConfigError(f"a vocabulary of {str(self.vocabulary)[:40]} tokens is not possible")

    @property
    def embedding_size(self) -> int | None:
        """The size of the embedding, or None if tokens are one-hot vectors."""
        return None if self.input == "one-hot" else self.embedding or _EMBEDDING


@dataclass(frozen=True, kw_only=True)
class LanguageTraining(TrainingSettings):
    """How a language model is trained: truncated back-propagation through time."""

    batch_size: int = option(
        32,
        "The number of sequences in a batch; each reads another part of the text.",
        low=1,
        high=_LARGEST,
    )
    bptt: int = option(
        128,
        "The number of steps of truncated back-propagation through time; the state is carried to the next batch.",
        low=1,
        high=_LARGEST,
    )
    reset: float = option(
        0.02,
        "The probability that a sequence starts a batch from the initial state instead of the carried state.",
        low=0,
        high=1,
    )
    optimizer: str = option(
        "muon",
        "The optimizer of the recurrent weight matrices; all other parameters use AdamW.",
        choices=OPTIMIZERS,
    )
    final_dropout: float = option(
        0.3,
        "The fraction of --dropout that remains at the end of training; dropout falls linearly in the second half.",
        low=0,
        high=1,
    )
    passes: float | None = redefault(TrainingSettings, "passes", 24.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 1e-2)
    weight_decay: float = option(
        0.3,
        "The decoupled weight decay of the recurrent weight matrices, which is multiplied by the learning rate.",
        low=0,
        high=1e6,
    )


@dataclass(frozen=True, kw_only=True)
class LanguageEvaluation(TextFormat):
    """The text on which a language model is evaluated."""

    text: str = option(
        "",
        "A text file to evaluate on, read as one stream; - is standard input.",
        unset="for a run, the part that its training held out",
    )


PRESETS = {
    "small": Preset({"residual": True}),
    "tiny": Preset({"residual": True, "hidden": 128, "dropout": 0.1}, {"passes": 20.0, "evaluations": 20}),
    "medium": Preset({"residual": True, "hidden": 384, "dropout": 0.35}, {"passes": 16.0, "evaluations": 16}),
    "large-text": Preset({"residual": True, "dropout": 0.1}, {"passes": 6.0, "weight_decay": 0.1}),
}
