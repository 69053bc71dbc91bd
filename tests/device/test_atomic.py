from pathlib import Path

import pytest

from edgernn.atomic import new_directory, replace_file
from edgernn.errors import OutputExistsError


def write(path: Path, text: str, **options: bool) -> None:
    with new_directory(path, overwrite=options.get("overwrite", False), marker="mark") as directory:
        (directory / "mark").write_text(text)
        if options.get("fail"):
            raise ValueError


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_appears_whole(tmp_path):
    write(tmp_path / "a" / "b", "one")
    assert (tmp_path / "a" / "b" / "mark").read_text() == "one"
    assert listing(tmp_path / "a") == ["b"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):  # noqa: PT011
        write(tmp_path / "b", "one", fail=True)
    assert listing(tmp_path) == []


def test_an_existing_directory_is_kept_unless_told(tmp_path):
    write(tmp_path / "b", "one")
    with pytest.raises(OutputExistsError, match=r"b exists; .* --overwrite"):
        write(tmp_path / "b", "two")
    with pytest.raises(ValueError):  # noqa: PT011
        write(tmp_path / "b", "two", overwrite=True, fail=True)
    assert (tmp_path / "b" / "mark").read_text() == "one"
    write(tmp_path / "b", "two", overwrite=True)
    assert (tmp_path / "b" / "mark").read_text() == "two"
    assert listing(tmp_path) == ["b"]


def test_a_foreign_directory_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(OutputExistsError, match="home holds no mark"):
        write(tmp_path / "home", "two", overwrite=True)
    (tmp_path / "file").write_text("dear")
    with pytest.raises(OutputExistsError, match="file exists and is not a directory"):
        write(tmp_path / "file", "two", overwrite=True)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "two", overwrite=True)
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "f"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "f", b"three")
    assert listing(tmp_path) == ["f"]
