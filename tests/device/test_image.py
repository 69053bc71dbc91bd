"""Photographs of every kind, and what is none."""

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgernn.errors import ImageError
from edgernn.media.image import draw_attention, read_image, write_picture

COLOURS = np.array([[[250, 10, 20], [10, 240, 30]], [[20, 30, 230], [120, 120, 120]]], np.uint8)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def plain():
    return Image.fromarray(COLOURS)


def test_colours_come_as_they_are(plain, tmp_path):
    np.testing.assert_array_equal(read_image(saved(plain)), COLOURS)
    (tmp_path / "a.bmp").write_bytes(saved(plain, "BMP"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), COLOURS)


def test_every_kind_of_pixel_is_converted(plain):
    grey = np.array([[0, 128], [200, 255]], np.uint8)
    three = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(grey))), three)
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(saved(wide)), three)
    for levels in (grey, grey.astype(np.int32) * 257):  # of 32 bits, which may be as few as a byte's
        np.testing.assert_array_equal(read_image(saved(Image.fromarray(levels.astype(np.int32)), "TIFF")), three)
    palette = plain.quantize(4)
    np.testing.assert_allclose(read_image(saved(palette)), np.array(palette.convert("RGB")))
    assert read_image(saved(plain.convert("1"))).shape == (2, 2, 3)
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = read_image(saved(cmyk, "JPEG", quality=100))
    assert red[4, 4, 0] > 200
    assert red[4, 4, 1:].max() < 60


def test_what_is_transparent_is_white(plain):
    clear = plain.convert("RGBA")
    clear.putpixel((0, 0), (9, 9, 9, 0))
    found = read_image(saved(clear))
    assert found[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(found[1], COLOURS[1])


def test_a_photograph_is_upright(plain):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    np.testing.assert_array_equal(read_image(saved(plain, exif=exif)), np.rot90(COLOURS, -1))


@pytest.mark.parametrize(("size", "expected"), [((1, 1), (1, 1)), ((3000, 10), (3, 1024)), ((50, 2048), (1024, 25))])
def test_large_ones_are_shrunk_and_small_ones_stay(size, expected):
    assert read_image(saved(Image.new("RGB", size, "red"))).shape == (*expected, 3)


def test_ten_thousand_pixels_each_way_are_bounded():
    data = saved(Image.new("RGB", (10_000, 10_000), (30, 60, 90)), "JPEG")
    found = read_image(data, 224)
    assert found.shape == (224, 224, 3)
    np.testing.assert_allclose(found[100, 100], (30, 60, 90), atol=3)


def test_a_large_one_is_shrunk_without_a_seam():
    ramp = np.indices((3000, 4100)).sum(0) * 255 // 7100
    image = Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], 2).astype(np.uint8))
    expected = np.array(image.resize((256, 187), Image.Resampling.BOX))
    np.testing.assert_allclose(read_image(saved(image), 256), expected, atol=4)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell how much is used")
@pytest.mark.parametrize(("mode", "megabytes"), [("I;16", 250), ("RGBA", 330)])
def test_a_large_one_is_there_only_once(mode, megabytes, tmp_path):
    """36 million pixels: twice the size of what Pillow holds, with Python and its libraries, and no more."""
    Image.new(mode, (6000, 6000)).save(tmp_path / "large.png", compress_level=1)
    code = (
        "import sys; from edgernn.media.image import read_image; read_image(sys.argv[1], 224); "
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "large.png"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) // 1024 < megabytes


@pytest.mark.parametrize(("whitest", "scale"), [(1.0, 255), (255.0, 1)])
def test_numbers_with_a_fraction_have_a_white(whitest, scale):
    levels = np.array([[0, 0.25, 0.5, 1]], np.float32) * whitest
    expected = np.repeat(np.uint8(levels * scale)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(levels), "TIFF")), expected)


@pytest.mark.parametrize("side", [12_500, 60_000])
def test_a_claim_of_too_many_pixels_is_refused(side):
    data = saved(Image.new("L", (10, 10)))
    header = data[12:16] + side.to_bytes(4, "big") * 2 + data[24:29]
    claim = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    with pytest.raises(ImageError, match="more than 150,000,000 pixels: shrink it first"):
        read_image(claim)


def test_a_picture_of_a_kind_that_runs_programs_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(ImageError, match=r"a\.jpg cannot be read as an image$"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg is not a file"):
        read_image(tmp_path / "a.jpg")


def test_attention_lights_where_it_looked(tmp_path):
    weights = np.zeros((2, 2, 2), np.float32)
    weights[0, 0, 1] = weights[1, 1, 0] = 1
    draw_attention(np.full((168, 168, 3), 200, np.uint8), ["one", "two"], weights, tmp_path / "a.png")
    sheet = read_image(tmp_path / "a.png").mean(2)
    first, second = sheet[8:176, 184:352], sheet[8:176, 360:528]
    corners = (slice(0, 40), slice(128, 168))
    light = [[[tile[rows, columns].mean() for columns in corners] for rows in corners] for tile in (first, second)]
    assert np.argmax(light[0]) == 1
    assert np.argmax(light[1]) == 2
    assert np.max(light[0]) > 190
    assert np.sort(np.ravel(light[0]))[2] < 60


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (1, 1)])
def test_attention_is_drawn_on_the_narrowest(shape, tmp_path):
    draw_attention(np.zeros((*shape, 3), np.uint8), ["word"], np.ones((1, 2, 2), np.float32), tmp_path / "a.png")
    assert max(read_image(tmp_path / "a.png").shape) > 168


def test_attention_leaves_the_old_picture_where_it_cannot_write(tmp_path):
    with pytest.raises(ImageError, match="the name of an image file must end in"):
        draw_attention(np.zeros((4, 4, 3), np.uint8), [], np.zeros((0, 2, 2), np.float32), tmp_path / "a.xyz")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "format", "largest"), [("jpg", "JPEG", 65_500), ("webp", "WEBP", 16_383)])
def test_a_picture_that_is_too_large_for_its_format_is_named(tmp_path, suffix, format, largest):
    out = tmp_path / f"x.{suffix}"
    words = rf"x\.{suffix} cannot be written: {largest + 1:,} × 1 pixels are too many for {format}: write a .png"
    with pytest.raises(ImageError, match=words):
        write_picture(Image.new("L", (largest + 1, 1)), out)
    assert not out.exists()
    write_picture(Image.new("L", (largest, 1)), out)
    assert out.stat().st_size


def test_what_is_no_image_is_named(plain, tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (64, 64), "red"), "JPEG")[:400])
    (tmp_path / "b.jpg").write_text("nothing")
    (tmp_path / "c.jpg").write_bytes(b"")
    for name, words in (
        ("a.jpg", "a.jpg cannot be read as an image"),
        ("b.jpg", "b.jpg cannot be read as an image"),
        ("c.jpg", "c.jpg cannot be read as an image"),
        ("d.jpg", "there is no "),
        ("", "is not a file"),
    ):
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / name)
