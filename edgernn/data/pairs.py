"""Read pairs of sentences, each with its translation, from the layouts of common data sets."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import ConfigError, CorpusError, counted, few
from edgernn.media.text import read_text

__all__ = ["DEV", "TEST", "TRAIN", "Pairs", "read_pairs"]

TRAIN, DEV, TEST = "train", "dev", "test"
_NAMES = {TRAIN: (TRAIN,), DEV: ("val", "dev", "valid", "validation"), TEST: (TEST,)}  # of files, by split
_TABLES = (".tsv", ".csv")
_PACKED = ".gz"


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations, in the same order.

    empty: the number of lines without a sentence on either side, which are left out.
    """

    sources: Sequence[str]
    targets: Sequence[str]
    empty: int = 0

    def __len__(self) -> int:
        return len(self.sources)

    def part(self, places: slice) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.sources[places], self.targets[places])

    def at(self, places: Sequence[int]) -> Pairs:
        """Return the pairs at `places`."""
        return Pairs([self.sources[place] for place in places], [self.targets[place] for place in places])


def read_pairs(paths: Sequence[Path], split: str, source: str, target: str) -> Pairs | None:
    """Return the pairs of a split, or None if there are no files of it.

    paths: directories with the files SPLIT.LANGUAGE or SPLIT.LANGUAGE.gz, one line for each sentence; each side may lie
    in another directory; or one file, whose pairs have no split: a TSV file, or a CSV file whose header names
    the languages. split: train, dev (whose files may begin with val), test, or the name of the files without the
    language, such as test_2016_flickr. source, target: the languages.
    Raises CorpusError for files that are missing, cannot be read, or do not fit each other; ConfigError for languages
    that are not given.
    """
    for path in paths:
        if not path.exists():
            raise CorpusError(f"there is no {path}")
    if not (source and target):
        raise ConfigError(f"name the languages of the sentences with --from and --to{_languages(paths)}")
    if source == target:
        raise ConfigError(f"--from {source} and --to {target} are one language: there is nothing to translate")
    files = [path for path in paths if not path.is_dir()]
    if not files:
        return _from_lines(paths, split, source, target)
    if len(paths) > 1:
        raise CorpusError(f"{files[0]} is a file, which holds both sides of the pairs: name it alone")
    return _from_table(files[0], source, target)


def _languages(paths: Sequence[Path]) -> str:
    """Return the languages that the names of files in directories have, as the end of a message."""
    names = {_parted(each)[1] for path in paths if path.is_dir() for each in path.iterdir()}
    return f"; there are files of {few(sorted(names - {''}))}" if names - {""} else ""


def _parted(path: Path) -> tuple[str, str]:
    """Return the split and the language that the name of a file states, "" for none."""
    name = path.name.removesuffix(_PACKED)
    stem, _, language = name.rpartition(".")
    return (stem, language) if stem.startswith(tuple(each for names in _NAMES.values() for each in names)) else ("", "")


def _from_lines(folders: Sequence[Path], split: str, source: str, target: str) -> Pairs | None:
    found: dict[str, dict[str, list[Path]]] = {}  # by split, as files name it, and language
    for path in (each for folder in folders for each in sorted(folder.iterdir()) if each.is_file()):
        stem, language = _parted(path)
        if language in (source, target) and _is_of(stem, split):
            found.setdefault(stem, {}).setdefault(language, []).append(path)
    if not found:
        return None
    if len(found) > 1:
        advice = "keep the files of one of them" if split in (TRAIN, DEV) else "name one of them with --split"
        raise CorpusError(f"the split {split!r} may be {few(sorted(found))}: {advice}")
    ((stem, sides),) = found.items()
    for language in (source, target):
        there = sides.get(language, [])
        if not there:
            where = ", ".join(map(str, folders))
            raise CorpusError(
                f"{where}: there is no {stem}.{language} or {stem}.{language}{_PACKED}{_languages(folders)}"
            )
        if len(there) > 1:
            raise CorpusError(f"{there[0]} and {there[1]} are the same side: keep one of them")
    return _joined(*(sides[language][0] for language in (source, target)))


def _is_of(stem: str, split: str) -> bool:
    """Return whether files that begin with `stem` belong to a split: train, train.lc, val, test_2016_flickr."""
    names = _NAMES.get(split, ())
    return stem == split or any(stem == name or (stem.startswith(name) and stem[len(name)] in "._-") for name in names)


def _joined(source: Path, target: Path) -> Pairs:
    """Return the pairs of two files with one sentence a line."""
    ours, theirs = (_lines(path) for path in (source, target))
    if len(ours) != len(theirs):
        shorter, longer = (source, target) if len(ours) < len(theirs) else (target, source)
        line = min(len(ours), len(theirs)) + 1
        raise CorpusError(
            f"{source} has {counted(len(ours), 'line')} and {target} has {len(theirs):,}, though each line is the "
            f"translation of one line: line {line:,} of {longer} has none in {shorter}"
        )
    return _pairs(zip(range(1, len(ours) + 1), ours, theirs, strict=True), str(source), str(target))


def _lines(path: Path) -> list[str]:
    # Only line feeds separate lines: other characters that Python counts as line breaks would shift one side.
    lines = read_text(_content(path), str(path), None).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == _PACKED else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} is damaged, or not a gzip file: {error}") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None


def _from_table(path: Path, source: str, target: str) -> Pairs:
    suffix = Path(path.name.removesuffix(_PACKED)).suffix.lower()
    if suffix not in _TABLES:
        raise CorpusError(
            f"{path} is neither a TSV nor a CSV file: name one, or a directory with files of both languages"
        )
    text = read_text(_content(path), str(path), None)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines) if suffix == ".csv" else csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}") from None
    header = [cell.strip() for cell in rows[0][1]]
    if {source, target} <= set(header):
        columns, rows = (header.index(source), header.index(target)), rows[1:]
    elif suffix == ".csv":
        raise CorpusError(f"{path} has the columns {few(header)}, and not {source} and {target}")
    else:
        columns = (0, 1)  # without a header, the first column is the source
    return _pairs(_cells(path, rows, columns), f"column {columns[0] + 1} of {path}", f"column {columns[1] + 1}")


def _cells(
    path: Path, rows: Sequence[tuple[int, list[str]]], columns: tuple[int, int]
) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each line and its two sentences."""
    for number, row in rows:
        if row and len(row) <= max(columns):
            raise CorpusError(f"{path}, line {number:,}: there is no column {max(columns) + 1}")
        yield number, *((row[column] for column in columns) if row else ("", ""))


def _pairs(rows: Iterator[tuple[int, str, str]], source: str, target: str) -> Pairs:
    """Return the pairs of numbered lines, without those that are empty on both sides."""
    sources, targets, empty = [], [], 0
    for number, ours, theirs in rows:
        ours, theirs = ours.strip(), theirs.strip()
        if bool(ours) != bool(theirs):
            lacks, has = (source, target) if theirs else (target, source)
            raise CorpusError(f"line {number:,} of {lacks} is empty, and that of {has} is not")
        if ours:
            sources.append(ours)
            targets.append(theirs)
        else:
            empty += 1
    if not sources:
        raise CorpusError(f"{source} has no sentences")
    return Pairs(sources, targets, empty)
