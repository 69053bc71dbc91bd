"""The command line: it parses, calls the library, prints and exits. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from edgernn.cli.demo import demo
from edgernn.cli.evaluate import evaluate
from edgernn.cli.export import export, verify
from edgernn.cli.inspect import inspect
from edgernn.cli.run import run
from edgernn.cli.train import train
from edgernn.errors import CheckFailedError, EdgeRNNError

__all__ = ["app", "execute", "main"]

app = typer.Typer(
    name="edgernn",
    help="Recurrent networks from training to the device, with explicit state and proven exports.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(train, name="train")
for command in (evaluate, export, verify, run, inspect, demo):
    app.command()(command)


def main() -> None:
    """The entry point of the `edgernn` script."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line: 0 when it worked, 1 for a failed check, 2 for wrong usage or bad input."""
    try:
        code = app(list(arguments), prog_name="edgernn", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CheckFailedError as error:
        return _fail(str(error), 1)
    except EdgeRNNError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(_usage(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # whoever read our output has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _fail(message: str, status: int) -> int:
    print(f"edgernn: {' '.join(message.split())}", file=sys.stderr)
    return status
