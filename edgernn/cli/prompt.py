"""The prompt of `edgernn run` on a terminal: the user types a text, and the model continues it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgernn.cli.console import on_interrupt
from edgernn.cli.shades import print_piece
from edgernn.cli.spelling import did_you_mean
from edgernn.errors import ConfigError, EdgeRNNError, UnknownTokenError
from edgernn.media.text import as_read

if TYPE_CHECKING:
    from edgernn.runtime.pipelines import Conversation

__all__ = ["Prompt"]

_HELP = """  TEXT                read TEXT after all text so far, and continue it
  (an empty line)     continue
  //TEXT              read /TEXT, a text that begins with a slash
  /temperature 0.8    set the sampling temperature; 0 always takes the most likely token
  /top-k 40           sample from the 40 most likely tokens only; 0 samples from all
  /seed 7             set the seed of the random number generator
  /max-tokens 400     set the maximum number of tokens of an answer
  /reset              forget all text so far and start anew
  /save FILE          write the state to a new file; /save --overwrite FILE replaces an existing one
  /load FILE          continue from the state in a file, with the sampler settings that were saved with it
  /help               show this list
  /quit               end; so does Ctrl-D, and Ctrl-C stops an answer
  Without a value, /temperature, /top-k, /seed and /max-tokens show the present one. A file name with spaces can be
  put in quotation marks."""
_FAREWELLS = ("quit", "exit", "quit()", "exit()")
_QUOTES = ("'", '"')


class Prompt:
    """Reads lines from the terminal and lets the stream of a conversation answer each of them."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stream, self._max_tokens = conversation.stream, conversation.max_tokens
        self._settings: dict[str, Callable[[str | None], None]] = {
            "temperature": partial(self._sampler, "temperature", float),
            "top-k": partial(self._sampler, "top_k", int),
            "seed": partial(self._sampler, "seed", int),
            "max-tokens": self._length,
        }
        self._files: dict[str, Callable[[str], None]] = {"save": self._save, "load": self._load}
        self._actions: dict[str, Callable[[], None]] = {"reset": self._reset, "help": self._help}

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
            if line.strip() in _FAREWELLS:
                print("  to leave, type /quit or Ctrl-D")
                continue
            before = self._stream.snapshot()
            try:
                self._answer(line)
            except (EdgeRNNError, OSError) as error:
                self._stream.restore(before)
                print(f"  {error}")
            except KeyboardInterrupt:  # the second one, or one while a long text is read
                self._stream.restore(before)
                print("\n  (stopped; the state is what it was before this line)")

    def _answer(self, line: str) -> None:
        if line.startswith("/") and not line.startswith("//"):
            self._command(line)
            return
        stream, stop, shading = self._stream, self._conversation.stop, self._conversation.shading
        text = as_read(line.removeprefix("/") if line.startswith("//") else line, "what you typed")
        unknown = self._conversation.unknown
        try:
            if shading is None:
                stream.prefill(text, unknown=unknown)
                read: Sequence[str] = [text]
            else:
                read = [*shading.prefill(stream, text, unknown=unknown)]
        except UnknownTokenError as error:
            raise UnknownTokenError(f"{error}; edgernn run with --unknown skip leaves out such characters") from None
        if stream.logits is None:
            raise ConfigError("there is no text to continue yet: type a beginning")
        stopped: list[bool] = []
        for piece in read if self._conversation.echo else ():
            print_piece(piece)
        decode = stream.decode if shading is None else partial(shading.decode, stream)
        with on_interrupt(lambda: stopped.append(True)):
            for piece in decode(self._max_tokens, stop):
                print_piece(piece)
                if stopped:
                    break
        print("\n", flush=True)

    def _command(self, line: str) -> None:
        name, _, rest = line[1:].strip().partition(" ")
        value = rest.strip()
        if name in self._settings:
            self._settings[name](value or None)
        elif name in self._files:
            if not value:
                raise ConfigError(f"/{name} needs the name of a file")
            self._files[name](value)
        elif name in self._actions and not value:
            self._actions[name]()
        elif name in self._actions:
            raise ConfigError(f"/{name} takes no value")
        else:
            meant = did_you_mean(name, [f"/{each}" for each in (*self._settings, *self._files, *self._actions, "quit")])
            raise ConfigError(
                f"/{name[:40]} is not a command; {f'{meant} ' if meant else ''}/help lists all, "
                f"and a text that begins with a slash is typed as /{line[:40]}"
            )

    def _sampler(self, setting: str, kind: type[int] | type[float], value: str | None) -> None:
        if value is not None:
            changes: dict[str, Any] = {setting: _number(kind, value)}
            self._stream.sampler = replace(self._stream.sampler, **changes)
        print(f"  {setting.replace('_', '-')}: {_shown(getattr(self._stream.sampler, setting))}")

    def _length(self, value: str | None) -> None:
        if value is not None:
            length = _number(int, value)
            if length < 1:
                raise ConfigError(f"{value[:40]} is not a whole number of at least 1")
            self._max_tokens = int(length)
        print(f"  max-tokens: {self._max_tokens}")

    def _help(self) -> None:
        print(_HELP)

    def _reset(self) -> None:
        self._stream.reset()
        print("  back at the initial state")

    def _save(self, name: str) -> None:
        option, _, rest = name.partition(" ")
        overwrite = option == "--overwrite"
        file = _path(rest.strip() if overwrite else name)
        if not overwrite and file.is_file():
            raise ConfigError(f"{file} exists; choose another name, or replace it with /save --overwrite {name}")
        self._stream.save(file)
        print(f"  the state is written to {file}")

    def _load(self, name: str) -> None:
        file, before = _path(name), self._stream.sampler
        self._stream.load(file)
        print(f"  continuing from the state in {file}")
        after = self._stream.sampler
        names = [field.name for field in fields(after) if field.compare]
        for each in names:
            if (value := getattr(after, each)) != getattr(before, each):
                print(f"  {each.replace('_', '-')}: {_shown(value)}, as it was saved")


def _shown(value: Any) -> str:
    """A setting of the sampler in words."""
    return "random" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"


def _number(kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{text[:40]} is not a {'whole ' if kind is int else ''}number") from None


def _path(name: str) -> Path:
    """The file that was typed, which may have a pair of quotation marks around it, or begin with ~ for the home.

    Raises ConfigError if there is no name, or a quotation mark is not closed.
    """
    ends = {each for each in (name[:1], name[-1:]) if each in _QUOTES}
    if ends and (len(name) < 2 or name[0] != name[-1]):
        raise ConfigError(f"a quotation mark is not closed: {name[:100]}")
    if ends:
        name = name[1:-1]
    if not name:
        raise ConfigError("the name of the file is empty")
    path = Path(name)
    with suppress(RuntimeError):  # of a user who has no home
        path = path.expanduser()
    return path
