"""Options of commands, generated from the fields of settings classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args, get_type_hints

import typer
import typer.core
import typer.main

from edgernn.cli.spelling import did_you_mean
from edgernn.errors import ConfigError
from edgernn.settings import Declared, Option, Settings, declared_options, flag_of

__all__ = [
    "RENAMED_OPTIONS",
    "Command",
    "DeferredCommand",
    "Given",
    "Group",
    "command_from",
    "default_text",
    "help_text",
    "number",
    "option_table",
    "renamed",
    "unknown_option",
    "value_text",
]

# Options that have another name now, or became an argument. They are refused, with the new name.
RENAMED_OPTIONS: Mapping[str, str] = {
    "--lanes": "--batch-size",
    "--images": "--batch-size",
    "--chunk": "--bptt",
    "--views": "--augmentations",
    "--thaw": "--unfreeze-layers",
    "--reward": "--reward-fraction",
    "--encoder-rate": "--encoder-lr-scale",
    "--prompt": "INPUT",
}
# What other programs call the same option.
_SYNONYMS: Mapping[str, str] = {
    "target": "to",
    "format": "to",
    "output": "out",
    "epochs": "passes",
    "iterations": "steps",
    "dtype": "precision",
    "force": "overwrite",
}


@dataclass(frozen=True)
class Given:
    """The options that were given on a command line, by parameter name."""

    values: Mapping[str, Any]

    @property
    def flags(self) -> list[str]:
        """The options as they are typed, in order."""
        return [flag_of(name) for name in self.values]

    def of(self, *kinds: type[Settings]) -> dict[str, Any]:
        """Return the values of options that the settings classes `kinds` declare, by field name."""
        declared = declared_options(*kinds)
        return {declared[name].field.name: value for name, value in self.values.items() if name in declared}

    def refuse_others(self, *kinds: type[Settings], what: str) -> None:
        """Raise ConfigError if an option was given that none of `kinds` declares.

        what: the objects of these options.
        """
        others = [flag_of(name) for name in self.values if name not in declared_options(*kinds)]
        if others:
            verb = "is not an option" if len(others) == 1 else "are not options"
            raise ConfigError(f"{', '.join(others)} {verb} for {what}")


def command_from(
    function: Callable[..., None],
    *kinds: type[Settings],
    titles: Mapping[type[Settings], str] | None = None,
    shown: Callable[[Declared], str] | None = None,
    without: Collection[str] = (),
) -> Callable[..., None]:
    """Return the command `function`, with the options of the settings classes `kinds` instead of its parameter `given`.

    When the command is invoked, `given` holds only the options that were given, so that defaults are written in one
    place. Options that several of `kinds` declare become one option.
    titles: the title of each of `kinds`, such as "caption", if options belong to different titles.
    shown: returns the default of an option for the help; `default_text` if it is None. without: the names of options
    that the command does not have.
    """
    merged = {name: each for name, each in _merged(kinds).items() if name not in without}
    own = inspect.signature(function, eval_str=True).parameters
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in own.values():
        if parameter.name == "given":
            parameters += [_parameter(name, each, titles or {}, shown or default_text) for name, each in merged.items()]
        else:
            hint = hints[parameter.name]
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
    assert not merged.keys() & own.keys(), f"{merged.keys() & own.keys()} are parameters of {function} already"

    def command(**values: Any) -> None:
        given = {name: values.pop(name) for name in merged}
        chosen = {name: _value(merged[name][0], value) for name, value in given.items() if value is not None}
        function(**values, given=Given(chosen))

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect.signature
    return command


def number(name: str, kind: type[int] | type[float] = int, **bounds: Any) -> Callable[[str], Any]:
    """What reads the number of an option that no settings class declares. bounds: as in `settings.Option`.

    It raises ConfigError, naming the option, for anything else than a number within the bounds.
    """
    return Declared(Settings, field(), Option("", name, **bounds), kind, optional=False).parse


class _HelpInPanels:
    """The part of a command that prints its help, with `print_help` in place of typer's own rendering."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, as `print_help` does."""
        from edgernn.cli.help import print_help

        print_help(self, ctx)


class Command(_HelpInPanels, typer.core.TyperCommand):
    """A command that refuses an empty path, which Python takes for the current directory."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left. Raises ConfigError for an empty path."""
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        parameters: list[Any] = list(self.params)
        for parameter in parameters:
            kind = parameter.type_descriptor.annotation
            value = given.get(parameter.name)
            if Path in (kind, *get_args(kind)) and "" in (value if isinstance(value, list | tuple) else [value]):
                name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
                raise ConfigError(f"{name or parameter.name.upper()} is empty: name a file or a directory")
        return super().parse_args(ctx, args)


class Group(_HelpInPanels, typer.core.TyperGroup):
    """A command that has subcommands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options. A flag of typer's own has False as its default, as others have.

        typer leaves it at None, and would import pydantic to convert that, before the help of any subcommand.
        """
        parameters: list[Any] = super().get_params(ctx)
        for each in parameters:
            if each.default is None and each.is_flag:
                each.default = False
        return parameters


class DeferredCommand(Command):
    """A command whose callback makes the function that is the command.

    It does so when the command is invoked, so that the help of the application does not import the declarations of
    options.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context of the command that the callback makes."""
        assert self.callback is not None
        app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        app.command(self.name, cls=Command)(self.callback())
        return typer.main.get_command(app).make_context(info_name, args, parent, **extra)


