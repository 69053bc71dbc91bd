"""IDX files: parts, gzipped or not, and what is wrong with damaged ones, in one line."""

import numpy as np
import pytest
from tasks import bars, idx, write_bars, zipped

from edgernn.data.idx import idx_parts, read_pictures
from edgernn.errors import CorpusError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def test_the_parts_of_a_folder_are_read(tmp_path):
    write_bars(tmp_path)
    assert idx_parts(tmp_path) == ("train", "test")
    for part, count, seed in (("train", 48, 0), ("test", 20, 1)):
        found = read_pictures(tmp_path, part)
        images, labels = bars(count, seed)
        assert np.array_equal(found.images, images)
        assert np.array_equal(found.labels, labels)
    assert len(read_pictures(tmp_path, None).labels) == 68
    with pytest.raises(CorpusError, match="has no part dev; it has train, test"):
        read_pictures(tmp_path, "dev")


@pytest.mark.parametrize("name", ["emnist-digits-{}-{}-ubyte", "{}_{}-ubyte", "Letters.{}-{}-ubyte"])
def test_the_part_is_a_word_of_the_name(tmp_path, name):
    for word, count in (("train", 6), ("test", 3)):
        images, labels = bars(count)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            (tmp_path / name.format(word, what)).write_bytes(idx(array))
    assert idx_parts(tmp_path) == ("train", "test")
    assert len(read_pictures(tmp_path, "train").labels) == 6


@pytest.mark.parametrize("name", ["digits-{}.{}-ubyte", "{}-{}-ubyte.gz", "x.{}-{}-ubyte"])
def test_files_without_a_part_are_taken_whole(tmp_path, name):
    images, labels = bars(5)
    for what, array in (("images", images), ("labels", labels)):
        file = name.format(what, "idx3" if what == "images" else "idx1")
        data = idx(array)
        (tmp_path / file).write_bytes(zipped(data) if file.endswith(".gz") else data)
    assert idx_parts(tmp_path) == ()
    assert np.array_equal(read_pictures(tmp_path, None).images, images)


def test_a_file_that_is_there_twice_is_read_once(tmp_path):
    write_bars(tmp_path)
    (tmp_path / IMAGES.removesuffix(".gz")).write_bytes(idx(bars(48)[0]))
    assert len(read_pictures(tmp_path, "train").labels) == 48


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        (IMAGES, b"", "is not an IDX file of images whose values are unsigned bytes$"),
        (IMAGES, zipped(b"\0\0\x08"), "is not an IDX file"),
        (IMAGES, zipped(idx(bars(48)[0]))[:-20], "cannot be read: it is gzipped and damaged: get"),
        (IMAGES, zipped(idx(bars(48)[0])[:-1]), "has 6,911 of the 6,912 bytes that its header announces: get"),
        (IMAGES, zipped(idx(bars(48)[0]) + b"\0"), "has surplus data after the 6,912 bytes that its header announces"),
        (IMAGES, zipped(bytes([0, 0, 13, 3]) + idx(bars(48)[0])[4:]), "is not an IDX file"),
        (IMAGES, zipped(bytes([0, 0, 8, 3]) + b"\xff" * 12), "has images of 4294967295 × 4294967295 pixels"),
        (IMAGES, zipped(idx(np.zeros((2, 1, 513)))), "has images of 513 × 1 pixels, and sides may have 1 to 512$"),
        (
            IMAGES,
            bytes([0, 0, 8, 3]) + np.array([1 << 20, 1, 1], ">u4").tobytes(),
            "at most 1,000,000 arrays .* split it",
        ),
        (IMAGES, zipped(idx(np.zeros((48, 12, 0)))), "has images of 0 × 12 pixels"),
        (IMAGES, zipped(idx(np.zeros((0, 12, 12)))), "has 0 images, but"),
        (IMAGES, b"not gzipped", "is not an IDX file of images"),
        (IMAGES, zipped(idx(bars(47)[0])), "has 47 images, but train-labels-idx1-ubyte.gz has 48 labels"),
        (LABELS, zipped(idx(bars(48)[0])), "is not an IDX file of labels whose values are unsigned bytes"),
        (LABELS, None, "the labels of .* are missing: there is no train-labels-idx1-ubyte or"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, file, data, words):
    write_bars(tmp_path)
    if data is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(CorpusError, match=words) as caught:
        read_pictures(tmp_path, "train")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_whether_a_file_is_gzipped_is_seen_from_its_content(tmp_path):
    images, labels = bars(48)
    (tmp_path / IMAGES).write_bytes(idx(images))
    (tmp_path / LABELS.removesuffix(".gz")).write_bytes(zipped(idx(labels)))
    found = read_pictures(tmp_path, "train")
    assert np.array_equal(found.images, images)
    assert np.array_equal(found.labels, labels)


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    write_bars(tmp_path)
    (tmp_path / IMAGES).unlink()
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(CorpusError, match=rf"{IMAGES} cannot be read: Is a directory$"):
        read_pictures(tmp_path, "train")


def test_what_is_no_folder_of_idx_files_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path, words in ((tmp_path, "has no IDX files of images"), (tmp_path / "none", "there is no")):
        with pytest.raises(CorpusError, match=words):
            idx_parts(path)
    with pytest.raises(CorpusError, match="is not a folder of IDX files"):
        idx_parts(tmp_path / "file")


def test_pictures_of_two_sizes_are_refused(tmp_path):
    write_bars(tmp_path)
    (tmp_path / "train2-images-idx3-ubyte").write_bytes(idx(np.ones((2, 3, 3))))
    (tmp_path / "train2-labels-idx1-ubyte").write_bytes(idx(np.ones(2)))
    with pytest.raises(CorpusError, match="train2-images-idx3-ubyte has pictures of another size than train-images"):
        read_pictures(tmp_path, "train")
