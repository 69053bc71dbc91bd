"""The caller's choices of quantisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase

from edgernn.errors import ConfigError

__all__ = ["BLOCKS", "Quantization"]

BLOCKS = (16, 32, 64, 128)
_KEPT = "it was to be kept (--keep)"
_EXACT = "the network needs single precision"
_NO_OPTIONS = ("name", "exact")
_OF = {"block": "int4"}  # the precision to which an option belongs


@dataclass(frozen=True)
class Quantization:
    """How weight matrices are stored.

    name: fp32, fp16, int8 or int4. keep: patterns, as for file names, of matrices that stay in single precision. block:
    at int4, the number of inputs that share a scale. exact: names of matrices that the network needs in single
    precision; no option of the caller.

    Raises ConfigError for an option that does not belong to the precision.
    """

    name: str = "fp32"
    keep: tuple[str, ...] = ()
    block: int = 32
    exact: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ConfigError(f"block {self.block} (--block) is not one of {', '.join(map(str, BLOCKS))}")
        if "keep" in self.changed and self.name == "fp32":
            raise ConfigError(
                "keep (--keep) leaves matrices at fp32, as the precision fp32 leaves all of them: leave it out"
            )
        for option in _OF.keys() & self.changed:
            if self.name != _OF[option]:
                raise ConfigError(
                    f"{option} (--{option}) belongs to the precision {_OF[option]}, not to {self.name}: leave it out"
                )

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the options that differ from their defaults."""
        options = (field for field in fields(self) if field.name not in _NO_OPTIONS)
        return tuple(option.name for option in options if getattr(self, option.name) != option.default)

    def exempting(self, exact: Iterable[str]) -> Quantization:
        """Return the same choices for a graph whose matrices `exact` stay in single precision."""
        return replace(self, exact=frozenset(exact))

    def reason_to_keep(self, matrix: str) -> str:
        """Return why the matrix of this name stays in single precision, or ""."""
        if matrix in self.exact:
            return _EXACT
        return _KEPT if any(fnmatchcase(matrix, pattern) for pattern in self.keep) else ""
