"""Photographs of every kind, and what is none."""

import io

import numpy as np
import pytest
from PIL import Image

from edgernn.errors import ImageError
from edgernn.image import read_image

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


def test_a_claim_of_too_many_pixels_is_refused():
    data = bytearray(saved(Image.new("L", (10, 10))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in a PNG's header
    with pytest.raises(ImageError, match=r"60000 x 60000 pixels|cannot be read"):
        read_image(bytes(data))


def test_what_is_no_image_is_named(plain, tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (64, 64), "red"), "JPEG")[:400])
    (tmp_path / "b.jpg").write_text("nothing")
    (tmp_path / "c.jpg").write_bytes(b"")
    for name, words in (
        ("a.jpg", "a.jpg cannot be read as an image"),
        ("b.jpg", "b.jpg cannot be read as an image"),
        ("c.jpg", "c.jpg cannot be read as an image"),
        ("d.jpg", "d.jpg: there is no such file"),
        ("", "cannot be read as an image"),
    ):
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / name)
