"""The prompt of `edgernn run` on a terminal: the user types a text, and the model continues it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.cli.console import on_interrupt
from edgernn.errors import ConfigError, EdgeRNNError
from edgernn.media.text import as_read

if TYPE_CHECKING:
    from edgernn.runtime import Stream

__all__ = ["Prompt"]

_HELP = """  text                the model reads what you type, and continues it
  (an empty line)     continue
  /temperature 0.8    set the sampling temperature; 0 always takes the most likely token
  /reset              go back to the initial state
  /save FILE          write the state to a file
  /load FILE          continue from the state in a file
  /help               show this list
  /quit               end; so does Ctrl-D, and Ctrl-C stops an answer"""


class Prompt:
    """Reads lines from the terminal and lets one stream answer each of them.

    max_tokens, stop: how each answer ends.
    """

    def __init__(self, stream: Stream, max_tokens: int, stop: tuple[str, ...]) -> None:
        self._stream, self._max_tokens, self._stop = stream, max_tokens, stop
        self._commands: dict[str, Callable[..., None]] = {
            "temperature": self._temperature,
            "reset": self._reset,
            "save": self._save,
            "load": self._load,
            "help": self._help,
        }

    def run(self) -> None:
        """Read and answer until the end of the input, or /quit."""
        with suppress(ImportError):
            import readline  # noqa: F401 - importing it gives `input` a history
        print("Type the beginning of a text and press Enter; /help lists the commands.")
        while True:
            try:
                line = input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print("  (Ctrl-D or /quit ends the program)")
                continue
            except UnicodeDecodeError as error:
                encoding, place, byte = error.encoding.upper(), error.start, error.object[error.start]
                print(f"  what you typed is not {encoding}: byte {place} is 0x{byte:02x}")
                continue
            if line.strip() == "/quit":
                return
            before = self._stream.snapshot()
            try:
                self._answer(line)
            except (EdgeRNNError, OSError) as error:
                print(f"  {error}")
            except KeyboardInterrupt:  # the second one, or one while a long text is read
                self._stream.restore(before)
                print("\n  (stopped; the state is what it was before this line)")

    def _answer(self, line: str) -> None:
        if line.startswith("/"):
            self._command(line)
            return
        line = as_read(line, "what you typed")
        self._stream.prefill(line)
        if self._stream.logits is None:
            raise ConfigError("there is no text to continue yet: type a beginning")
        stopped: list[bool] = []
        print(line, end="", flush=True)
        with on_interrupt(lambda: stopped.append(True)):
            for text in self._stream.decode(self._max_tokens, self._stop):
                print(text, end="", flush=True)
                if stopped:
                    break
        print("\n", flush=True)

    def _command(self, line: str) -> None:
        try:
            name, *arguments = shlex.split(line[1:])
        except ValueError:
            name, arguments = line[1:], []
        if name not in self._commands or len(arguments) != (name in ("temperature", "save", "load")):
            raise ConfigError(f"{line.strip()[:40]} is not a command; the commands are\n{_HELP}")
        self._commands[name](*arguments)

    def _temperature(self, value: str) -> None:
        try:
            temperature = float(value)
        except ValueError:
            raise ConfigError(f"{value[:40]} is not a number") from None
        self._stream.sampler = replace(self._stream.sampler, temperature=temperature)
        print(f"  the temperature is {temperature:g}")

    def _reset(self) -> None:
        self._stream.reset()
        print("  back at the initial state")

    def _save(self, file: str) -> None:
        self._stream.save(Path(file))
        print(f"  the state is written to {file}")

    def _load(self, file: str) -> None:
        self._stream.load(Path(file))
        print(f"  continuing from the state in {file}")

    def _help(self) -> None:
        print(_HELP)
