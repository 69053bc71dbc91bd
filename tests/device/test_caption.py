"""Captions on the device: what a stream says that has looked at a picture."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgernn.cli import execute
from edgernn.errors import ContractError, StreamError
from edgernn.media.image import read_image
from edgernn.runtime import Model, beam_search
from edgernn.runtime.pipelines.caption import attention_maps, caption_image, open_image, start_caption


@pytest.fixture(scope="module")
def speaker(captioner):
    return Model.load(captioner)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for place, colour in enumerate(["red", "green", "blue", "white"]):
        Image.new("RGB", (30 + place, 20), colour).save(folder / f"{colour}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def call(capsys):
    def run(*arguments):
        status = execute([*map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def oracle(model, image, longest):
    """The likeliest word every time, by the pure step."""
    conditions, state = model.begin({"image": image[None]})
    token, said = model.tokenizer.start_id, []
    for _ in range(longest):
        outputs, state = model.step({"token": np.array([token])}, state, conditions=conditions)
        logits = outputs["logits"][0].copy()
        logits[list(model.tokenizer.never_sampled)] = -np.inf
        token = int(logits.argmax())
        if token == model.tokenizer.end_id:
            break
        said.append(token)
    return model.tokenizer.decode(said)


def test_the_likeliest_words_are_said(speaker, pictures):
    for path in pictures.glob("*.png"):
        image = open_image(speaker, path)
        expected = oracle(speaker, image, 9)
        assert "".join(start_caption(speaker, image).decode(9)) == expected
        assert caption_image(speaker, image, 1, 9).text == expected


def test_a_beam_is_at_least_as_likely(speaker, pictures):
    image = read_image(pictures / "red.png")
    found = caption_image(speaker, image, 4, 9)
    stream = start_caption(speaker, image)
    assert list(found.candidates) == beam_search(stream, 4, 9)
    assert found.text == found.candidates[0].text
    assert [each.score for each in found.candidates] == sorted((each.score for each in found.candidates), reverse=True)
    assert not {"<start>", "<unk>", "<end>"} & {word for each in found.candidates for word in each.text.split()}


def test_two_pictures_are_never_mixed(speaker, pictures):
    one, other = (read_image(pictures / name) for name in ("red.png", "blue.png"))
    expected = [oracle(speaker, image, 8) for image in (one, other)]
    streams = [start_caption(speaker, image).tokens(8) for image in (one, other)]
    said = [[], []]
    for _ in range(8):
        for words, stream in zip(said, streams, strict=True):
            words.extend(drawn.text for drawn in [next(stream, None)] if drawn is not None)
    assert ["".join(words) for words in said] == expected


def test_where_it_looked_is_what_the_steps_say(speaker, pictures):
    image = read_image(pictures / "red.png")
    tokens = (5, 4, 6, 4)
    conditions, state = speaker.begin({"image": image[None]})
    expected = []
    for token in (speaker.tokenizer.start_id, *tokens[:-1]):  # a word is chosen after the one before was read
        outputs, state = speaker.step({"token": np.array([token])}, state, conditions=conditions)
        expected.append(outputs["attention"][0].reshape(2, 2))
    weights = attention_maps(speaker, image, tokens)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert np.ptp(weights, axis=0).max() > 1e-4
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-6)
    assert attention_maps(speaker, image, ()).shape == (0, 2, 2)


def test_a_picture_is_looked_at_once(speaker, pictures, monkeypatch):
    """Though the encoder makes two conditions."""
    encode = speaker._graphs["encode"]
    looked = []

    class Counting:
        def run(self, feeds):
            looked.append(feeds)
            return encode.engine.run(feeds)

    monkeypatch.setitem(speaker._graphs, "encode", replace(encode, engine=Counting()))
    caption_image(speaker, read_image(pictures / "red.png"), 3, 5)
    assert len(looked) == 1


def test_what_takes_no_picture_is_named(model, speaker):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(StreamError, match="the bundle's task, language, takes no picture"):
        start_caption(model, image)
    with pytest.raises(ContractError, match=r"image has shape \(1, 65, 4, 3\).*with height from 1 to 64"):
        start_caption(speaker, np.zeros((65, 4, 3), np.uint8))
    with pytest.raises(ContractError, match="dtype float32"):
        start_caption(speaker, image.astype(np.float32))


def test_the_command_describes_one_or_many(call, captioner, speaker, pictures, tmp_path):
    red = pictures / "red.png"
    said = oracle(speaker, read_image(red), 20)
    assert call("caption", captioner, red) == (0, f"{said}\n", "")
    status, out, _ = call("caption", captioner, red, "--json")
    answer = json.loads(out)
    assert (status, answer["image"], answer["caption"]) == (0, str(red), said)
    assert answer["candidates"][0]["text"] == said
    status, out, _ = call("caption", captioner, red, "--beam", 3, "--max-tokens", 6)
    expected = caption_image(speaker, read_image(red), 3, 6).candidates
    assert [line[9:] for line in out.splitlines()] == [each.text for each in expected]
    status, out, _ = call("caption", captioner, pictures)
    names = ["blue.png", "green.png", "red.png", "white.png"]
    assert out == "".join(f"{pictures / n}: {oracle(speaker, read_image(pictures / n), 20)}\n" for n in names)
    assert call("caption", captioner, red, "--attention", tmp_path / "a.png", "--max-tokens", 5)[0] == 0
    assert read_image(tmp_path / "a.png").shape[1] > 30


def test_commands_for_text_point_to_the_one_for_pictures(call, captioner, tmp_path):
    (tmp_path / "text").write_text("a")
    for arguments, words in (
        (["run", captioner, "--prompt", "a"], f"describes pictures: edgernn caption {captioner} IMAGE"),
        (["evaluate", captioner, "--text", tmp_path / "text"], "describes pictures: give it some by --data"),
    ):
        status, out, err = call(*arguments)
        assert (status, out) == (2, "")
        assert words in err


def test_a_progress_bar_does_not_take_the_captions_along(captioner, pictures, tmp_path):
    """Results go to a file, whatever a terminal shows."""
    shown, terminal = pty.openpty()
    command = [sys.executable, "-m", "edgernn", "caption", captioner, pictures]
    with (tmp_path / "said.txt").open("wb") as file:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=terminal)
    os.close(terminal)
    bar = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(shown, 65536):
            bar += part
    os.close(shown)
    assert child.wait(60) == 0
    assert b"describing" in bar
    assert (tmp_path / "said.txt").read_text().count("\n") == 4


def test_pictures_that_cannot_be_read_do_not_hide_the_others(call, captioner, pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    status, out, err = call("caption", captioner, tmp_path / "bad.png", pictures / "red.png")
    assert (status, out.count("\n")) == (2, 1)
    assert "bad.png cannot be read as an image" in err
    assert "1 of 2 pictures could not be read" in err
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([tmp_path / "bad.png"], "bad.png cannot be read"),
        ([tmp_path / "none.png"], "none.png: there is no such file"),
        ([tmp_path / "empty"], "there are no pictures"),
        ([pictures, "--attention", tmp_path / "a.png"], "--attention draws one picture"),
        ([pictures / "red.png", "--attention", tmp_path / "a.txt"], "a picture's name ends in"),
        ([pictures / "red.png", "--attention", pictures / "red.png"], "red.png is the picture itself"),
        ([pictures / "red.png", "--attention", tmp_path / "no" / "a.png"], "cannot be written"),
        ([pictures / "red.png", "--beam", 0], "beam"),
    ):
        status, out, err = call("caption", captioner, *arguments)
        assert (status, out) == (2, ""), words
        assert words in err
