"""Captioners: the network and its encoder, decoding, scores, data sets, and what is exported."""

import csv
import json
import math
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import safetensors.torch
import torch
from conversions import convert_once
from gallery import CAPTIONS, SMALL, write_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgernn.data import scenes as drawing
from edgernn.data.captions import DEV, TEST, TRAIN, read_captions
from edgernn.data.scenes import NOVEL, UNSEEN, Scene, Thing, draw_scenes
from edgernn.data.words import learn_words, words
from edgernn.engines import EagerEngine, eager_model
from edgernn.errors import ConfigError, ContractError, CorpusError, MissingExtraError
from edgernn.exporters import export, verify
from edgernn.exporters.gate.streams import Beginnings, held_out_streams
from edgernn.models.encoder import ENCODERS, EncoderConfig, ImageEncoder, load_weights, resize
from edgernn.models.mobilenet import MobileNetV2
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import MAX_TOKENS, attention_maps, caption_image, start_caption
from edgernn.tasks.caption.data import IGNORED, left_out, pad_captions
from edgernn.tasks.caption.decode import beam_captions, before_end, sample_captions
from edgernn.tasks.caption.network import Captioner, ImageFeatures
from edgernn.tasks.caption.score import Cider, evaluate, score_captions, score_images
from edgernn.tasks.caption.settings import ATTENTIONS, CaptionConfig, CaptionData, CaptionEvaluation, CaptionTraining
from edgernn.training import Run

MADE = [("onnx", "fp32"), ("onnx", "int8"), ("ort", "fp32"), ("torchscript", "int8")]


def captioner(**settings):
    torch.manual_seed(0)
    model = Captioner(CaptionConfig(9, **{**SMALL, **settings})).eval().requires_grad_(False)
    for name, parameter in model.decoder.named_parameters():
        if "embedding" not in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 7, 32]), st.integers(0, 1 << 30))
