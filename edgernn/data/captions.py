"""Read images with captions from the layouts of common data sets."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgernn import records
from edgernn.contract import Array
from edgernn.data.words import words
from edgernn.errors import CorpusError, FormatError, counted
from edgernn.media.image import LARGEST_SIDE, read_image

__all__ = ["DEV", "TEST", "TRAIN", "CaptionDataset", "CaptionedImage", "ImageFile", "read_captions"]

TRAIN, DEV, TEST = "train", "dev", "test"
_FOLDERS = ("images", "Images", "Flickr8k_Dataset", "Flicker8k_Dataset", "train2014", "val2014", "train2017", "val2017")
_FLICKR = "Flickr8k.token.txt"
_LISTS = {split: f"Flickr_8k.{split}Images.txt" for split in (TRAIN, DEV, TEST)}
_SPLITS = {"restval": TRAIN, "val": DEV, "valid": DEV, "validation": DEV}  # other names of splits
_IMAGE_COLUMNS = ("image", "image_name", "file_name", "filename", "file")
_CAPTION_COLUMNS = ("caption", "captions", "comment", "text")
_HELD_OUT = 10  # every tenth image is held out if no list assigns splits
_MOST_HELD_OUT = 1000


class CaptionedImage(Protocol):
    """An image with captions."""

    @property
    def name(self) -> str:
        """The name of the image in messages."""

    @property
    def captions(self) -> Sequence[str]:
        """The captions of the image, at least one."""

    @property
    def key(self) -> str:
        """A text that changes when the image changes."""

    def read(self, largest_side: int = LARGEST_SIDE) -> Array:
        """Return bytes (height, width, 3), scaled down to `largest_side`. Raises ImageError if the image is damaged."""


@dataclass(frozen=True)
class ImageFile:
    """An image in a file."""

    path: Path
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def key(self) -> str:
        """Path, size and modification time."""
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns}"

    def read(self, largest_side: int = LARGEST_SIDE) -> Array:
        """Return bytes (height, width, 3), scaled down to `largest_side`. Raises ImageError if the image is damaged."""
        return read_image(self.path, largest_side)


@dataclass(frozen=True)
class CaptionDataset:
    """Images with captions, by split.

    missing: names of images that have captions but no file. empty_captions: the number of captions without words.
    """

    splits: Mapping[str, Sequence[CaptionedImage]]
    missing: Sequence[str] = ()
    empty_captions: int = 0

    def __getitem__(self, split: str) -> Sequence[CaptionedImage]:
        """Return the images of a split. Raises CorpusError if there are none."""
        split = _SPLITS.get(split, split)
        if not self.splits.get(split):
            there = ", ".join(name for name, images in self.splits.items() if images)
            lost = f"; of {counted(len(self.missing), 'image')} with captions there is no file" if self.missing else ""
            raise CorpusError(f"there is no split {split!r}; the data set has {there or 'no images'}{lost}")
        return self.splits[split]


def read_captions(path: Path) -> CaptionDataset:
    """Read a directory in the layout of Flickr8k, a JSON file in the layout of COCO or Karpathy, or a CSV file.

    Raises CorpusError if `path` is none of these, or has no images.
    """
    if not path.exists():
        raise CorpusError(f"there is no {path}")
    try:
        builder = _Builder(path if path.is_dir() else path.parent)
        for name, split, caption in _find_reader(path)(path):
            builder.add(name, split, caption)
    except (OSError, UnicodeDecodeError, FormatError, csv.Error) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from None
    return builder.finish(path)


_Described = Iterator[tuple[str, str | None, str]]  # file name, split or None, caption


def _find_reader(path: Path) -> Callable[[Path], _Described]:
    if path.is_dir():
        if (path / _FLICKR).is_file():
            return _flickr
        raise CorpusError(f"{path} has no {_FLICKR}: name a directory that has one, or a JSON or CSV file")
    if path.suffix == ".json":
        return _json
    if path.suffix in (".csv", ".tsv", ".txt"):
        return _csv
    raise CorpusError(f"{path} is not a data set of captions: name a directory with {_FLICKR}, or a .json or .csv file")


def _flickr(path: Path) -> _Described:
    lists = {
        name: split
        for split, file in _LISTS.items()
        if (path / file).is_file()
        for name in (path / file).read_text(encoding="utf-8-sig").split()
    }
    rest = None if TRAIN in lists.values() else TRAIN
    for number, line in enumerate((path / _FLICKR).read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab:
            raise FormatError(f"line {number} of {_FLICKR} is not NAME#NUMBER, a tab and a caption")
        name = name.rpartition("#")[0] or name
        split = lists.get(name, rest)
        if split is not None:
            yield name, split, caption


def _json(path: Path) -> _Described:
    values = records.mapping(records.parse(path.read_bytes(), path.name), path.name)
    images = [records.mapping(each, "an image") for each in records.items(values.get("images"), "images")]
    if "annotations" not in values:
        yield from _karpathy(images)
        return
    names = {str(each.get("id")): records.text(each.get("file_name"), "file_name") for each in images}
    for each in records.items(values["annotations"], "annotations"):
        annotation = records.mapping(each, "an annotation")
        image = str(annotation.get("image_id"))
        if image not in names:
            raise FormatError(f"an annotation belongs to the image {image[:40]}, which the file does not list")
        yield names[image], None, records.text(annotation.get("caption"), "caption")


def _karpathy(images: Iterable[Mapping[str, Any]]) -> _Described:
    for image in images:
        name = records.text(image.get("filename"), "filename")
        folder = image.get("filepath")
        split = records.text(image.get("split", TRAIN), "split")
        for each in records.items(image.get("sentences"), "sentences"):
            raw = records.text(records.mapping(each, "a sentence").get("raw"), "raw")
            yield f"{folder}/{name}" if isinstance(folder, str) else name, _SPLITS.get(split, split), raw


def _csv(path: Path) -> _Described:
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, delimiter="\t" if "\t" in sample else "," if "," in sample else "|", strict=True)
        columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        image = next((columns[name] for name in _IMAGE_COLUMNS if name in columns), None)
        caption = next((columns[name] for name in _CAPTION_COLUMNS if name in columns), None)
        if image is None or caption is None:
            raise FormatError("its first line does not name the columns image and caption")
        split = columns.get("split")
        for row in rows:
            if None in row:
                raise FormatError(f"line {rows.line_num} has more columns than the first: quote captions with commas")
            value = (row.get(split) or "").strip().lower() if split else ""
            yield (row[image] or "").strip(), _SPLITS.get(value, value) or None, row[caption] or ""


@dataclass
class _Builder:
    """Collects captions by image and finds the image files."""

    root: Path
    splits: dict[str, str | None] = field(default_factory=dict)
    captions: dict[str, list[str]] = field(default_factory=dict)
    empty_captions: int = 0

    def add(self, name: str, split: str | None, caption: str) -> None:
        self.splits.setdefault(name, split)
        try:
            found = words(caption)
        except UnicodeEncodeError:
            raise FormatError(f"a caption of {name} has half a character: {caption[:40]!r}") from None
        if found:
            self.captions.setdefault(name, []).append(" ".join(caption.split()))
        else:
            self.empty_captions += 1

    def finish(self, path: Path) -> CaptionDataset:
        found: dict[str | None, list[CaptionedImage]] = {}
        missing = []
        for name, captions in self.captions.items():
            file = self._file(name)
            if file is None:
                missing.append(name)
            else:
                found.setdefault(self.splits[name], []).append(ImageFile(file, tuple(captions)))
        if not found:
            more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
            where = f": {missing[0]}{more} not there; names are relative to {self.root}" if missing else ""
            raise CorpusError(f"{path} has no images with captions{where}")
        return CaptionDataset(_split(found), missing, self.empty_captions)

    def _file(self, name: str) -> Path | None:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            return None
        for base in (self.root, self.root.parent):
            for folder in ("", *_FOLDERS):
                file = base / folder / name
                with suppress(OSError):  # the name may be too long for a file
                    if file.is_file():
                        return file
        return None


def _split(found: dict[str | None, list[CaptionedImage]]) -> dict[str, Sequence[CaptionedImage]]:
    """Group images by split. If no list names a split "dev", every tenth image without a split is held out."""
    known = {name: images for name, images in found.items() if name is not None}
    known.setdefault(TRAIN, []).extend(found.get(None, []))
    if not known.get(DEV) and len(known[TRAIN]) > 1:
        train = known[TRAIN]
        held_out = set(range(0, len(train), max(_HELD_OUT, len(train) // _MOST_HELD_OUT)))
        known[DEV] = [image for place, image in enumerate(train) if place in held_out]
        known[TRAIN] = [image for place, image in enumerate(train) if place not in held_out]
    return dict(known)
