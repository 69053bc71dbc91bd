"""Photographs without labels, in folders or drawn, and the part of them that is held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.parts import choose_part, held_out_at_random
from edgernn.data.scenes import draw_scenes
from edgernn.drawn_names import SCENES
from edgernn.errors import CorpusError, ImageError, counted, few
from edgernn.media.image import SUFFIXES, read_image, resized

__all__ = ["Album", "Photographs", "open_album"]

_PARTS = {"train": TRAIN, "dev": DEV, "val": DEV, "test": TEST}  # by the words in names of lists and of folders
_FEWEST = 2  # photographs, of which one is held out
_FINER = 4  # times the wanted side: what a photograph is decoded to before it is resized

Read = Callable[[int], Array]  # returns RGB bytes (height, width, 3); its argument is the largest side that is of use


class Photographs(NamedTuple):
    """Square photographs, bytes (photographs, side, side, 3), and what the user should know about them."""

    images: Array
    notes: tuple[str, ...] = ()


class Album:
    """Where photographs are: by part where a data set has parts, else all of them under None.

    name: of the data set in messages.
    """

    def __init__(self, name: str, parts: dict[str | None, list[tuple[str, Read]]]) -> None:
        self.name, self._parts = name, parts

    @property
    def parts(self) -> list[str]:
        """The names of the parts; [] if there are none."""
        return [part for part in self._parts if part is not None]

    def training(self, held_out: float, seed: int) -> tuple[Album, Album]:
        """Return the photographs to train on, and those to evaluate on: a part dev, or else some chosen at random.

        held_out: the fraction of those that are chosen. Raises CorpusError for data that is too small.
        """
        found = self._parts.get(TRAIN if self.parts else None, [])
        if not found:
            raise CorpusError(f"{self.name} has no part {TRAIN}; it has {', '.join(self.parts)}: list one in train.txt")
        if DEV in self._parts:
            return self._only(found), self._only(self._parts[DEV])
        if len(found) < _FEWEST:
            raise CorpusError(f"{self.name} has one photograph to train on, and one must be held out: add more")
        train, dev = ([found[place] for place in places] for places in held_out_at_random(len(found), held_out, seed))
        return self._only(train), self._only(dev)

    def part(self, split: str) -> tuple[Album, list[str]]:
        """Return the photographs of a part, and what the user should know; all of them where there are no parts.

        Raises CorpusError for a part that the data does not have.
        """
        part, notes = choose_part(self.name, self.parts, split)
        return self._only(self._parts[part]), notes

    def read(self, side: int, most: int | None, progress: Callable[[float, str], None]) -> Photographs:
        """Return photographs, each resized to `side` × `side` pixels; at most the first `most`.

        Files that are no images are left out, with a note. Raises CorpusError if none is left.
        """
        files = [each for files in self._parts.values() for each in files]
        images: list[Array] = []
        lost: list[str] = []
        wanted = len(files) if most is None else min(most, len(files))
        for name, read in files:
            if len(images) == wanted:
                break
            try:
                images.append(resized(read(_FINER * side), side, side))
            except ImageError:
                lost.append(name)
            progress((len(images) + len(lost)) / len(files), f"{len(images):,} of {wanted:,} photographs")
        if not images:
            raise CorpusError(f"{self.name}: none of {counted(len(lost), 'file')} can be read as an image: {few(lost)}")
        notes = (f"{few(lost)}: left out, because {_they(lost)} cannot be read as an image",) if lost else ()
        return Photographs(np.stack(images), notes)

    def _only(self, files: list[tuple[str, Read]]) -> Album:
        return Album(self.name, {None: files})


def open_album(source: str) -> Album:
    """Find the photographs in a folder, or return drawn scenes for their name.

    The parts are listed in text files whose names have the word train, dev (or val) or test, one name of a photograph
    in each line; or are subfolders whose names begin so. Raises CorpusError if there are no photographs.
    """
    if source == SCENES:
        scenes = draw_scenes()
        return Album(SCENES, {part: [(str(each), each.read) for each in scenes[part]] for part in (TRAIN, DEV, TEST)})
    folder = Path(source)
    if not folder.exists():
        raise CorpusError(f"there is no {source}")
    if not folder.is_dir():
        raise CorpusError(f"{source} is a file: name a folder of photographs")
    files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    if not files:
        raise CorpusError(f"{source} has no photographs: name a folder with files that end in {', '.join(SUFFIXES)}")
    parts = _listed(folder, files) or _in_folders(folder, files) or {None: files}
    return Album(source, {part: [(each.name, _reader(each)) for each in found] for part, found in parts.items()})


def _reader(path: Path) -> Read:
    return lambda largest_side: read_image(path, largest_side)


def _listed(folder: Path, files: Sequence[Path]) -> dict[str | None, list[Path]]:
    """Return the photographs that lists name, by part; {} without lists."""
    by_name = {each.name: each for each in files}
    parts: dict[str | None, list[Path]] = {}
    for path in sorted(folder.glob("*.txt")):
        part = next((part for word, part in _PARTS.items() if word in path.stem.lower()), None)
        if part is None:
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"{path} cannot be read as a list of photographs: {error}") from None
        found = [by_name[name] for name in (Path(line.strip()).name for line in lines) if name in by_name]
        if found:
            parts[part] = [*parts.get(part, []), *found]
    return parts


def _in_folders(folder: Path, files: Sequence[Path]) -> dict[str | None, list[Path]]:
    """Return the photographs in subfolders that are named after parts, if all are; else {}."""
    parts: dict[str | None, list[Path]] = {}
    for path in files:
        top = path.relative_to(folder).parts[0].lower()
        part = next((part for word, part in _PARTS.items() if top.startswith(word)), None)
        if part is None or path.parent == folder:
            return {}
        parts.setdefault(part, []).append(path)
    return parts


def _they(lost: Sequence[str]) -> str:
    return "it" if len(lost) == 1 else "they"