def test_images_are_resized_as_torch_does(height, width, size, seed):
    images = 255 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    expected = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(resize(images, size), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru"])
def test_the_step_that_is_deployed_is_the_path_that_is_trained(cell, attention):
    model = captioner(cell=cell, attention=attention, layers=2)
    seen = model.projection(model.encoder(torch.randint(0, 256, (3, 40, 50, 3), dtype=torch.uint8)))
    tokens = torch.randint(0, 9, (3, 8))
    x, weights, last = model.decoder.sequence(tokens, seen, model.decoder.initial_state(3))
    expected, state = model.decoder.logits(x), model.decoder.initial_state(3)
    for place in range(8):
        logits, *results = model.decoder(tokens[:, place], *seen.tensors, *state)
        torch.testing.assert_close(logits, expected[:, place], atol=1e-5, rtol=1e-5)
        if attention == "soft":
            torch.testing.assert_close(results[0], weights[:, place], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(results[0].sum(1), torch.ones(3))
        state = results[-len(state) :]
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_image_enters_every_gate_at_every_step():
    """[x, v] W is W_x x + W_v v: the numpy of one LSTM step, gate by gate."""
    model = captioner(attention="none")
    decoder, (layer,) = model.decoder, model.decoder.stack.layers
    vector, token = torch.randn(1, 12).tanh(), torch.tensor([4])
    h, c = torch.randn(1, 1, 16).tanh(), torch.randn(1, 1, 16)
    _, h_next, c_next = decoder(token, vector, h, c)
    w = layer.gates.weight.numpy()
    of_word, of_image, of_state = w[:12], w[12:24], w[24:]
    gates = decoder.embedding.weight[4].numpy() @ of_word + vector[0].numpy() @ of_image
    gates = gates + h[0, 0].numpy() @ of_state + layer.gates.bias.numpy()
    i, f, g, o = np.split(gates, 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    expected = f * c[0, 0].numpy() + i * np.tanh(g)
    np.testing.assert_allclose(c_next[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(h_next[0, 0], o * np.tanh(expected), atol=1e-5)
    assert all(np.abs(part).max() > 0 for part in np.split(vector[0].numpy() @ of_image, 4))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_folded_encoder_is_the_same(name):
    torch.manual_seed(0)
    encoder = ImageEncoder(EncoderConfig(name, 64)).eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 2)
            module.bias.normal_(0, 0.3)
    images = torch.randint(0, 256, (2, 50, 70, 3), dtype=torch.uint8)
    folded = encoder.folded()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), encoder(images), atol=1e-4, rtol=1e-4)


@pytest.mark.real_data
@pytest.mark.parametrize(("padding", "helmet"), [("tensorflow", "military uniform"), ("symmetric", "mortarboard")])
def test_mobilenet_names_photographs(real_data, padding, helmet):
    folder = real_data / "mobilenet_v2"
    weights, about = load_weights(folder / "mobilenet_v2_imagenet.safetensors", "mobilenet_v2")
    assert (about["padding"], about["scaling"]) == ("tensorflow", "x/127.5-1")
    encoder = ImageEncoder(EncoderConfig("mobilenet_v2", 224, padding, about["scaling"])).eval()
    network = MobileNetV2(padding).eval()
    network.load_state_dict(weights)
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()[1:]
    named = {}
    for path in (folder / "photos").iterdir():
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB")))[None]
        with torch.no_grad():
            pixels = (encoder.resize(image) - encoder.mean) / encoder.deviation
            chances = torch.softmax(network.classify(pixels)[0], 0)
        named[path.stem] = (labels[int(chances.argmax())].split(",")[0], float(chances.max()))
    assert named["grace_hopper"][0] == helmet
    if padding == "tensorflow":
        expected = {"bird": 0.78, "cat": 0.67, "hot_dog": 0.32, "owl": 0.28, "parrot": 0.92, "sunflower": 0.94}
        assert {name: named[name][1] for name in expected} == pytest.approx(expected, abs=0.04)
        assert [named[name][0] for name in ("bird", "cat", "parrot")] == ["chickadee", "Egyptian cat", "macaw"]


def test_weights_of_another_network_are_named(tmp_path):
    good = MobileNetV2().state_dict()
    path = tmp_path / "w.safetensors"
    for change, words_ in (
        (lambda t: t.pop("features.0.0.weight"), "it has no tensor features.0.0.weight"),
        (
            lambda t: t.update({"features.1.conv.1.weight": torch.zeros(3)}),
            r"its tensor features.1.conv.1.weight is \[3\]",
        ),
        (lambda t: t.update(head=torch.zeros(3)), "which has no tensor head"),
    ):
        tensors = dict(good)
        change(tensors)
        safetensors.torch.save_file(tensors, path)
        with pytest.raises(ConfigError, match=words_):
            load_weights(path, "mobilenet_v2")
    torch.save(good, tmp_path / "w.pth")
    assert load_weights(tmp_path / "w.pth", "mobilenet_v2")[0].keys() == good.keys()
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    for name in ("bad.pth", "none.safetensors", "none.pth"):
        with pytest.raises(ConfigError, match=name.split(".")[0]):
            load_weights(tmp_path / name, "mobilenet_v2")


def test_weights_of_torchvision_are_those_that_it_gives(monkeypatch):
    good, offline = MobileNetV2().state_dict(), False

    def get_state_dict(*, progress, check_hash):
        assert check_hash
        if offline:
            raise URLError("no route")
        return good

    def give(weights):
        monkeypatch.setitem(sys.modules, "torchvision.models", weights)

    give(SimpleNamespace(MobileNet_V2_Weights=SimpleNamespace(DEFAULT=SimpleNamespace(get_state_dict=get_state_dict))))
    tensors, about = load_weights(Path("torchvision"), "mobilenet_v2")
    assert about == {}
    torch.testing.assert_close(tensors, dict(good))
    offline = True
    with pytest.raises(ConfigError, match=r"torchvision cannot be downloaded.*no route"):
        load_weights(Path("torchvision"), "mobilenet_v2")
    give(None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[torchvision\]'"):
        load_weights(Path("torchvision"), "mobilenet_v2")


def test_a_state_dict_that_is_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ConfigError, match="is no file of tensors alone"):
        load_weights(tmp_path / "evil.pth", "mobilenet_v2")


# What it learns from


@pytest.fixture
def flickr(tmp_path):
    for number, name in enumerate(CAPTIONS):
        write_image(tmp_path / "data" / "Images" / name, number)
    lines = [f"{name}#{k}\t{caption}" for name, captions in CAPTIONS.items() for k, caption in enumerate(captions)]
    (tmp_path / "data" / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    names = list(CAPTIONS)
    for split, part in (("train", names[:8]), ("dev", names[8:10]), ("test", names[10:])):
        (tmp_path / "data" / f"Flickr_8k.{split}Images.txt").write_text("\n".join(part))
    return tmp_path / "data"


def described(dataset):
    return {split: {each.name: list(each.captions) for each in images} for split, images in dataset.splits.items()}


def test_every_layout_is_read_alike(flickr):
    names = list(CAPTIONS)
    split = {name: "train" if place < 8 else "dev" if place < 10 else "test" for place, name in enumerate(names)}
    expected = {part: {n: CAPTIONS[n] for n in names if split[n] == part} for part in (TRAIN, DEV, TEST)}
    karpathy = [
        {"filename": n, "split": {"dev": "val"}.get(split[n], split[n]), "sentences": [{"raw": c} for c in CAPTIONS[n]]}
        for n in names
    ]
    (flickr / "dataset.json").write_text(json.dumps({"images": karpathy, "dataset": "x"}))
    with (flickr / "all.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["image", "caption", "split"], *([n, c, split[n]] for n in names for c in CAPTIONS[n])])
    for source in (flickr, flickr / "dataset.json", flickr / "all.csv"):
        assert described(read_captions(source)) == expected
    images = [{"id": place, "file_name": n} for place, n in enumerate(names)]
    annotations = [{"image_id": place, "caption": c} for place, n in enumerate(names) for c in CAPTIONS[n]]
    (flickr / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    found = described(read_captions(flickr / "coco.json"))
    assert {**found[TRAIN], **found[DEV]} == CAPTIONS
    assert len(found[DEV]) == 2


def test_marks_of_other_systems_change_nothing(flickr):
    before = described(read_captions(flickr))
    for name in ("Flickr8k.token.txt", "Flickr_8k.trainImages.txt"):
        text = (flickr / name).read_text().replace("\n", "\r\n")
        (flickr / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert described(read_captions(flickr)) == before
    with (flickr / "Flickr8k.token.txt").open("a", encoding="utf-8") as file:
        file.write("1.png#7\ta dog\u2028runs\n")
    assert "a dog runs" in described(read_captions(flickr))[TRAIN]["1.png"]
    (flickr / "results.csv").write_text("image_name| comment_number| comment\n1.png| 0| a dog\n2.png| 0| a cat\n")
    assert len(read_captions(flickr / "results.csv")[TRAIN]) == 1
    (flickr / "splits.csv").write_text("image,caption,split\n1.png,a dog,Train\n2.png,a cat,Val\n")
    assert described(read_captions(flickr / "splits.csv")) == {TRAIN: {"1.png": ["a dog"]}, DEV: {"2.png": ["a cat"]}}


def test_lists_that_are_missing_are_made_up_for(flickr):
    (flickr / "Flickr_8k.trainImages.txt").unlink()
    assert len(read_captions(flickr)[TRAIN]) == 8
    (flickr / "Flickr_8k.devImages.txt").unlink()
    dataset = read_captions(flickr)
    assert (len(dataset[TRAIN]), len(dataset[DEV]), len(dataset[TEST])) == (9, 1, 2)
    (flickr / "Flickr_8k.testImages.txt").unlink()
    with pytest.raises(CorpusError, match="there is no split 'test'; the data set has train, dev"):
        read_captions(flickr)[TEST]


def test_what_is_missing_empty_or_damaged_is_told(flickr):
    (flickr / "Images" / "0.png").unlink()
    with (flickr / "Flickr8k.token.txt").open("a") as file:
        file.write("1.png#2\t ... !\n\n")
    dataset = read_captions(flickr)
    assert (list(dataset.missing), dataset.empty_captions, len(dataset[TRAIN])) == (["0.png"], 1, 7)
    for path in (flickr / "Images").iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match=r"has no images with captions: 0\.png and 11 more are not there"):
        read_captions(flickr)


@pytest.mark.parametrize(
    ("name", "content", "words_"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"images": 1}', "images: not a list"),
        ("a.json", '{"images": [], "annotations": [{"image_id": 1, "caption": "a"}]}', "belongs to the image 1"),
        ("a.csv", "x,y\n1,2\n", "does not name the columns image and caption"),
        ("a.png", "", "is not a data set of captions"),
        ("b.csv", "image,caption\n../../etc/passwd,a\n", "has no images"),
    ],
)
def test_what_is_no_data_set_is_named(tmp_path, name, content, words_):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=words_):
        read_captions(tmp_path / name)


def test_words_are_plain_and_frequent():
    assert words("A man's dog, running-fast!  (Twice) 2") == ["a", "mans", "dog", "runningfast", "twice", "2"]
    tokenizer = learn_words(["a dog", "A dog runs.", "a cat"], 2)
    assert len(tokenizer) == 5
    ids = tokenizer.encode("A DOG, a cat!", unknown="replace").tolist()
    assert tokenizer.decode(ids) == "a dog a <unk>"
    stream = tokenizer.decoder()
    assert "".join(map(stream.push, ids[:3])) == "a dog a"
    assert tokenizer.never_sampled == (tokenizer.unknown_id, tokenizer.start_id)
    with pytest.raises(ConfigError, match="--min-count 9"):
        learn_words(["a dog"], 9)


# Scenes


def test_scenes_have_true_captions_and_some_kinds_in_one_split_only():
    dataset = draw_scenes()
    for split in (TRAIN, DEV, TEST, NOVEL):
        scenes = dataset[split][:400]
        assert all(scene.allows(caption) for scene in scenes for caption in scene.captions)
        unseen = [any((t.colour, t.shape) in UNSEEN for t in scene.things) for scene in scenes]
        assert all(unseen) if split == NOVEL else not any(unseen)
    again, other = (drawing._scenes(TRAIN, 9, seed) for seed in (0, 1))
    assert list(dataset[TRAIN][:9]) == again != other
    first = dataset[TRAIN][0].read()
    assert first.shape == (64, 64, 3)
    np.testing.assert_array_equal(first, dataset[TRAIN][0].read())


def test_false_captions_are_found():
    scene = Scene((Thing("small", "red", "circle", 15, 30), Thing("large", "blue", "cross", 45, 32)), 50, 0)
    true = ["a small red circle to the left of a large blue cross", "a large blue cross and a small red circle"]
    true += ["there is a small red circle on the left", "a large blue cross is to the right of a small red circle"]
    false = ["a small red circle to the right of a large blue cross", "a large red circle", "two small red circles"]
    false += ["a small red circle above a large blue cross", "a small red circle in the centre", "a dog", ""]
    false += ["a small red circle and a small red circle", "a small red circle on the left of"]
    assert [caption for caption in true if not scene.allows(caption)] == []
    assert [caption for caption in false if scene.allows(caption)] == []
    three = Scene(tuple(Thing("small", "red", "cross", x, 30) for x in (10, 30, 50)), 50, 0)
    assert three.allows("there are three small red crosses")
    assert not three.allows("two small red crosses")
    assert not three.allows("a small red cross")
    assert not three.allows("there is three small red crosses")
    assert not scene.allows("there are a small red circle")


# How captions are judged


def cider_d(said, references):
    """CIDEr-D written out from the paper, one image after the other."""

    def grams(text, n):
        split = text.split()
        return Counter(tuple(split[at : at + n]) for at in range(len(split) - n + 1))

    def weigh(counts, seen):
        return {gram: count * math.log(len(references) / max(1, seen[gram])) for gram, count in counts.items()}

    total = 0.0
    for n in range(1, 5):
        seen = Counter(g for group in references for g in {g for each in group for g in grams(each, n)})
        for text, group in zip(said, references, strict=True):
            ours = weigh(grams(text, n), seen)
            for reference in group:
                theirs = weigh(grams(reference, n), seen)
                dot = sum(min(ours[g], theirs.get(g, 0.0)) * theirs.get(g, 0.0) for g in ours)
                norms = math.sqrt(sum(v * v for v in ours.values()) * sum(v * v for v in theirs.values()))
                apart = len(text.split()) - len(reference.split())
                if norms:
                    total += dot / norms * math.exp(-apart * apart / 72) / len(group)
    return 10 * total / 4 / len(said)


sentences = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(" ".join)


@given(st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_cider_d_is_the_papers(pairs):
    said, references = zip(*pairs, strict=True)
    assert Cider(references).mean(said) == pytest.approx(cider_d(said, references), abs=1e-9)


def test_scores_by_hand():
    score = score_captions(["A dog runs.", "a cat"], [["a dog runs", "dog"], ["a red cat sleeps here"]])
    assert score.bleu1 == pytest.approx(100 * math.exp(1 - 8 / 5))
    assert score.images == 2
    perfect = score_captions(["a b c d e", "f g h i j"], [["A b, c d e!"], ["f g h i j"]])
    assert (perfect.bleu1, perfect.bleu4, perfect.cider_d) == pytest.approx((100, 100, 10))
    assert perfect.figures == pytest.approx({"bleu4": 100, "cider_d": 10})
    assert perfect.to_json().keys() == {"bleu1", "bleu2", "bleu3", "bleu4", "cider_d", "images"}


def test_of_captions_of_scenes_it_is_counted_how_many_are_true():
    scenes = draw_scenes()[DEV][:4]
    captions = [scene.captions[0] for scene in scenes[:3]]
    score = score_images([*captions, "a dog"], scenes)
    assert score.true == score.figures["true"] == score.to_json()["true"] == 0.75
    assert str(score).startswith("75.0 % true, CIDEr-D ")


# Exporting, asking


def test_the_gate_drives_the_words_with_what_the_encoder_sees(gallery):
    folder, _, _ = gallery
    source = Run.load(folder / "run").source()
    assert source.held_out is not None
    graphs = source.network.graphs()
    encode, step = graphs
    engines = {graph.spec.name: EagerEngine(graph.source, graph.spec) for graph in graphs}
    begin = Beginnings(step, graphs, engines, source.held_out.begin)
    alone, together = held_out_streams(step, begin, source.held_out, 4)
    assert (alone.rows, alone.recorded) == ((), True)
    images = [each["image"][0] for each in source.held_out.begin]
    assert together.rows == tuple(range(len(images)))
    given = next(together.given())
    for row, image in enumerate(images):
        seen = encode.source(torch.from_numpy(image)[None])
        for condition, tensor in zip(step.spec.conditions, seen, strict=True):
            np.testing.assert_allclose(given[condition.name][row], tensor[0].detach(), atol=1e-5)
            assert np.abs(given[condition.name]).max() <= condition.bound == 1


@pytest.fixture(scope="module")
def bundles(gallery):
    folder, _, _ = gallery
    source = Run.load(folder / "run").source()
    made = {}
    with convert_once(torch.nn.Module):
        for target, precision in MADE:
            path = folder / f"{target}-{precision}"
            made[target, precision] = export(source, path, target=target, precision=precision, steps=16)
    return source, made


@pytest.mark.matrix
def test_several_targets_describe_pictures(bundles):
    """Whether every target does, the laws that hold for every task say."""
    from edgernn.cli.load import load_model

    source, made = bundles
    image = np.random.default_rng(5).integers(0, 256, (50, 41, 3), np.uint8)
    expected = caption_image(load_model(made["onnx", "fp32"].path), image, 3)
    for (_, precision), exported in made.items():
        model = load_model(exported.path)
        found = caption_image(model, image, 3)
        assert len(found.candidates) == 3
        if precision == "fp32":
            assert exported.parity.matches.same == exported.parity.matches.of > 0
            assert [each.tokens for each in found.candidates] == [each.tokens for each in expected.candidates]
        verify(exported.path, source, steps=8)
    assert made["onnx", "int8"].bytes < 0.32 * made["onnx", "fp32"].bytes


@pytest.mark.matrix
def test_convolutions_are_of_integers(bundles):
    import onnxruntime

    _, made = bundles
    options = onnxruntime.SessionOptions()
    path = made["onnx", "int8"].path / "encode.onnx"
    options.optimized_model_filepath = str(path.parent.parent / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    import onnx

    operators = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    assert operators["QLinearConv"] == 4
    assert not operators["Conv"] + operators["FusedConv"]


@pytest.mark.matrix
def test_run_and_bundle_say_the_same(bundles, gallery):
    folder, trainer, _ = gallery
    _, made = bundles
    model = Model.load(made["onnx", "fp32"].path)
    for width in (1, 3):
        settings = CaptionEvaluation(data=str(folder / "all.csv"), split=TRAIN, beam=width)
        one = evaluate(model, settings, lambda done, figures: None)
        assert one == evaluate(eager_model(trainer.run.source()), settings, lambda done, figures: None)
        assert one.score.images == 10


@pytest.mark.matrix
def test_a_stream_looks_once_and_its_snapshot_has_the_picture(bundles):
    _, made = bundles
    model = Model.load(made["onnx", "fp32"].path)
    image = np.random.default_rng(5).integers(0, 256, (30, 41, 3), np.uint8)
    stream = start_caption(model, image)
    saved = stream.snapshot()
    words_ = "".join(stream.decode(12))
    assert words_ == caption_image(model, image, 1, 12).text
    other = start_caption(model, 255 - image)
    other.restore(saved)
    assert "".join(other.decode(12)) == words_
    tokens = caption_image(model, image).candidates[0].tokens
    weights = attention_maps(model, image, tokens)
    assert weights.shape == (len(tokens), 2, 2)
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-5)
    with pytest.raises(ContractError, match="height from 1 to 1024"):
        start_caption(model, np.zeros((1025, 3, 3), np.uint8))


@given(st.integers(1, 6), st.integers(0, 99))
def test_captions_of_many_images_are_those_of_one(width, seed):
    model = captioner()
    tokenizer = learn_words(["a b c d e f"], 1)
    torch.manual_seed(seed)
    model.decoder.bias.data.normal_(0, 2)
    seen = ImageFeatures(torch.randn(4, 12).tanh(), torch.randn(4, 4, 16).tanh())
    together = beam_captions(model.decoder, seen, tokenizer, width)
    assert together == [beam_captions(model.decoder, seen.take([row]), tokenizer, width)[0] for row in range(4)]


def test_drawn_captions_follow_the_models_probabilities():
    model, tokenizer = captioner(), learn_words(["a b c d e f"], 1)
    images = 4000
    seen = ImageFeatures(torch.randn(1, 12).tanh(), torch.randn(1, 4, 16).tanh()).take([0] * images)
    drawn = sample_captions(model.decoder, seen, tokenizer)
    assert drawn.shape[1] <= MAX_TOKENS
    assert not set(drawn.unique().tolist()) & set(tokenizer.never_sampled)
    start = torch.full((1,), tokenizer.start_id)
    logits = model.decoder(start, *seen.take([0]).tensors, *model.decoder.initial_state(1))[0][0]
    logits[list(tokenizer.never_sampled)] = -math.inf
    found = torch.bincount(drawn[:, 0], minlength=9) / images
    torch.testing.assert_close(found, torch.softmax(logits, 0), atol=0.04, rtol=0)
    for ids in drawn[:50].tolist():
        caption = before_end(ids, tokenizer.end_id)
        assert set(ids[len(caption) :]) <= {tokenizer.end_id}


def test_captions_are_padded_and_what_is_unknown_is_no_target():
    tokenizer = learn_words(["a b c d e f", "a b c d e f"], 2)
    start, end, unknown = tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id
    tokens, targets = pad_captions([[4, unknown, 5], [6], [4] * MAX_TOKENS], tokenizer)
    assert tokens.shape == targets.shape == (3, MAX_TOKENS + 1)
    assert tokens[:, :4].tolist() == [[start, 4, unknown, 5], [start, 6, end, end], [start, 4, 4, 4]]
    assert targets[:, :4].tolist() == [[4, IGNORED, 5, end], [6, end, IGNORED, IGNORED], [4, 4, 4, 4]]
    assert (targets[:2, 4:] == IGNORED).all()
    assert targets[2].tolist() == [4] * MAX_TOKENS + [IGNORED]  # it was cut, so nobody knows how it ends


def test_what_is_left_out_is_told():
    assert left_out([], [], 0) == []
    missing, damaged, empty = left_out(list("abcde"), ["x is no image"], 1234)
    assert missing == "images that have captions but no file are left out, 5 in all: a, b, c and 2 more"
    assert damaged == "images that cannot be read are left out, 1 in all: x is no image"
    assert empty == "captions without words are left out, 1,234 in all"


@pytest.mark.parametrize(
    ("settings", "words_"),
    [
        ({"name": "resnet"}, "--encoder resnet"),
        ({"padding": "odd"}, "--encoder-padding odd"),
        ({"padding": "tensorflow"}, "--encoder-padding tensorflow is not possible: --encoder small has symmetric"),
        ({"scaling": "none"}, "--encoder-scaling none"),
        ({"size": 33}, "--image-size 33 is not a multiple of 16"),
        ({"largest_side": 0}, "--largest-side 0"),
    ],
)
def test_impossible_encoders_are_named(settings, words_):
    with pytest.raises(ConfigError, match=words_):
        EncoderConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "words_"),
    [
        ({"encoder": "resnet"}, "--encoder resnet is not one of mobilenet_v2, small"),
        ({"encoder_padding": "odd"}, "--encoder-padding odd is not one of symmetric, tensorflow"),
        ({"encoder_scaling": "none"}, "--encoder-scaling none is not one of"),
        ({"image_size": 5000}, "--image-size 5000 is not a whole number of at least 1 and at most 4,096"),
        ({"largest_side": 0}, "--largest-side 0"),
        ({"attention": "hard"}, "--attention hard is not one of soft, none"),
        ({"heads": 3}, "--hidden 512 is not a multiple of --heads 3"),
        ({"hidden": 0}, "--hidden 0"),
        ({"cell": "lstn"}, "--cell lstn"),
        ({"layers": 0}, "--layers 0"),
        ({"dropout": 1.0}, "--dropout 1.0"),
        ({"vocabulary": -1}, "a vocabulary of -1 words is not possible"),
        ({"vocabulary": 1.5}, "a vocabulary of 1.5 words is not possible"),
    ],
)
def test_impossible_shapes_are_named(settings, words_):
    with pytest.raises(ConfigError, match=words_):
        CaptionConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "words_"),
    [
        ({"image_size": 33}, "--image-size 33 is not a multiple of 16"),
        (
            {"encoder_padding": "tensorflow"},
            "--encoder-padding tensorflow is not possible: --encoder small has symmetric",
        ),
        ({"vocabulary": 0}, "a captioner needs the size of its vocabulary"),
    ],
)
def test_shapes_that_no_network_has_are_named(settings, words_):
    with pytest.raises(ConfigError, match=words_):
        Captioner(CaptionConfig(**{"vocabulary": 9, **SMALL, **settings}))


