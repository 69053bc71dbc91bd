import errno
import os
from pathlib import Path

import pytest

from edgernn import atomic
from edgernn.atomic import new_directory, replace_file
from edgernn.errors import OutputError, OutputExistsError, TrainingError
from edgernn.paths import Kind


def strangers(directory: Path) -> list[str]:
    return [name for name in listing(directory) if name != "mark"]


def new(path: Path, *, overwrite: bool = False):
    return new_directory(path, overwrite=overwrite, kind=Kind.DIRECTORY, strangers=strangers)


def write(path: Path, text: str, **options: bool) -> None:
    with new(path, overwrite=options.get("overwrite", False)) as directory:
        (directory / "mark").write_text(text)
        if options.get("fail"):
            raise ValueError("on purpose")


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_appears_whole(tmp_path):
    write(tmp_path / "a" / "b", "one")
    assert (tmp_path / "a" / "b" / "mark").read_text() == "one"
    assert listing(tmp_path / "a") == ["b"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="on purpose"):
        write(tmp_path / "b", "one", fail=True)
    assert listing(tmp_path) == []


def test_an_existing_directory_is_kept_unless_told(tmp_path):
    write(tmp_path / "b", "one")
    with pytest.raises(OutputExistsError, match=r"b exists; .* overwrite=True \(--overwrite\)"):
        write(tmp_path / "b", "two")
    with pytest.raises(ValueError, match="on purpose"):
        write(tmp_path / "b", "two", overwrite=True, fail=True)
    assert (tmp_path / "b" / "mark").read_text() == "one"
    write(tmp_path / "b", "two", overwrite=True)
    assert (tmp_path / "b" / "mark").read_text() == "two"
    assert listing(tmp_path) == ["b"]


def test_a_foreign_directory_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(OutputExistsError, match="home holds files that edgernn did not write there: letter"):
        write(tmp_path / "home", "two", overwrite=True)
    (tmp_path / "file").write_text("dear")
    with pytest.raises(OutputExistsError, match="file exists and is not a directory"):
        write(tmp_path / "file", "two", overwrite=True)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "two", overwrite=True)
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_a_link_is_never_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(OutputExistsError, match=r"link is a symbolic link to .*there; choose another name"):
        write(tmp_path / "link", "two", overwrite=True)


def test_what_cannot_be_written_is_called_as_it_was_typed(tmp_path, monkeypatch):
    """Neither the temporary directory nor an absolute path is in the message."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"^new/b cannot be written: No space left on device$"), new(Path("new/b")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(TrainingError, match=r"^new/b/mark is damaged$"), new(Path("new/b")) as directory:
        raise TrainingError(f"{directory / 'mark'} is damaged")
    with pytest.raises(FileNotFoundError), new(Path("new/b")):
        Path("elsewhere").read_bytes()
    Path("notes").write_text("")
    with pytest.raises(OutputError, match=r"^notes/b cannot be written: notes is a file$"):
        write(Path("notes/b"), "one")
    assert listing(tmp_path) == ["notes"]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "f"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "f", b"three")
    assert listing(tmp_path) == ["f"]


def test_an_interrupted_swap_puts_the_old_directory_back(tmp_path, monkeypatch):
    write(tmp_path / "b", "one")
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    rename = Path.rename

    def interrupted(self, to):
        if self.name.startswith(".b.") and not self.name.endswith(".old"):
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "b", "two", overwrite=True)
    assert (tmp_path / "b" / "mark").read_text() == "one"
    assert listing(tmp_path) == ["b"]


def test_without_an_exchange_the_swap_takes_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    write(tmp_path / "b", "one")
    write(tmp_path / "b", "two", overwrite=True)
    assert (tmp_path / "b" / "mark").read_text() == "two"
    assert listing(tmp_path) == ["b"]


def test_a_directory_that_appears_meanwhile_is_left_alone(tmp_path):
    slow = new(tmp_path / "b")
    (slow.__enter__() / "mark").write_text("slow")
    write(tmp_path / "b", "fast")
    with pytest.raises(OutputExistsError, match="appeared meanwhile"):
        slow.__exit__(None, None, None)
    assert (tmp_path / "b" / "mark").read_text() == "fast"
    assert listing(tmp_path) == ["b"]


def test_content_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    replace_file(tmp_path / "f", b"one")
    assert calls == ["fsync", "replace", "fsync"]
