"""Labelled sequences in every layout, parts, held-out groups, and what is refused."""

import gzip
import sys
import wave
import zipfile
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from PIL import Image

from edgernn.data.sequences import (
    Example,
    PackedRecord,
    PackedSequences,
    SequenceDataset,
    hold_out,
    parts,
    read_sequences,
)
from edgernn.errors import CorpusError, FormatError, MissingExtraError

SAMPLES = np.arange(-50, 50, dtype=np.int16)


def record(path, samples=SAMPLES, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def pack(path, **changed):
    arrays = {
        "values": np.arange(12, dtype=np.uint8).reshape(6, 2),
        "ends": np.int32([2, 3, 6]),
        "labels": np.int16([1, 0, 1]),
        "classes": np.array(["walk", "sit"]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
    return path


def clip(path, shade, frames=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.new("RGB", (4, 4), (shade, 20 * index, 0)) for index in range(frames))
    first.save(path, save_all=True, append_images=others)


def named(dataset):
    return [(each.value, dataset.classes[each.label]) for each in dataset.examples]


def toy(labels, groups=None):
    groups = groups or [""] * len(labels)
    examples = [
        Example(f"e{place}", str(place), label, group)
        for place, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    return SequenceDataset("text", tuple("abcdefgh"[: max(labels) + 1]), examples)


# Sound


def test_recordings_are_labelled_by_their_names(tmp_path):
    for name in ("yes_1.wav", "no_1.wav", "yes_2_3.WAV", "no_2.wav"):
        record(tmp_path / name)
    write(tmp_path / "README.txt", "about")
    write(tmp_path / "LICENSE", "free")
    found = read_sequences(tmp_path)
    assert (found.kind, found.rate, found.classes) == ("sound", 8000, ("no", "yes"))
    assert [found.classes[each.label] for each in found.examples] == ["no", "no", "yes", "yes"]
    assert found.counts().tolist() == [2, 2]
    np.testing.assert_array_equal(found.examples[0].value, SAMPLES)
    assert found.examples[0].value.dtype == np.int16
    assert found.notes == ("LICENSE, README.txt: ignored, since the data are in WAV files",)


def test_folders_name_classes_before_names_of_files_do(tmp_path):
    for name in ("loud/yes_1.wav", "loud/sub/2.wav", "soft/no.wav", "._x/soft.wav", "loud/._1.wav"):
        record(tmp_path / name)
    found = read_sequences(tmp_path)
    assert found.classes == ("loud", "soft")
    assert found.counts().tolist() == [2, 1]


def test_other_rates_become_that_of_most_recordings_or_the_one_asked_for(tmp_path):
    pytest.importorskip("soxr")
    for name, rate in (("a_1", 8000), ("a_2", 8000), ("b_1", 16000), ("b_2", 8000)):
        record(tmp_path / f"{name}.wav", rate=rate)
    found = read_sequences(tmp_path)
    assert found.rate == 8000
    assert [len(each.value) for each in found.examples] == [100, 100, 50, 100]
    assert found.notes == ("1 recording at 16000 samples per second, resampled to 8000",)
    found = read_sequences(tmp_path, rate=16000)
    assert found.rate == 16000
    assert [len(each.value) for each in found.examples] == [200, 200, 100, 200]


def test_without_soxr_only_other_rates_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    for name in ("a_1", "a_2", "b_1"):
        record(tmp_path / f"{name}.wav")
    assert len(read_sequences(tmp_path).examples) == 3
    with pytest.raises(MissingExtraError, match="soxr is not installed"):
        read_sequences(tmp_path, rate=16000)


def test_clipped_recordings_are_noted(tmp_path):
    record(tmp_path / "a_1.wav", np.int16([0] + [32767] * 5))
    record(tmp_path / "a_2.wav")
    record(tmp_path / "b_1.wav")
    assert read_sequences(tmp_path).notes == ("clipped, at full scale for several samples: a_1.wav",)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"only text", "is not a WAV file"), (None, "has no samples"), (b"RIFF\x24\0\0\0WAVE", "is cut off")],
)
def test_a_damaged_recording_among_many_is_named(tmp_path, data, message):
    for name in ("a_1", "a_2", "b_1", "b_2"):
        record(tmp_path / f"{name}.wav", SAMPLES[:0] if (name, data) == ("b_1", None) else SAMPLES)
    if data is not None:
        (tmp_path / "b_1.wav").write_bytes(data)
    with pytest.raises(CorpusError, match=rf"b_1\.wav {message}"):
        read_sequences(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path):
    record(tmp_path / "a_1.wav")
    (tmp_path / "b_1.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(CorpusError, match=r"there is no .*b_1.wav"):
        read_sequences(tmp_path)


# Text


def test_a_text_file_is_a_class_and_a_line_an_example(tmp_path):
    write(tmp_path / "Irish.txt", "Ó Briain\n\n  Kelly \r\nKelly\n")
    write(tmp_path / "v1.5.txt", "a\u2028b\n")
    with gzip.open(tmp_path / "Greek.txt.gz", "wt", encoding="utf-8") as file:
        file.write("Ιωάννου\n")
    write(tmp_path / "readme.txt", "about")
    write(tmp_path / "LICENSE_2.txt", "free")
    write(tmp_path / "Noticeable.txt", "yes")
    write(tmp_path / "Nobody.txt", " \n\n")
    found = read_sequences(tmp_path)
    assert (found.kind, found.classes, found.rate) == ("text", ("Greek", "Irish", "Noticeable", "v1.5"), None)
    irish = [(each, "Irish") for each in ("Ó Briain", "Kelly", "Kelly")]
    assert named(found) == [("Ιωάννου", "Greek"), *irish, ("yes", "Noticeable"), ("a\u2028b", "v1.5")]
    assert found.examples[2].name == "line 3 of Irish.txt"
    assert found.notes == (
        "without a line of text: Nobody.txt",
        "LICENSE_2.txt, readme.txt: ignored, since the data are in txt files",
    )


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_texts_and_labels_come_from_csv(tmp_path, name):
    text = '\ufeffid,Text,label\n1,"one, two",a\n\n2,"with\na break",b\n3,,b\n4,last,a\n'
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(text)
    found = read_sequences(tmp_path / name)
    assert found.kind == "text"
    assert named(found) == [("one, two", "a"), ("with\na break", "b"), ("last", "a")]
    assert found.notes == (f"1 row of {name} without a text, ignored",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\none,a\ntwo\n", r"line 3 of a.csv has 1 column, not 2"),
        ("text,label\none,a\ntwo,b,c\n", r"line 3 of a.csv has 3 columns, not 2"),
        ("text,label\none,\n", r"line 2 of a.csv has no label"),
        ('text,label\none,"a\nb"\n', r"line 3 of a.csv has the label 'a\\nb', which cannot be printed: rename it"),
        ('text,label\n"one,a\n', r"line 2 of a.csv is not CSV"),
        ("text,label\n", r"a.csv has no sequences: its CSV files are empty"),
        ("text,label,Label\none,a,b\n", r"a.csv has two columns of the same name"),
        ("text,label\none,a\ntwo,a\n", r"a.csv has one class, a: two are needed"),
        ("text,label\none,a\ntwo,b\n", r"a.csv has a single example of each of its 2 classes, such as a"),
        (
            "Words,label\none,a\n",
            r"a.csv has the columns words, label; it needs the columns text and label or the columns seq",
        ),
        ("text\none\n", r"a.csv has the column text; it needs the columns text and label or"),
        ("text;label\none;a\n", r"a.csv has the column text;label; it needs the columns text and label or"),
        ("", r"a.csv has no line of names; it needs the columns text and label or"),
    ],
)
def test_csv_files_that_are_no_data_are_refused(tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        read_sequences(write(tmp_path / "a.csv", text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "b.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(CorpusError, match=r"a.txt is not UTF-8: .*convert it to UTF-8$"):
        read_sequences(tmp_path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(CorpusError, match=r"b.txt.gz cannot be read: Not a gzipped file"):
        read_sequences(tmp_path)


# Numbers


def test_rows_of_an_npz_become_sequences(tmp_path):
    pack(tmp_path / "a.npz", subjects=np.array(["p1", "p2", "p1"]))
    write(tmp_path / "MANUAL.txt", "about")
    found = read_sequences(tmp_path)
    assert (found.kind, found.classes) == ("numbers", ("walk", "sit"))
    assert [each.value.tolist() for each in found.examples] == [[[0, 1], [2, 3]], [[4, 5]], [[6, 7], [8, 9], [10, 11]]]
    assert {each.value.dtype for each in found.examples} == {np.dtype(np.float32)}
    assert [(each.label, each.group) for each in found.examples] == [(1, "p1"), (0, "p2"), (1, "p1")]
    assert found.notes == ("MANUAL.txt: ignored, since the data are in npz files",)


@pytest.mark.parametrize("values", [np.int16([1, 2, 3, 4, 5, 6]), np.float64([1, 2, 3, 4, 5, 6])])
def test_one_channel_needs_no_axis(tmp_path, values):
    found = read_sequences(pack(tmp_path / "a.npz", values=values, groups=np.int8([7, 8, 9])))
    assert [each.value.shape for each in found.examples] == [(2, 1), (1, 1), (3, 1)]
    assert [each.group for each in found.examples] == ["7", "8", "9"]


def test_arrays_may_be_stored_transposed(tmp_path):
    values = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(6, 2))
    assert read_sequences(pack(tmp_path / "a.npz", values=values)).examples[1].value.tolist() == [[4, 5]]


def test_other_arrays_of_a_file_are_ignored(tmp_path):
    assert len(read_sequences(pack(tmp_path / "a.npz", notes=np.array([{"by": "hand"}]))).examples) == 3


def test_files_are_joined_by_the_names_of_their_classes(tmp_path):
    pack(tmp_path / "a.npz")
    pack(tmp_path / "b.npz", classes=np.array(["run", "walk"]))
    found = read_sequences(tmp_path)
    assert found.classes == ("walk", "sit", "run")
    assert [each.label for each in found.examples] == [1, 0, 1, 0, 2, 0]
    pack(tmp_path / "b.npz", values=np.zeros((6, 3)))
    with pytest.raises(CorpusError, match=r"b.npz has 3 channels, and other files have 2"):
        read_sequences(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": None}, "has no classes: it needs values"),
        ({"values": np.zeros((6, 2, 2))}, r"values are float64\[6, 2, 2\], not numbers \(rows, channels\)"),
        ({"values": np.array(["a"] * 6)}, r"values are <U1\[6, 1\], not numbers"),
        ({"values": np.zeros((6, 0))}, r"values are float64\[6, 0\], not numbers"),
        ({"values": np.array([None] * 6)}, "values in .* holds Python objects: save an array of numbers or texts"),
        ({"values": np.full((6, 2), np.nan)}, "sequence 0 of a.npz has values that are not finite"),
        ({"values": np.full((6, 2), 1e300)}, "sequence 0 of a.npz has values that are not finite"),
        ({"ends": np.int32([2, 3, 7])}, "ends do not rise to 6, the number of rows"),
        ({"ends": np.int32([2, 3, 5])}, "ends do not rise to 6"),
        ({"ends": np.int32([2, 2, 6])}, "ends do not rise to 6"),
        ({"ends": np.int32([0, 3, 6])}, "ends do not rise to 6"),
        ({"ends": np.uint8([5, 3, 6])}, "ends do not rise to 6"),
        ({"values": np.complex64([[1], [2], [3]])}, "holds complex64, and not real numbers or texts"),
        ({"ends": np.float32([2, 3, 6])}, "ends and labels are float32 and int16, not whole numbers"),
        ({"ends": np.int32(6)}, r"ends have the shape \[\], not \[1\]: one value for each sequence"),
        ({"labels": np.int16([0, 1])}, r"labels have the shape \[2\], not \[3\]: one value for each sequence"),
        ({"labels": np.int16([0, -1, 1])}, "sequence 1 has the label -1, and there are 2 classes"),
        ({"labels": np.int16([0, 1, 2])}, "sequence 2 has the label 2, and there are 2 classes"),
        ({"subjects": np.array(["p"])}, r"subjects have the shape \[1\], not \[3\]: one value for each sequence"),
        ({"classes": np.array(["walk", "walk"])}, "classes are not a list of different names"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changed, message):
    with pytest.raises(CorpusError, match=message):
        read_sequences(pack(tmp_path / "a.npz", **changed))


def test_files_that_are_no_npz_are_refused(tmp_path):
    path = pack(tmp_path / "a.npz")
    whole = path.read_bytes()
    for data in (b"", b"text", whole[:200], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=r"a.npz is not an .npz file"):
            read_sequences(path)
    random = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        try:
            assert len(read_sequences(path).examples) == 3
        except CorpusError as error:
            assert "a.npz" in str(error)  # noqa: PT017 - most damage is found by the checksum, some is none


def test_headers_that_lie_are_refused(tmp_path):
    """The files are well-formed archives, so no checksum finds what is wrong in them."""
    with zipfile.ZipFile(pack(tmp_path / "a.npz", subjects=np.array(["p", "q", "p"]))) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    random, refused = Random(0), 0
    for _ in range(500):
        files = {name: bytearray(data) for name, data in whole.items()}
        victim = files[random.choice(sorted(files))]
        for _ in range(random.randint(1, 3)):
            victim[random.randrange(10, len(victim))] = random.choice(b"0123456789()<>|fiuSUO,' \xff\0")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, bytes(data))
        try:
            assert len(read_sequences(tmp_path / "a.npz").examples) == 3
        except CorpusError as error:
            assert "a.npz" in str(error)  # noqa: PT017 - some damage changes nothing that matters
            refused += 1
    assert refused > 300


NUMBERS = "label,sequence,group,x,y\nup,1,p,0,1\nup,1,p,2,3\ndown,2,q,4,5e1\nup,3,p,-6,7\n"


def test_rows_of_csv_become_sequences(tmp_path):
    found = read_sequences(write(tmp_path / "a.csv", NUMBERS))
    assert (found.kind, found.classes) == ("numbers", ("down", "up"))
    assert [each.value.tolist() for each in found.examples] == [[[0, 1], [2, 3]], [[4, 50]], [[-6, 7]]]
    assert [(each.label, each.group) for each in found.examples] == [(1, "p"), (0, "q"), (1, "p")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("up,1,p,8,9", "line 6 of a.csv: the sequence 1 began earlier: its rows must follow each other"),
        ("down,3,p,8,9", "line 6 of a.csv: the label or the group changes within the sequence 3"),
        ("up,3,q,8,9", "line 6 of a.csv: the label or the group changes within the sequence 3"),
        ("up,3,p,8,nine", "line 6 of a.csv: 'nine' is not a number"),
        ("up,3,p,8,", "line 6 of a.csv: '' is not a number"),
        ("up,3,p,8,nan", "line 6 of a.csv: nan is not a finite number of 32 bits"),
        ("up,3,p,8,1e39", "line 6 of a.csv: 1e39 is not a finite number of 32 bits"),
        ("up,3,p,8", "line 6 of a.csv has 4 columns, not 5"),
        (",4,p,8,9", "sequence 4 of a.csv has no label"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_their_line(tmp_path, row, message):
    with pytest.raises(CorpusError, match=message):
        read_sequences(write(tmp_path / "a.csv", f"{NUMBERS}{row}\n"))


def test_a_header_of_another_kind_names_what_the_kind_needs(tmp_path):
    path = write(tmp_path / "a.csv", NUMBERS)
    with pytest.raises(CorpusError, match="the columns label, sequence, group, x, y; it needs the columns text and la"):
        read_sequences(path, "text")
    with pytest.raises(
        CorpusError, match=r"a.csv has the columns text, label; it needs the columns sequence and label"
    ):
        read_sequences(write(tmp_path / "a.csv", "text,label\none,a\n"), "numbers")


def test_channels_are_found_by_their_names(tmp_path):
    write(tmp_path / "a.csv", NUMBERS)
    write(tmp_path / "b.csv", "Y,X,sequence,label\n8,7,1,down\n")
    found = read_sequences(tmp_path)
    assert (found.channels, found.examples[-1].value.tolist()) == (("x", "y"), [[7, 8]])
    other = read_sequences(tmp_path, channels=["y", "x"])
    assert (other.channels, other.examples[-1].value.tolist()) == (("y", "x"), [[8, 7]])
    for header, message in (
        ("sequence,label,y", r"b.csv has no channel x: it has y, and other files have x, y"),
        ("sequence,label,x,z", r"b.csv has no channel y: it has x, z, and other files have x, y"),
        ("sequence,label,y,z,x", r"b.csv has the channel z too, and other files have x, y: remove it"),
        ("sequence,label,y,", r"b.csv has a column without a name: name it, or remove it"),
    ):
        write(tmp_path / "b.csv", f"{header}\n1,up,2,3,4\n")
        with pytest.raises(CorpusError, match=message):
            read_sequences(tmp_path)
    with pytest.raises(CorpusError, match=r"a.csv has no channel z: it has x, y, and the model reads x, z"):
        read_sequences(tmp_path / "a.csv", channels=["x", "z"])


def test_csv_files_have_one_kind(tmp_path):
    write(tmp_path / "a.csv", NUMBERS)
    write(tmp_path / "b.csv", "text,label\none,a\ntwo,a\nthree,b\n")
    with pytest.raises(CorpusError, match=r"b.csv has texts and a.csv has numbers: name one, or choose a kind"):
        read_sequences(tmp_path)
    assert [each.value for each in read_sequences(tmp_path, "text").examples] == ["one", "two", "three"]
    assert len(read_sequences(tmp_path, "numbers").examples) == 3
    with pytest.raises(CorpusError, match="has no channels"):
        read_sequences(write(tmp_path / "c.csv", "sequence,label\n1,up\n"))


# Video


def test_clips_are_gifs_or_folders_of_frames_in_folders_of_classes(tmp_path):
    clip(tmp_path / "in" / "a.gif", 10)
    clip(tmp_path / "in" / "b.gif", 20, frames=2)
    for number in (10, 9):
        folder = tmp_path / "out" / "first"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"{number}.png")
    (tmp_path / "chart.png").write_bytes(b"ignored")
    write(tmp_path / "table.csv", NUMBERS)
    found = read_sequences(tmp_path)
    assert (found.kind, found.classes) == ("video", ("in", "out"))
    assert [each.value.shape for each in found.examples] == [(3, 4, 4, 3), (2, 4, 4, 3), (2, 4, 4, 3)]
    assert [each.value[0, 0, 0, 0] for each in found.examples] == [10, 20, 9]
    assert found.notes == ("chart.png, table.csv: ignored, since the data are in clips",)
    Image.new("RGB", (5, 4)).save(tmp_path / "out" / "first" / "11.png")
    with pytest.raises(CorpusError, match=r"11.png has 5 × 4 pixels, and 9.png has 4 × 4"):
        read_sequences(tmp_path)


# Formats, parts and classes


def test_formats_are_found_in_one_order(tmp_path):
    write(tmp_path / "a.txt", "one\ntwo\n")
    write(tmp_path / "b.txt", "three\n")
    assert read_sequences(tmp_path).kind == "text"
    write(tmp_path / "c.csv", NUMBERS)
    assert read_sequences(tmp_path).kind == "numbers"
    assert named(read_sequences(tmp_path, "text"))[0] == ("one", "a")
    clip(tmp_path / "x" / "1.gif", 1)
    clip(tmp_path / "x" / "2.gif", 1)
    clip(tmp_path / "y" / "1.gif", 1)
    assert read_sequences(tmp_path).kind == "video"
    for name in ("a_1.wav", "a_2.wav", "b_1.wav"):
        record(tmp_path / name)
    assert read_sequences(tmp_path).kind == "sound"
    pack(tmp_path / "a.npz")
    assert len(read_sequences(tmp_path).examples[0].value) == 2
    assert read_sequences(tmp_path, "sound").kind == "sound"
    assert read_sequences(tmp_path, "video").kind == "video"


def test_data_without_sequences_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"there is no .*gone"):
        read_sequences(tmp_path / "gone")
    write(tmp_path / "a.json", "{}")
    with pytest.raises(CorpusError, match=r"has no sequences; it has .json: name npz files, WAV files"):
        read_sequences(tmp_path)
    with pytest.raises(CorpusError, match=r"has no sequences of the kind sound; it has .json"):
        read_sequences(tmp_path, "sound")
    with pytest.raises(CorpusError, match="smells is not a kind of sequences: choose sound, text, numbers, video"):
        read_sequences(tmp_path, "smells")
    for name in ("one.wav", "two.wav"):
        record(tmp_path / name)
    with pytest.raises(CorpusError, match=r"single example of each of its 2 classes, .* or name them CLASS_NAME.wav"):
        read_sequences(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("train.npz", "val.npz", "test.npz"),
        ("training-1.npz", "DEV/x.npz", "test/x.npz"),
        ("trainset.npz", "valid.npz", "TestData.npz"),
    ],
)
def test_parts_are_read_by_their_names(tmp_path, names):
    pack(tmp_path / names[0])
    pack(tmp_path / names[1], labels=np.int16([0, 0, 1]))
    pack(tmp_path / names[2], labels=np.int16([0, 0, 0]))
    assert parts(tmp_path) == ("train", "dev", "test")
    assert [each.label for each in read_sequences(tmp_path).examples] == [1, 0, 1]
    assert [each.label for each in read_sequences(tmp_path, split="dev").examples] == [0, 0, 1]
    test = read_sequences(tmp_path, split="test", classes=("sit", "walk"))
    assert [each.label for each in test.examples] == [1, 1, 1]
    assert test.notes == ("there is no example of the class sit",)


def test_folders_of_recordings_are_parts(tmp_path):
    for name in ("train/yes/1.wav", "train/yes/2.wav", "train/no_1.wav", "validation/no/1.wav", "noise/1.wav"):
        record(tmp_path / name)
    assert parts(tmp_path) == ("train", "dev")
    found = read_sequences(tmp_path)
    assert (found.classes, found.counts().tolist()) == (("no", "yes"), [1, 2])
    assert found.notes == ("noise/1.wav: ignored, since the data are in WAV files",)
    with pytest.raises(CorpusError, match="has no part test; it has train, dev"):
        read_sequences(tmp_path, split="test")


def test_classes_whose_names_begin_like_parts_are_classes(tmp_path):
    for name in ("train/1.wav", "train/2.wav", "bus/1.wav"):
        record(tmp_path / "vehicles" / name)
    assert parts(tmp_path / "vehicles") == ()
    assert read_sequences(tmp_path / "vehicles", split="test").classes == ("bus", "train")
    for name in ("trains", "devices"):
        write(tmp_path / "words" / f"{name}.txt", "a\nb\n")
    assert parts(tmp_path / "words") == ()
    write(tmp_path / "words" / "train.txt", "a\n")
    assert read_sequences(tmp_path / "words").classes == ("devices", "train", "trains")


def test_a_single_part_is_read_where_none_is_asked_for(tmp_path):
    path = pack(tmp_path / "test.npz")
    assert parts(tmp_path) == ("test",)
    assert len(read_sequences(tmp_path).examples) == 3
    assert len(read_sequences(path, split="train").examples) == 3
    pack(tmp_path / "dev.npz")
    with pytest.raises(CorpusError, match="has no part train; it has dev, test"):
        read_sequences(tmp_path)


def test_examples_of_classes_that_the_model_does_not_know_are_refused(tmp_path):
    write(tmp_path / "Irish.txt", "Kelly\n")
    write(tmp_path / "Greek.txt", "Pappas\n")
    found = read_sequences(tmp_path, classes=("Scottish", "Irish", "Greek"))
    assert [each.label for each in found.examples] == [2, 1]
    assert found.notes == ("there is no example of the class Scottish",)
    with pytest.raises(
        CorpusError, match=r"line 1 of Greek.txt is of the class Greek, which the model does not know: Irish"
    ):
        read_sequences(tmp_path, classes=("Irish",))


def test_progress_counts_files(tmp_path):
    for name in ("a_1", "a_2", "b_1", "b_2"):
        record(tmp_path / f"{name}.wav")
    seen = []
    read_sequences(tmp_path, progress=lambda done, figures: seen.append((done, figures)))
    assert seen == [(0.25, "1 of 4 files"), (0.5, "2 of 4 files"), (0.75, "3 of 4 files"), (1, "4 of 4 files")]


def test_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    for name in ("a_1", "a_2", "b_1", "b_2"):
        record(tmp_path / f"{name}.wav", np.zeros(1000, np.int16))
    monkeypatch.setattr("edgernn.data.sequences.found.MOST_BYTES", 6000)
    with pytest.raises(CorpusError, match=r"the sequences up to .*b_1.wav take more than"):
        read_sequences(tmp_path)
    monkeypatch.setattr("edgernn.data.sequences.found.MOST_BYTES", 1 << 30)
    monkeypatch.setattr("edgernn.data.sequences.dataset.MOST_BYTES", 12000)
    with pytest.raises(CorpusError, match="at 48000 samples per second the recordings take over"):
        read_sequences(tmp_path, rate=48000)
    monkeypatch.setattr("edgernn.data.sequences.tables._MOST_TEXT", 100)
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("text,label\n" + "a,b\n" * 100)
    with pytest.raises(CorpusError, match=r"a.csv.gz has more than 0 MiB of text: divide it"):
        read_sequences(path)
    monkeypatch.setattr("edgernn.arrays._MOST_BYTES", 100)
    with pytest.raises(CorpusError, match=r"a.npz takes more than"):
        read_sequences(pack(tmp_path / "a.npz"))


# Held-out examples


def test_the_same_fraction_of_every_class_is_held_out():
    data = toy([0] * 50 + [1] * 20 + [2] * 2 + [3])
    train, held_out = hold_out(data, 0.1, 0)
    assert held_out.counts().tolist() == [5, 2, 1, 0]
    assert train.counts().tolist() == [45, 18, 1, 1]
    assert sorted([each.name for each in (*train.examples, *held_out.examples)]) == sorted(
        each.name for each in data.examples
    )
    assert train.notes == ("one example, which stays in training: d",)


def test_the_seed_alone_chooses_what_is_held_out():
    data = toy([0, 1] * 50, [f"p{place % 10}" for place in range(100)])
    first, again, other = (hold_out(data, 0.2, seed)[1].examples for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_held_out_as_a_whole(seed):
    """One person made almost half of the examples, and another alone made those of a class."""
    groups = ["most"] * 44 + [f"p{place % 8}" for place in range(48)] + ["only"] * 8
    labels = [place % 2 for place in range(92)] + [2] * 8
    train, held_out = hold_out(toy(labels, groups), 0.1, seed)
    assert not {each.group for each in train.examples} & {each.group for each in held_out.examples}
    assert train.counts().all()
    assert 10 <= len(held_out.examples) <= 20
    assert not {"most", "only"} & {each.group for each in held_out.examples}


def test_groups_that_are_classes_cannot_be_held_out():
    train, held_out = hold_out(toy([0] * 10 + [1] * 10, ["p"] * 10 + ["q"] * 10), 0.2, 0)
    assert held_out.counts().tolist() == [2, 2]
    assert train.notes == ("no group can be held out without losing a class, so examples of all groups are held out",)


def test_too_few_groups_are_noted():
    labels, groups = [0] * 20 + [1] * 20, ["p"] * 18 + ["r"] * 2 + ["q"] * 20
    train, held_out = hold_out(toy(labels, groups), 0.2, 0)
    assert {each.group for each in held_out.examples} == {"r"}
    assert train.notes == ("whole groups held out: 2 examples, since more would lose a class",)


def test_one_large_group_is_held_out_if_no_other_can_be():
    train, held_out = hold_out(toy([0, 1] * 10, ["p"] * 8 + ["q"] * 12), 0.1, 0)
    assert {each.group for each in held_out.examples} == {"p"}
    assert {each.group for each in train.examples} == {"q"}


def texts_of(dataset):
    return {each.value for each in dataset.examples}


@pytest.mark.parametrize("seed", range(20))
def test_equal_texts_are_never_on_both_sides(seed):
    """Of a few names, most occur in several classes and several times in one."""
    random = np.random.default_rng(seed)
    data = toy(random.integers(0, 4, 200).tolist())
    examples = [replace(each, value=f"name {random.integers(0, 90)}") for each in data.examples]
    train, held_out = hold_out(replace(data, examples=examples), 0.2, seed)
    assert not texts_of(train) & texts_of(held_out)
    assert len(train.examples) + len(held_out.examples) == 200
    assert train.counts().all()
    assert (held_out.counts() >= np.round(0.2 * data.counts())).all()
    assert 40 <= len(held_out.examples) <= 80


def test_equal_texts_without_a_group_are_one():
    data = toy([0, 1] * 20, ["p", "p", "q", "q", *[""] * 36])
    examples = [
        each if each.group else replace(each, value=f"name {each.label} {place % 5}")
        for place, each in enumerate(data.examples)
    ]
    train, held_out = hold_out(replace(data, examples=examples), 0.3, 0)
    assert held_out.examples
    assert not texts_of(train) & texts_of(held_out)


def test_what_cannot_be_held_out_is_an_error():
    with pytest.raises(CorpusError, match="nothing can be held out: no class has two different texts"):
        hold_out(toy([0, 1, 2]), 0.1, 0)
    with pytest.raises(CorpusError, match="nothing can be held out: no class has two examples"):
        hold_out(replace(toy([0, 1, 2]), kind="sound"), 0.1, 0)
    data = toy([0, 0, 1, 1])
    with pytest.raises(CorpusError, match="no class has two different texts"):
        hold_out(replace(data, examples=[replace(each, value="same") for each in data.examples]), 0.1, 0)
    with pytest.raises(CorpusError, match=r"1.5 is not a fraction between 0 and 1"):
        hold_out(toy([0, 0, 1]), 1.5, 0)


# Packed sequences


@pytest.mark.parametrize("shape", [(), (3,), (4, 4, 3)])
def test_packed_sequences_come_back(tmp_path, shape):
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 255, (length, *shape)).astype(np.uint8) for length in (3, 1, 5)]
    record = PackedSequences.write(tmp_path, "train", sequences, [2, 0, 1])
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f"train.{each}.npy" for each in ("ends", "labels", "values")
    ]
    assert (record.sequences, record.rows) == (3, 9)
    assert PackedRecord.from_json(record.to_json()) == record
    packed = PackedSequences.open(tmp_path, "train", record)
    assert len(packed) == 3
    assert packed.labels.tolist() == [2, 0, 1]
    for index, each in enumerate(sequences):
        np.testing.assert_array_equal(packed.sequence(index), each)
        assert packed.sequence(index).dtype == np.uint8
    assert not packed.sequence(0).flags.writeable
    with pytest.raises(IndexError, match="there is no sequence 3 of 3"):
        packed.sequence(3)
    with pytest.raises(IndexError, match="there is no sequence -1 of 3"):
        packed.sequence(-1)


def test_packed_sequences_that_were_changed_are_refused(tmp_path):
    sequences = [np.zeros((3, 2), np.float32)] * 2
    record = PackedSequences.write(tmp_path, "train", sequences, [0, 1])
    for file in ("values", "ends", "labels"):
        path = tmp_path / f"train.{file}.npy"
        whole = path.read_bytes()
        for data in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-8], b""):
            path.write_bytes(data)
            with pytest.raises(CorpusError, match=r"train.values.npy, or a file beside it, was changed: train again"):
                PackedSequences.open(tmp_path, "train", record)
        path.unlink()
        with pytest.raises(CorpusError, match=r"train cannot be read: No such file or directory"):
            PackedSequences.open(tmp_path, "train", record)
        path.write_bytes(whole)
    with pytest.raises(CorpusError, match=r"does not hold 2 sequences of 7 rows: train again"):
        PackedSequences.open(tmp_path, "train", PackedRecord(2, 7, record.sha256))


