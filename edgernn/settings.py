"""Settings as frozen dataclasses, in which each field is also an option of the command line.

The default, help text, bounds and choices of an option are written once, at its field. The command line, the error
messages and the tables in the documentation are generated from there. A message names a setting by its option:
--learning-rate is the setting `learning_rate`.
"""

from __future__ import annotations

import keyword
import math
import re
import types
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

from edgernn import records
from edgernn.errors import ConfigError

__all__ = ["Declared", "Option", "Settings", "declared_options", "flag_of", "option", "redefault"]

_LARGEST = 10**12  # upper bound of any number whose option declares none
_EXACT = 10**15  # smaller integers are written out in full; larger powers of two are written as powers
_QUOTED = 40  # characters of a value in a message

# The types of options besides tuple: the accepted Python types, and the noun in messages.
_TYPES: Mapping[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    Path: ((Path,), "a path"),
}


@dataclass(frozen=True)
class Option:
    """The help text of a field on the command line, and the values that it accepts.

    help: one or more whole sentences. flag: the name of the option, if it is not the field's. choices: all accepted
    values. pattern, form: a regular expression of texts that are accepted beside the choices, and their form in words.
    low, high: inclusive bounds. above, below: exclusive bounds. unset: the meaning of None.
    """

    help: str
    flag: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    unset: str = ""

    def accepts(self, value: Any) -> bool:
        """Return whether `value`, which has the right type, is within the choices and the bounds."""
        if self.choices:
            return value in self.choices or bool(self.pattern and re.fullmatch(self.pattern, value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        highest = self.high if self.has_upper_bound else _LARGEST
        return self.low <= value <= highest and self.above < value < self.below

    @property
    def listed(self) -> str:
        """The accepted values of an option with choices in words, such as "lstm, gru, or FILE.py:CLASS"."""
        return ", ".join(self.choices) + (f", or {self.form}" if self.form else "")

    @property
    def has_upper_bound(self) -> bool:
        """Whether the option declares an upper bound. Without one, values end at 10^12."""
        return min(self.high, self.below) < math.inf

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "at least 0 and below 1"; empty without bounds."""
        parts = [
            *([f"at least {_number(self.low)}"] if self.low > -math.inf else []),
            *([f"above {_number(self.above)}"] if self.above > -math.inf else []),
            *([f"at most {_number(self.high)}"] if self.high < math.inf else []),
            *([f"below {_number(self.below)}"] if self.below < math.inf else []),
        ]
        return " and ".join(parts)


def option(default: Any, help: str, **about: Any) -> Any:
    """Return a dataclass field that is also an option of the command line; `about` has the other fields of `Option`."""
    return field(default=default, metadata={"option": Option(help, **about)})


def redefault(settings: type[Settings], name: str, default: Any) -> Any:
    """Return a field like the option `name` of the settings class `settings`, with another default."""
    declared = {each.name: each for each in fields(settings)}[name]
    return field(default=default, metadata=declared.metadata, kw_only=declared.kw_only)


@dataclass(frozen=True)
class Settings:
    """The base class of all settings. Raises ConfigError, naming the option, for a value that is not accepted."""

    def __post_init__(self) -> None:
        for declared in declared_options(type(self)).values():
            value = getattr(self, declared.field.name)
            if value is not None or not declared.optional:
                declared.check(value)

    def but(self, **changes: Any) -> Self:
        """Return a copy of these settings with `changes`. Raises ConfigError for a setting that does not exist."""
        known = {each.name for each in fields(self)}
        if unknown := sorted(changes.keys() - known):
            raise ConfigError(f"there is no setting {unknown[0]!r}; there is {', '.join(sorted(known))}")
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Any, what: str = "the settings") -> Self:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        values = records.mapping(value, what)
        values.update({name: tuple(item) for name, item in values.items() if isinstance(item, list)})
        for declared in declared_options(cls).values():
            item = values.get(declared.field.name)
            if declared.type is Path and isinstance(item, str):
                values[declared.field.name] = Path(item)
        return records.construct(cls, values, what)


class Declared(NamedTuple):
    """An option as a settings class declares it.

    type: the type of its values, without None. optional: whether None is accepted.
    """

    settings: type[Settings]
    field: Field[Any]
    option: Option
    type: Any
    optional: bool

    @property
    def flag(self) -> str:
        """The option as it is typed, such as "--learning-rate"."""
        return flag_of(self.option.flag or self.field.name)

    @property
    def several(self) -> bool:
        """Whether the option can be given more than once, so that its value is a tuple."""
        return get_origin(self.type) is tuple

    @property
    def accepted(self) -> str:
        """The accepted values in words, such as "a whole number of at least 1"."""
        if self.option.choices:
            return f"one of {self.option.listed}"
        noun = "a list" if self.several else _TYPES[self.type][1]
        bounds = self.option.bounds.replace("at least", "of at least", 1)
        return f"{noun} {bounds}".strip()

    def parse(self, text: str) -> int | float:
        """The number that `text` writes. Raises ConfigError, quoting the text, unless the option accepts it."""
        try:
            number: int | float = self.type(text)
        except (ValueError, OverflowError):
            raise ConfigError(f"{self.flag} {_quoted(text)} is not {self.accepted}") from None
        self.check(number, typed=text)
        return number

    def check(self, value: Any, typed: str | None = None) -> None:
        """Raise ConfigError unless the option accepts `value`. typed: how it is quoted; as Python writes it if None."""
        quoted = _quoted(value if typed is None else typed)
        kinds = (tuple,) if self.several else _TYPES[self.type][0]
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.type is not bool):
            raise ConfigError(f"{self.flag} {quoted} is not {self.accepted}")
        if not self.option.accepts(value):
            unbounded = not (self.option.choices or self.option.has_upper_bound)
            too_large = unbounded and isinstance(value, int | float) and value > _LARGEST
            limit = f"{' and' if self.option.bounds else ' of'} at most 10^12" if too_large else ""
            raise ConfigError(f"{self.flag} {quoted} is not {self.accepted}{limit}")


def flag_of(name: str) -> str:
    """Return the option of the field `name`, as it is typed."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def declared_options(*kinds: type[Settings]) -> Mapping[str, Declared]:
    """Return all options of settings classes by parameter name, in order; no two classes declare the same one.

    The parameter of an option that is a word of Python, such as --from, ends in an underscore.
    """
    return _declared(kinds)


@cache
def _declared(kinds: tuple[type[Any], ...]) -> Mapping[str, Declared]:
    found: dict[str, Declared] = {}
    for kind in kinds:
        hints = get_type_hints(kind)
        for each in fields(kind):
            about = each.metadata.get("option")
            if about is None:
                continue
            name = (about.flag or each.name).replace("-", "_")
            name = f"{name}_" if keyword.iskeyword(name) else name
            assert name not in found, f"{name} is declared by {found[name].settings.__name__} and {kind.__name__}"
            found[name] = declared = Declared(kind, each, about, *_without_none(hints[each.name]))
            assert declared.several or declared.type in _TYPES, f"{name} is of type {declared.type}"
    return types.MappingProxyType(found)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(hint))
    return hint, False


def _quoted(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _number(value: float) -> str:
    """Return a bound as messages write it: 1,000,000, 0.5 or 2^64."""
    if not float(value).is_integer():
        return f"{value:,g}"
    whole = int(value)
    if whole > _EXACT and whole & (whole - 1) == 0:
        return f"2^{whole.bit_length() - 1}"
    return f"{whole:,}"
