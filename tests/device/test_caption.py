"""Captions on the device: the pipeline, its functions, and the command."""

import io
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

from edgernn.errors import ConfigError, ContractError, StreamError
from edgernn.media.image import read_image
from edgernn.runtime import Model, beam_search
from edgernn.runtime.pipelines import PIPELINES, pipeline_for
from edgernn.runtime.pipelines.caption import (
    CaptionOptions,
    attention_maps,
    caption_image,
    open_image,
    start_caption,
)


@pytest.fixture(scope="module")
def captions(captioner):
    return Model.load(captioner)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for place, colour in enumerate(["red", "green", "blue", "white"]):
        Image.new("RGB", (30 + place, 20), colour).save(folder / f"{colour}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def oracle(model, image, longest):
    """The most likely word every time, by the pure step."""
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


def test_a_beam_of_one_takes_the_most_likely_words(captions, images):
    for path in images.glob("*.png"):
        image = open_image(captions, path)
        expected = oracle(captions, image, 9)
        assert "".join(start_caption(captions, image).decode(9)) == expected
        shown = io.StringIO()
        found = caption_image(captions, image, 1, 9, shown.write)
        assert found.text == shown.getvalue() == expected
        (searched,) = beam_search(start_caption(captions, image), 1, 9)
        assert found.candidates == (searched,)


def test_a_beam_is_at_least_as_likely(captions, images):
    image = read_image(images / "red.png")
    found = caption_image(captions, image, 4, 9)
    stream = start_caption(captions, image)
    assert list(found.candidates) == beam_search(stream, 4, 9)
    assert found.text == found.candidates[0].text
    assert [each.score for each in found.candidates] == sorted((each.score for each in found.candidates), reverse=True)
    assert not {"<start>", "<unk>", "<end>"} & {word for each in found.candidates for word in each.text.split()}


def test_two_images_are_never_mixed(captions, images):
    one, other = (read_image(images / name) for name in ("red.png", "blue.png"))
    expected = [oracle(captions, image, 8) for image in (one, other)]
    streams = [start_caption(captions, image).tokens(8) for image in (one, other)]
    said = [[], []]
    for _ in range(8):
        for words, stream in zip(said, streams, strict=True):
            words.extend(drawn.text for drawn in [next(stream, None)] if drawn is not None)
    assert ["".join(words) for words in said] == expected


def test_attention_maps_are_the_outputs_of_the_steps(captions, images):
    image = read_image(images / "red.png")
    tokens = (5, 4, 6, 4)
    conditions, state = captions.begin({"image": image[None]})
    expected = []
    for token in (captions.tokenizer.start_id, *tokens[:-1]):  # a word is chosen after the one before was read
        outputs, state = captions.step({"token": np.array([token])}, state, conditions=conditions)
        expected.append(outputs["attention"][0].reshape(2, 2))
    weights = attention_maps(captions, image, tokens)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert np.ptp(weights, axis=0).max() > 1e-4
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-6)
    assert attention_maps(captions, image, ()).shape == (0, 2, 2)


def test_an_image_is_encoded_once(captions, images, monkeypatch):
    """Though the encoder makes two conditions."""
    encode = captions._graphs["encode"]
    looked = []

    class Counting:
        def run(self, feeds):
            looked.append(feeds)
            return encode.engine.run(feeds)

    monkeypatch.setitem(captions._graphs, "encode", replace(encode, engine=Counting()))
    caption_image(captions, read_image(images / "red.png"), 3, 5)
    assert len(looked) == 1


def test_a_model_or_an_image_that_does_not_fit_is_named(model, captions):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(StreamError, match="the bundle's task is language, and it does not describe images"):
        start_caption(model, image)
    with pytest.raises(ContractError, match=r"image has shape \(1, 65, 4, 3\).*with height from 1 to 64"):
        start_caption(captions, np.zeros((65, 4, 3), np.uint8))
    with pytest.raises(ContractError, match="dtype float32"):
        start_caption(captions, image.astype(np.float32))


def test_the_command_describes_one_or_many(call, captioner, captions, images, tmp_path):
    red = images / "red.png"
    said = oracle(captions, read_image(red), 20)
    assert call("caption", captioner, red) == (0, f"{said}\n", "")
    status, out, _ = call("caption", captioner, red, "--json")
    answer = json.loads(out)
    assert (status, answer["image"], answer["caption"]) == (0, str(red), said)
    assert answer["candidates"][0]["text"] == said
    status, out, _ = call("caption", captioner, red, "--beam", 3, "--candidates", 3, "--max-tokens", 6)
    expected = caption_image(captions, read_image(red), 3, 6).candidates
    assert [line[9:] for line in out.splitlines()] == [each.text for each in expected]
    status, out, _ = call("caption", captioner, images, "--json")
    assert [*json.loads(out.splitlines()[2])] == ["image", "caption", "text", "tokens", "candidates"]
    assert [json.loads(line)["image"] for line in out.splitlines()] == sorted(map(str, images.glob("*.png")))
    status, out, _ = call("caption", captioner, images)
    names = ["blue.png", "green.png", "red.png", "white.png"]
    assert out == "".join(f"{images / n}: {oracle(captions, read_image(images / n), 20)}\n" for n in names)
    assert call("caption", captioner, red, "--attention", tmp_path / "a.png", "--max-tokens", 5)[0] == 0
    assert read_image(tmp_path / "a.png").shape[1] > 30