@pytest.mark.parametrize("changed", [{"rows": 1}, {"sequences": 0}, {"sha256": 3}, {"rows": "6"}, {"more": 1}])
def test_records_that_are_impossible_are_refused(changed):
    with pytest.raises(FormatError):
        PackedRecord.from_json({"sequences": 2, "rows": 6, "sha256": "a"} | changed)


# Real data


@pytest.mark.real_data
def test_spoken_digits(real_data):
    found = read_sequences(real_data / "fsdd")
    assert (found.kind, found.rate, found.classes) == ("sound", 8000, tuple("0123456789"))
    assert found.counts().tolist() == [270] * 10
    assert found.notes == ()
    assert sum(len(each.value) for each in found.examples) == 9_464_394
    train, held_out = hold_out(found, 0.1, 0)
    assert train.counts().tolist() == [243] * 10
    assert held_out.counts().tolist() == [27] * 10


@pytest.mark.real_data
def test_wake_words(real_data):
    found = read_sequences(real_data / "wake_words")
    assert (found.kind, found.rate) == ("sound", 8000)
    assert found.classes == ("alexa", "computer", "jarvis", "smart-mirror", "snowboy", "view-glass")
    assert found.counts().tolist() == [100] * 6
    assert {len(each.value) for each in found.examples} == {10000}
    assert found.notes == ("LICENSE: ignored, since the data are in WAV files",)


