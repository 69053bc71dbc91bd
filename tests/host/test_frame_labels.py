"""Frames with labels in .npz files: what is read, what is held out, and what is refused."""

import numpy as np
import pytest
from tasks import FRAME_CLASSES, write_frames

from edgernn.data.frame_labels import FrameDataset, LabelledFrames, hold_out_frames, kind_of_frames, read_frame_labels
from edgernn.errors import CorpusError

PICTURES = np.zeros((48, 4, 6, 3), np.uint8)


def read(path, split=None, classes=None):
    return read_frame_labels(path, split, lambda done, figures: None, classes)


def test_numbers_and_pictures_are_read(tmp_path):
    write_frames(tmp_path / "numbers.npz", 0, labels=np.int8([-1] + [1, 2] * 23 + [0]))
    numbers = read(tmp_path / "numbers.npz")
    assert (numbers.kind, numbers.classes, numbers.shape) == ("numbers", FRAME_CLASSES, (3,))
    assert numbers.sequences[0].frames.dtype == np.float32
    assert numbers.sequences[0].labels.tolist() == [-1] + [1, 2] * 23 + [0]
    assert numbers.sequences[0].labels.dtype == np.int64
    write_frames(tmp_path / "video.npz", 0, frames=PICTURES)
    video = read(tmp_path / "video.npz")
    assert (video.kind, video.shape, video.sequences[0].frames.dtype) == ("video", (4, 6, 3), np.uint8)
    assert [kind_of_frames(tmp_path / name) for name in ("numbers.npz", "video.npz", "none")] == [
        "numbers",
        "video",
        None,
    ]


def test_a_row_of_numbers_has_one_channel(tmp_path):
    assert read(write_frames(tmp_path / "x.npz", 0, frames=np.arange(48))).sequences[0].frames.tolist()[-1] == [47.0]


def test_parts_are_read_alone_and_other_files_are_named(tmp_path):
    for name in ("train_a", "train_b", "val", "test"):
        write_frames(tmp_path / f"{name}.npz", 0)
    assert [each.name for each in read(tmp_path, "train").sequences] == [
        str(tmp_path / f"train_{name}.npz") for name in "ab"
    ]
    assert len(read(tmp_path, "dev").sequences) == len(read(tmp_path, "test").sequences) == 1
    (tmp_path / "notes.csv").write_text("a,b\n")
    assert read(tmp_path, "test").notes == ("notes.csv: ignored, since the data are in npz files",)


def test_labels_are_those_of_the_model_by_name(tmp_path):
    write_frames(tmp_path / "x.npz", 0, labels=np.int64([-1] + [1] * 46 + [0]), classes=np.array(["right", "nothing"]))
    found = read(tmp_path / "x.npz", classes=FRAME_CLASSES)
    assert found.classes == FRAME_CLASSES
    assert found.sequences[0].labels.tolist() == [-1] + [0] * 46 + [2]
    assert found.notes == ("no frame has the label left",)
    with pytest.raises(CorpusError, match="has the class right, which the model does not know: nothing, wave"):
        read(tmp_path / "x.npz", classes=("nothing", "wave"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"frames": None}, "has no frames: it needs frames"),
        ({"classes": None}, "has no classes: it needs frames"),
        ({"labels": np.zeros(47, int)}, "has 48 frames and 47 labels"),
        ({"labels": np.zeros(48)}, r"labels are float64\[48\], not whole numbers"),
        ({"labels": np.zeros((48, 1), int)}, r"labels are int64\[48, 1\]"),
        ({"labels": np.full(48, -1)}, "has no known label: all labels are -1"),
        ({"labels": np.full(48, 1)}, "has one class, left: two are needed"),
        ({"labels": np.r_[np.zeros(47, int), 3]}, "frame 47 has the label 3, and there are 3 classes"),
        ({"labels": np.r_[np.zeros(47, int), -2]}, "frame 47 has the label -2"),
        ({"classes": np.array(["a", "b", "a"])}, "not a list of different names"),
        ({"classes": np.array("a")}, "not a list of different names"),
        ({"frames": np.full((48, 3), np.inf)}, "frames that are not finite"),
        ({"frames": np.full((48, 3), 1e300)}, "frames that are not finite"),
        ({"frames": np.zeros((48, 4, 6, 3))}, r"frames are float64\[48, 4, 6, 3\], neither numbers"),
        ({"frames": np.zeros((48, 4, 6, 1), np.uint8)}, "neither numbers"),
        ({"frames": np.zeros((48, 0))}, "neither numbers"),
        ({"frames": np.array(["a"] * 48)}, "neither numbers"),
        ({"frames": np.float32(1)}, "has 0 frames and 48 labels"),
        ({"frames": np.zeros((0, 3)), "labels": np.zeros(0, int)}, "has no frames: remove it"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, changed, words):
    with pytest.raises(CorpusError, match=words) as error:
        read(write_frames(tmp_path / "wrong.npz", 0, **changed))
    assert "wrong.npz" in str(error.value)


def test_files_that_do_not_fit_each_other_are_named(tmp_path):
    write_frames(tmp_path / "a.npz", 0, frames=PICTURES)
    write_frames(tmp_path / "b.npz", 1, frames=PICTURES[:, :2])
    with pytest.raises(
        CorpusError, match=r"b\.npz has frames of 6 × 2 pixels, and .*a\.npz has frames of 6 × 4 pixels"
    ):
        read(tmp_path)
    write_frames(tmp_path / "b.npz", 1)
    with pytest.raises(CorpusError, match=r"b\.npz has frames of 3 numbers"):
        read(tmp_path)
    write_frames(tmp_path / "b.npz", 1, frames=PICTURES, classes=np.array(["nothing", "right", "left"]))
    with pytest.raises(CorpusError, match=r"b\.npz has the classes nothing, right, left, and other files have nothing"):
        read(tmp_path)


def test_data_that_are_no_frames_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("sequence,label,x\na,b,1\n")
    with pytest.raises(CorpusError, match="has no npz files"):
        read(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"x\.npz is not an \.npz file"):
        read(tmp_path)


def dataset(*lengths):
    sequences = [LabelledFrames(str(n), np.zeros((n, 1), np.float32), np.arange(n) % 2) for n in lengths]
    return FrameDataset("numbers", ("a", "b"), sequences, ("a note",))


def test_whole_sequences_are_held_out():
    whole = dataset(10, 20, 30, 40)
    train, held_out = hold_out_frames(whole, 0.2, seed=0)
    names = [each.name for each in (*train.sequences, *held_out.sequences)]
    assert sorted(names) == ["10", "20", "30", "40"]
    assert sum(len(each.labels) for each in held_out.sequences) >= 20
    assert (train.notes, held_out.notes) == (("a note",), ())
    assert hold_out_frames(whole, 0.2, seed=0)[1].sequences == held_out.sequences
    assert len(hold_out_frames(whole, 0.99, seed=1)[0].sequences) == 1


def test_the_end_of_a_single_sequence_is_held_out():
    train, held_out = hold_out_frames(dataset(10), 0.2, seed=0)
    assert train.sequences[0].labels.tolist() == [0, 1] * 4
    assert held_out.sequences[0].labels.tolist() == [0, 1]
    assert len(hold_out_frames(dataset(2), 0.01, seed=0)[1].sequences[0].labels) == 1
    with pytest.raises(CorpusError, match="has a single frame"):
        hold_out_frames(dataset(1), 0.2, seed=0)