def renamed(error: typer.TyperException) -> str | None:
    """Return the error message for an option that does not exist but is the old name of an option of the command."""
    old = getattr(error, "option_name", "")
    new = RENAMED_OPTIONS.get(old)
    context = getattr(error, "ctx", None)
    if new is None or context is None:
        return None
    if not any(new in (*parameter.opts, parameter.metavar) for parameter in context.command.params):
        return None
    return (
        f"{old} is now {new}"
        if new.startswith("-")
        else f"{old} is now the argument {new}: type the text without {old}"
    )


def unknown_option(error: typer.TyperException) -> str | None:
    """Return the error message for an option that the command does not have, with those that are meant."""
    typed, context = getattr(error, "option_name", ""), getattr(error, "ctx", None)
    if context is None or getattr(error, "possibilities", None) is None:  # only an error of this kind has them
        return None
    flags = [flag for each in context.command.params for flag in (*each.opts, *each.secondary_opts)]
    options = [flag for flag in flags if flag.startswith("--")]
    synonym = flag_of(_SYNONYMS.get(typed.lstrip("-"), ""))
    meant = f"did you mean {synonym}?" if synonym in options else did_you_mean(typed, options)
    return f"No such option: {typed}" + (f"; {meant}" if meant else "")


def option_table(*kinds: type[Settings], shown: Callable[[Declared], str] | None = None) -> str:
    """Return the options of settings classes as a Markdown table, for the documentation.

    shown: returns the default of an option for the table; `default_text` if it is None.
    """
    declared = declared_options(*kinds).values()
    if not declared:
        return "There are no options.\n"
    rows = ["| option | default | what it does |", "|---|---|---|"]
    for each in declared:
        default = (shown or default_text)(each) or ("off" if each.type is bool else "")
        limits = f" Accepts {each.accepted}." if each.option.bounds else ""
        cells = (f"`{each.flag}`", default, help_text(each) + limits)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def default_text(declared: Declared) -> str:
    """Return the default of an option for the help; "" if there is none to show."""
    default = declared.field.default
    return declared.option.unset if default is None or default is False or default in ((), "") else value_text(default)


def value_text(value: Any) -> str:
    """Return the value of an option for the help: "on" or "off", short numbers, and lists with commas."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def help_text(declared: Declared) -> str:
    """Return the help of an option, with its choices."""
    return declared.option.help + _choices(declared.option)


def _choices(option: Option) -> str:
    return f" One of: {option.listed}." if option.choices else ""


def _merged(kinds: tuple[type[Settings], ...]) -> dict[str, list[Declared]]:
    """Return the options of `kinds` by parameter name, each with all its declarations."""
    merged: dict[str, list[Declared]] = {}
    for kind in dict.fromkeys(kinds):
        for name, declared in declared_options(kind).items():
            merged.setdefault(name, []).append(declared)
    for name, each in merged.items():
        kinds_of = {(declared.type, declared.option.choices) for declared in each}
        assert len(kinds_of) == 1, f"{name} is declared with several types or choices"
    return merged


def _parameter(
    name: str, all_declared: list[Declared], titles: Mapping[type[Settings], str], shown: Callable[[Declared], str]
) -> inspect.Parameter:
    """Return the command's parameter that typer turns into an option. Its default is None: not given."""
    declared = all_declared[0]
    kind: Any = GenericAlias(list, get_args(declared.type)[:1]) if declared.several else declared.type
    default = _defaults(all_declared, titles, shown)
    text = _help(all_declared, titles).replace("[", r"\[")
    same = len({each.accepted for each in all_declared}) == 1
    about = typer.Option(
        f"{declared.flag}/--no-{declared.flag[2:]}" if declared.field.default is True else declared.flag,
        parser=declared.parse if same and declared.type in (int, float) else None,
        help=text,
        show_default=default or False,
        rich_help_panel=_panel(all_declared, titles),
    )
    annotation: Any = Annotated[kind | None, about]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(all_declared: list[Declared], titles: Mapping[type[Settings], str]) -> str:
    """Return the help; where declarations differ, all of them, each as "For the task draw: ..."."""
    titled: dict[str, list[str]] = {}
    for each in all_declared:
        titled.setdefault(each.option.help, []).append(titles.get(each.settings, each.settings.__name__))
    if len(titled) == 1:
        return help_text(all_declared[0])
    sentences = [
        f"For the task{'s' * (len(names) > 1)} {' and '.join(names)}: {text[0].lower()}{text[1:]}"
        for text, names in titled.items()
    ]
    return " ".join(sentences) + _choices(all_declared[0].option)


def _defaults(
    all_declared: list[Declared], titles: Mapping[type[Settings], str], shown: Callable[[Declared], str]
) -> str:
    """Return the default; if declarations differ, the others follow with their titles: "400; caption: 20"."""
    first = shown(all_declared[0])
    others = [
        f"{titles.get(each.settings, each.settings.__name__)}: {shown(each)}"
        for each in all_declared[1:]
        if shown(each) != first
    ]
    return "; ".join([first, *others] if first else others)


def _panel(all_declared: list[Declared], titles: Mapping[type[Settings], str]) -> str | None:
    """Return the heading in the help for an option that belongs to one title only; None for others."""
    if len(set(titles.values())) < 2 or len(all_declared) > 1:
        return None
    title = titles.get(all_declared[0].settings)
    return None if title is None else f"Options for the task {title}"


def _value(declared: Declared, value: Any) -> Any:
    return tuple(value) if declared.several else Path(value) if declared.type is Path else value