def test_the_pipeline_does_what_the_functions_do(captions, images, tmp_path):
    pipeline = pipeline_for(captions)
    path = images / "red.png"
    inputs = pipeline.read(path.read_bytes())
    np.testing.assert_array_equal(inputs["image"], open_image(captions, path))
    found = pipeline(inputs, CaptionOptions(beam=3, candidates=3, max_tokens=6, attention=tmp_path / "a.png"))
    assert found == caption_image(captions, inputs["image"], 3, 6)
    assert read_image(tmp_path / "a.png").shape[1] > 30
    assert [*found.to_json()] == ["caption", "text", "tokens", "candidates"]
    assert str(found).count("\n") == 2
    one = pipeline(inputs, CaptionOptions(beam=3, max_tokens=6))
    assert (one.text, str(one), one.candidates) == (found.text, found.text, found.candidates[:1])
    assert not pipeline(inputs, CaptionOptions(), lambda text: False).text.count(" ")  # it ended after a word
    with pytest.raises(ConfigError, match="--beam 0 is not a whole number of at least 1 and at most 100"):
        CaptionOptions(beam=0)


def test_the_pipeline_refuses_models_of_other_tasks(model):
    with pytest.raises(StreamError, match="the bundle's task is language, and it does not describe images"):
        PIPELINES["caption"](model)


def test_run_and_caption_are_the_same_for_captions(call, captioner, images):
    for options in ([], ["--beam", 2, "--candidates", 2], ["--json"]):
        assert call("run", captioner, images, *options) == call("caption", captioner, images, *options)


def test_a_bundle_is_refused_by_commands_and_options_for_another_task(call, captioner, bundle, images, tmp_path):
    (tmp_path / "text").write_text("a")
    for arguments, words in (
        (["run", captioner, "a", "--unknown", "skip"], "--unknown is not an option for caption bundles"),
        (["run", captioner, "--seed", 1, "--echo"], "--seed, --echo are not options for caption bundles"),
        (["run", bundle, "--beam", 2], "--beam is not an option for language bundles"),
        (["run", captioner], f"a caption bundle runs on image files: edgernn run {captioner} IMAGE"),
        (["caption", captioner], f"a caption bundle runs on image files: edgernn caption {captioner} IMAGE"),
        (["caption", bundle, images], f"{bundle} is a bundle of the task language: drive it with edgernn run"),
        (
            ["evaluate", captioner, "--text", tmp_path / "text"],
            "--text is not an option for the task caption, which has --data",
        ),
    ):
        status, out, err = call(*arguments)
        assert (status, out) == (2, "")
        assert words in err


def test_a_progress_bar_does_not_take_the_captions_along(captioner, images, tmp_path):
    """Results go to a file, whatever a terminal shows."""
    shown, terminal = pty.openpty()
    command = [sys.executable, "-m", "edgernn", "caption", captioner, images]
    with (tmp_path / "said.txt").open("wb") as file:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=terminal)
    os.close(terminal)
    bar = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(shown, 65536):
            bar += part
    os.close(shown)
    assert child.wait(60) == 0
    assert b"running" in bar
    assert (tmp_path / "said.txt").read_text().count("\n") == 4


def test_images_that_cannot_be_read_do_not_stop_the_others(call, captioner, images, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    status, out, err = call("caption", captioner, tmp_path / "bad.png", images / "red.png")
    assert (status, out.count("\n")) == (2, 1)
    assert "bad.png cannot be read as an image" in err
    assert "1 of 2 inputs failed: the lines above say why" in err
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([tmp_path / "bad.png"], "bad.png cannot be read"),
        ([tmp_path / "none.png"], "there is no "),
        ([tmp_path / "empty"], "empty has no files that end in .bmp"),
        ([images, "--attention", tmp_path / "a.png"], "--attention writes one file: name one input, not 4"),
        ([images / "red.png", "--attention", tmp_path / "a.txt"], "the name must end in .bmp"),
        ([images / "red.png", "--attention", images / "red.png"], "red.png is the input itself"),
        ([images / "red.png", "--attention", tmp_path / "no" / "a.png"], "cannot be written"),
        ([images / "red.png", "--candidates", 3], "--candidates 3 needs a beam of that width: give --beam 3 as well"),
        ([images / "red.png", "--beam", 100000], "--beam 100000 is not a whole number of at least 1 and at most 100"),
        ([""], "the name of a file is empty"),
        ([images / "red.png", "--beam", 0], "--beam 0 is not a whole number of at least 1 and at most 100"),
    ):
        status, out, err = call("caption", captioner, *arguments)
        assert (status, out) == (2, ""), words
        assert words in err