def test_an_encoder_has_a_size_of_its_own_unless_one_is_given():
    assert [CaptionConfig(encoder=name).size for name in ("mobilenet_v2", "small")] == [224, 64]
    assert CaptionConfig(encoder="small", image_size=32).size == 32
    assert CaptionConfig(attention="none", heads=3, hidden=16).heads == 3


@pytest.mark.parametrize(
    ("settings", "words_"),
    [
        ({"batch_size": 0}, "--batch-size 0 is not a whole number of at least 1"),
        ({"passes": None, "minutes": None}, "training needs a limit"),
        ({"reward_fraction": 2.0}, "--reward-fraction 2.0 is not a number of at least 0 and at most 1"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0"),
        ({"reward_rate": 0.0}, "--reward-rate 0.0"),
        ({"smoothing": 1.0}, "--smoothing 1.0"),
        ({"word_dropout": 1.0}, "--word-dropout 1.0"),
        ({"average": 1.0}, "--average 1.0"),
        ({"reward_average": -0.1}, "--reward-average -0.1"),
        ({"augmentations": 0}, "--augmentations 0"),
        ({"beam": 1.5}, "--beam 1.5 is not a whole number"),
        ({"freeze": 1.1}, "--freeze 1.1"),
        ({"unfreeze_layers": 0}, "--unfreeze-layers 0"),
        ({"encoder_lr_scale": 1.5}, "--encoder-lr-scale 1.5"),
        ({"freeze": 1.0, "unfreeze_layers": 2}, "leave out --unfreeze-layers"),
    ],
)
def test_impossible_trainings_are_named(settings, words_):
    with pytest.raises(ConfigError, match=words_):
        CaptionTraining(**settings)


def test_impossible_data_settings_are_named():
    with pytest.raises(ConfigError, match=r"--min-count 1\.5"):
        CaptionData(min_count=1.5)
    with pytest.raises(ConfigError, match="--beam 0"):
        CaptionEvaluation(beam=0)
