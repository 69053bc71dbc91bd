"""Clips as GIFs and as folders of numbered pictures, and what is none."""

import io

import numpy as np
import pytest
from PIL import Image

from edgernn.errors import ImageError
from edgernn.media.frames import read_frames


def clip(frames, height=6, width=8):
    """Frames (frames, height, width, 3) in each of which one pixel more is white than in the one before."""
    found = np.zeros((frames, height, width, 3), np.uint8)
    for index in range(frames):
        found[index].reshape(-1, 3)[: index + 1] = 255
    return found


def gif(frames, **options):
    file = io.BytesIO()
    first, *others = (Image.fromarray(each) for each in frames)
    first.save(file, "GIF", save_all=True, append_images=others, **options)
    return file.getvalue()


def write(folder, frames, names):
    folder.mkdir(exist_ok=True)
    for frame, name in zip(frames, names, strict=True):
        Image.fromarray(frame).save(folder / name)
    return folder


def test_the_frames_of_a_gif_come_as_they_are_seen(tmp_path):
    """The file holds only what changes from frame to frame."""
    frames = clip(5)
    np.testing.assert_array_equal(read_frames(gif(frames)), frames)
    (tmp_path / "a.gif").write_bytes(gif(frames))
    np.testing.assert_array_equal(read_frames(tmp_path / "a.gif"), frames)
    np.testing.assert_array_equal(read_frames(str(tmp_path / "a.gif")), frames)


@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_every_way_to_dispose_of_a_frame_is_followed(disposal):
    frames = clip(4)[::-1]
    np.testing.assert_array_equal(read_frames(gif(frames, disposal=disposal)), frames)


def test_a_gif_of_one_frame_is_a_clip_of_one_frame():
    frames = clip(1)
    np.testing.assert_array_equal(read_frames(gif(frames)), frames)


def test_what_is_transparent_is_white():
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    picture.putpixel((0, 0), (0, 0, 0, 0))
    file = io.BytesIO()
    picture.save(file, "GIF", save_all=True, append_images=[Image.new("RGBA", (4, 4), (0, 0, 255, 255))])
    first, second = read_frames(file.getvalue())
    assert first[0, 0].tolist() == [255, 255, 255]
    assert first[1, 1].tolist() == [255, 0, 0]
    assert second[0, 0].tolist() == [0, 0, 255]


def test_pictures_are_in_the_order_of_their_numbers(tmp_path):
    frames = clip(11)
    folder = write(tmp_path / "clip", frames, [f"take2_frame{number}_s.png" for number in range(5, 16)])
    (folder / "notes.txt").write_text("10", encoding="utf-8")
    (folder / "preview.gif").write_bytes(gif(frames))
    np.testing.assert_array_equal(read_frames(folder), frames)


def test_large_frames_are_scaled_down(tmp_path):
    frames = np.full((2, 20, 40, 3), 200, np.uint8)
    frames[1] = 100
    assert read_frames(gif(frames), largest_side=10).shape == (2, 5, 10, 3)
    folder = write(tmp_path / "clip", frames, ["1.png", "2.png"])
    np.testing.assert_array_equal(read_frames(folder, largest_side=10), frames[:, :5, :10])


def test_frames_of_different_sizes_are_refused(tmp_path):
    folder = write(tmp_path / "clip", clip(2), ["1.png", "2.png"])
    Image.new("RGB", (9, 6)).save(folder / "3.png")
    with pytest.raises(ImageError, match=r"3.png has 9 × 6 pixels, and 1.png has 8 × 6: frames have one size"):
        read_frames(folder)


def test_folders_whose_order_is_unknown_are_refused(tmp_path):
    with pytest.raises(ImageError, match="has no frames: name a GIF, or a directory of numbered pictures"):
        read_frames(tmp_path)
    folder = write(tmp_path / "clip", clip(2), ["1.png", "01.bmp"])
    with pytest.raises(ImageError, match="has 2 frames of the number 1: remove all but one"):
        read_frames(folder)
    folder = write(tmp_path / "other", clip(2), ["1.png", "last.png"])
    with pytest.raises(ImageError, match=r"last.png has no number in its name"):
        read_frames(folder)


def test_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "a.gif"
    with pytest.raises(ImageError, match=r"there is no .*a.gif"):
        read_frames(path)
    for data in (b"", b"GIF89a", b"a text", gif(clip(3))[:40]):
        path.write_bytes(data)
        with pytest.raises(ImageError, match=r"a.gif cannot be read as a GIF"):
            read_frames(path)
    folder = write(tmp_path / "clip", clip(2), ["1.png", "2.png"])
    (folder / "2.png").write_bytes(b"a text")
    with pytest.raises(ImageError, match=r"2.png cannot be read as an image"):
        read_frames(folder)


def test_a_gif_that_declares_too_many_pixels_is_refused():
    data = bytearray(gif(clip(2)))
    data[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match=r"the clip has more than 100,000,000 pixels: cut or shrink"):
        read_frames(bytes(data))


def test_too_many_pixels_in_all_frames_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("edgernn.media.frames._MOST_PIXELS", 100)
    with pytest.raises(ImageError, match=r"the clip has 3 frames of 8 × 6, more than 100 pixels: cut or shrink it"):
        read_frames(gif(clip(3)))
    with pytest.raises(ImageError, match=r"clip has 3 frames of 8 × 6, more than 100 pixels: cut or shrink it"):
        read_frames(write(tmp_path / "clip", clip(3), ["1.png", "2.png", "3.png"]))


def test_frames_that_a_writer_joined_come_as_often_as_they_are_shown():
    frames = clip(3)[[0, 0, 0, 1, 2, 2]]
    data = gif(frames, duration=40)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    np.testing.assert_array_equal(read_frames(data), frames)


def test_uneven_delays_of_the_same_rate_repeat_nothing():
    frames = clip(4)
    np.testing.assert_array_equal(read_frames(gif(frames, duration=[30, 40, 30, 30])), frames)


def test_a_delay_that_would_fill_the_memory_is_refused():
    with pytest.raises(ImageError, match=r"the clip has 65,536 frames of 100 × 100, more than"):
        read_frames(gif(clip(2, 100, 100), duration=[10, 655350]))


def test_any_damage_is_read_or_refused():
    good = gif(clip(3))
    random = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(good)
        data[random.integers(len(data))] = random.integers(256)
        try:
            frames = read_frames(bytes(data))
        except ImageError:
            continue
        assert (frames.dtype, frames.ndim, frames.shape[-1]) == (np.uint8, 4, 3)
