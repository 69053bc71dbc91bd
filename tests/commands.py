"""The commands of the application, for tests of what is written about them."""

from __future__ import annotations

from edgernn.cli.options import DeferredCommand


def commands(command, path=()):
    """Every command of the application, built, by its path."""
    found = {path: command} if path else {}
    for name, inner in getattr(command, "commands", {}).items():
        if isinstance(inner, DeferredCommand):
            inner = inner.make_context(name, ["--help"], resilient_parsing=True).command
        found |= commands(inner, (*path, name))
    return found


def command_options(command):
    """The options of every command of the application, by its name, such as "train language"."""
    return {
        " ".join(path): {opt for parameter in each.params for opt in (*parameter.opts, *parameter.secondary_opts)}
        for path, each in commands(command).items()
    }