@pytest.mark.real_data
def test_names(real_data):
    found = read_sequences(real_data / "names")
    assert (found.kind, len(found.classes), len(found.examples)) == ("text", 18, 16050)
    counts = dict(zip(found.classes, found.counts().tolist(), strict=True))
    assert (counts["Russian"], counts["Vietnamese"]) == (7508, 59)
    assert not found.notes
    train, held_out = hold_out(found, 0.1, 0)
    assert not texts_of(train) & texts_of(held_out)
    assert len(held_out.examples) == pytest.approx(1605, rel=0.05)


@pytest.mark.real_data
def test_wrist_movements(real_data):
    found = read_sequences(real_data / "hmp_wrist")
    assert parts(real_data / "hmp_wrist") == ("train",)
    assert (found.kind, len(found.examples), len(found.classes)) == ("numbers", 554, 7)
    assert found.counts().tolist() == [78, 78, 67, 77, 92, 90, 72]
    lengths = [len(each.value) for each in found.examples]
    assert (min(lengths), max(lengths), sum(lengths)) == (125, 3153, 238_068)
    assert found.examples[0].value[0].tolist() == [5, 39, 34]
    people = Counter(each.group for each in found.examples)
    assert (len(people), people["f1"]) == (11, 245)
    assert found.notes == ("MANUAL.txt, README.txt: ignored, since the data are in npz files",)
    for seed in range(10):
        train, held_out = hold_out(found, 0.1, seed)
        assert not {each.group for each in train.examples} & {each.group for each in held_out.examples}
        assert 56 <= len(held_out.examples) <= 110
        assert train.counts().all()


@pytest.mark.real_data
def test_japanese_vowels(real_data):
    found = read_sequences(real_data / "japanese_vowels")
    assert (found.kind, found.classes) == ("numbers", tuple("123456789"))
    assert found.counts().tolist() == [30] * 9
    assert {each.value.shape[1] for each in found.examples} == {12}
    lengths = [len(each.value) for each in found.examples]
    assert (min(lengths), max(lengths), sum(lengths)) == (7, 26, 4274)
    assert found.examples[0].value[0, 0] == np.float32(1.860936)
