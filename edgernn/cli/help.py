"""The help of a command, as panels of rich.

typer's own rendering takes much longer to import, because it imports rich.markdown and rich.traceback too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

__all__ = ["print_help"]

_LONG, _SHORT, _NEGATIVE, _TYPE = "bold cyan", "bold green", "bold magenta", "bold yellow"
_OPTIONS = ((r"(?<![\w-])--[a-zA-Z][\w-]*", _LONG), (r"(?<![\w-])-[a-zA-Z](?![\w-])", _SHORT))  # within texts


def print_help(command: Any, context: Any) -> None:
    """Print the usage of `command`, its text, and panels of its arguments, options and subcommands.

    Texts are in rich's markup. Colours are shown on a terminal, unless NO_COLOR is set. The width is that of the
    terminal or COLUMNS, and otherwise 80.
    """
    console = Console(highlight=False)
    usage = Text(command.get_usage(context), "bold")
    usage.highlight_regex("^Usage:", "yellow")
    console.print(Padding(usage, 1))
    if command.help:
        console.print(Padding(_prose(command.help), (0, 1, 1, 1)))
    for title, parameters in _panels(command.get_params(context)).items():
        _print_panel(console, title, [_parameter_row(each, context) for each in parameters])
    subcommands = [each for each in getattr(command, "commands", {}).values() if not each.hidden]
    _print_panel(console, "Commands", [_command_row(each) for each in subcommands])


def _prose(text: str) -> Text:
    """The text of a command: its paragraphs are filled whatever the lines of the source, and all but the first dim."""
    first, *others = map(_styled, _paragraphs(text))
    for each in others:
        each.stylize_before("dim")
    return Text("\n\n").join([first, *others])


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n")]


def _styled(markup: str) -> Text:
    text = Text.from_markup(markup, emoji=False)
    for pattern, style in _OPTIONS:
        text.highlight_regex(pattern, style)
    return text


def _panels(parameters: Iterable[Any]) -> dict[str, list[Any]]:
    """The parameters by the title of their panel; those without a title come first."""
    panels: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for each in parameters:
        if not each.hidden:
            title = each.rich_help_panel or f"{each.param_type_name.capitalize()}s"
            panels.setdefault(title, []).append(each)
    return panels


def _parameter_row(parameter: Any, context: Any) -> list[Text]:
    """The cells of an argument or an option: a star if it is required, its names, its type and its text."""
    if parameter.param_type_name == "argument":
        several = parameter.nargs != 1 and parameter.metavar is None
        names = [Text(parameter.display_name_raw + ("..." if several else "")), Text(), Text()]
    else:
        long = [each for each in parameter.opts if each.startswith("--")]
        short = [each for each in parameter.opts if each not in long]
        styles = {_LONG: long, _SHORT: short, _NEGATIVE: parameter.secondary_opts}
        names = [Text(",".join(flags), style) for style, flags in styles.items()]
    kind = Text(parameter.display_type(context), _TYPE)
    kind.highlight_regex("^<|>$", "dim")
    return [Text("*" if parameter.required else "", "red"), *names, kind, _about(parameter)]


def _about(parameter: Any) -> Text:
    """The text of a parameter, with its default or that it is required."""
    text = _styled(" ".join(_paragraphs(parameter.help or "")))
    default = _default(parameter)
    notes = [Text(f"[default: {default}]", "dim")] if default else []
    notes += [Text("[required]", "dim red")] if parameter.required else []
    return Text(" ").join([text, *notes] if text else notes)


def _default(parameter: Any) -> str:
    """The default as it is shown: in the words of `show_default` if it has some; "" for none and for a flag's."""
    shown, default = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return shown
    return str(default) if shown and default is not None and default is not False else ""


def _command_row(command: Any) -> list[Text]:
    """The cells of a subcommand: its name, and the first paragraph of its text."""
    return [Text(command.name, _LONG), _styled(_paragraphs(command.help or "")[0])]


def _print_panel(console: Console, title: str, rows: list[list[Text]]) -> None:
    """Print `rows` in a panel, without the columns that are empty; nothing if there are no rows."""
    if not rows:
        return
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    table = Table.grid(padding=(0, 2))
    for _ in columns:
        table.add_column(overflow="fold")
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    console.print(Panel(table, title=Text(title), title_align="left", border_style="dim"))
