"""The exceptions that edgernn raises deliberately.

EdgeRNNError
├── ConfigError              a setting is impossible, or two settings exclude each other
│   └── CellError            a recurrent cell of the user does not do what every cell must
│       └── GrowingStateError    a state of the cell grows without limit
├── FormatError              a JSON record does not have the expected form
├── ContractError            a contract is malformed, or tensors do not fit it
├── TokenizerError           a tokenizer cannot be read, or cannot encode a text
│   └── UnknownTokenError    a text has characters that the vocabulary lacks
├── CorpusError              training data is missing, empty, unreadable, or too small
├── ImageError               a file is not an image, or is truncated
├── AudioError               a file is not a recording that can be read, or sound cannot be recorded
├── OutputError              a directory cannot be written (for example, because the disk is full)
│   └── OutputExistsError    the output path exists already
├── RunError                 a run directory is missing, damaged or of another version
├── TrainingError            training cannot continue
│   └── DivergedError        the loss or the gradient is not finite
├── BundleError              a bundle is missing, damaged, of another version or for another engine
├── EngineError              a graph cannot be loaded or run
├── StreamError              a stream or its model does not support an operation
│   ├── SamplingError        no token can be drawn from the logits
│   └── SnapshotError        a snapshot is damaged, or belongs to another model
├── ExportError              a network cannot be exported to a target
│   └── MissingSizeError     a target that has no free axes was not told the size of one
├── CheckFailedError         a check was carried out and failed
│   └── ParityError          an artifact does not behave like its source
└── MissingExtraError        an optional dependency is not installed

The library raises these. Only the command line prints and exits: with status 1 for a CheckFailedError, 2 for the
others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

# The extra that brings each optional module, as pyproject.toml has it.
EXTRAS: Mapping[str, str] = {
    "torch": "train",
    "safetensors": "train",
    "PIL": "image",
    "soxr": "audio",
    "sacrebleu": "caption",
    "torchvision": "torchvision",
    "onnx": "export",
    "onnxscript": "export",
    "matplotlib": "plot",
    "tensorboard": "tensorboard",
    "executorch": "executorch",
    "torchao": "executorch",
}
# The extras that an extra brings, itself included.
_INCLUDED: Mapping[str, tuple[str, ...]] = {
    "caption": ("caption", "train", "image"),
    "translate": ("translate", "train"),
    "torchvision": ("torchvision", "caption", "train", "image"),
    "export": ("export", "train"),
    "plot": ("plot", "train"),
    "tensorboard": ("tensorboard", "train"),
    "executorch": ("executorch", "export", "train"),
}
_SCORED = {"caption", "translate"}  # both bring sacrebleu
_PACKAGES: Mapping[str, str] = {"PIL": "Pillow"}  # where a package is called differently from its module
_LONGEST = 1000  # characters of a message: what it quotes may come from a hostile file


class EdgeRNNError(Exception):
    """The base class of all exceptions of edgernn. The message is one line: what is wrong, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…")


class ConfigError(EdgeRNNError):
    """A setting is impossible, or two settings exclude each other."""


class CellError(ConfigError):
    """A recurrent cell of the user does not do what every cell must.

    reason: what is wrong, without the name of the cell.
    """

    def __init__(self, cell: str, reason: str) -> None:
        super().__init__(f"{cell}: {reason}")
        self.reason = reason


class GrowingStateError(CellError):
    """A state of a recurrent cell of the user grows without limit."""


class FormatError(EdgeRNNError):
    """A JSON record does not have the expected form."""


class ContractError(EdgeRNNError):
    """A contract is malformed, or tensors do not fit it."""


class TokenizerError(EdgeRNNError):
    """A tokenizer cannot be read, or cannot encode a text."""


class UnknownTokenError(TokenizerError):
    """A text has characters that the vocabulary lacks."""


class CorpusError(EdgeRNNError):
    """Training data is missing, empty, unreadable, or too small."""


class ImageError(EdgeRNNError):
    """A file is not an image, or is truncated."""


class AudioError(EdgeRNNError):
    """A file is not a recording that can be read, or sound cannot be recorded."""


class OutputError(EdgeRNNError):
    """A directory cannot be written."""


class OutputExistsError(OutputError):
    """The output path exists already."""


class RunError(EdgeRNNError):
    """A run directory is missing, damaged or of another version."""


class TrainingError(EdgeRNNError):
    """Training cannot continue."""


class DivergedError(TrainingError):
    """The loss or the gradient of a training is not finite."""


class BundleError(EdgeRNNError):
    """A bundle is missing, damaged, of another version or for another engine."""


class EngineError(EdgeRNNError):
    """A graph cannot be loaded or run."""


class StreamError(EdgeRNNError):
    """A stream or its model does not support an operation."""


class SamplingError(StreamError):
    """No token can be drawn from the logits."""


class SnapshotError(StreamError):
    """A snapshot is damaged, or belongs to another model."""


class ExportError(EdgeRNNError):
    """A network cannot be exported to a target."""


class MissingSizeError(ExportError):
    """A target that has no free axes was not told the size of one."""


class ExportWarning(UserWarning):
    """Trials suggest, but cannot prove, that a network does not behave as its contract says."""


class CheckFailedError(EdgeRNNError):
    """A check was carried out and failed."""


class ParityError(CheckFailedError):
    """An artifact does not behave like its source. measured: the figures up to the failure, as `verify` prints them."""

    def __init__(self, message: str, measured: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.measured = measured


class MissingExtraError(EdgeRNNError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        """module: what cannot be imported. extra: that of what was asked for; it gives way to one that has `module`."""
        module = module.partition(".")[0]
        own = EXTRAS.get(module, extra)
        brings = {extra, own} == _SCORED or own in _INCLUDED.get(extra, (extra,))
        extra = extra if brings else own
        super().__init__(
            f"{_PACKAGES.get(module, module)} is not installed: in edgernn's checkout, make install brings everything, "
            f"and pip install -e '.[{extra}]' the extra {extra!r} (see docs/install.md)"
        )


def few(names: Iterable[str]) -> str:
    """Return the first of `names` and the number of the others, since a damaged file may have thousands."""
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def counted(count: int, noun: str, several: str = "") -> str:
    """A number and its noun, which agree: 1 step, 1,000 steps. several: the plural, where it is not noun and s."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def first_line(error: BaseException) -> str:
    """Return a library's message without its chain of causes: its first line, and the next if that ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
