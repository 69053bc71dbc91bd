"""The training of captioners: what a step teaches, what rewards do, what is kept, and how it goes on."""

import errno
import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from edgernn.training.captioning import CaptionRun, CaptionTrainer
from edgernn.training.captioning import loop as loop_of_captions
from gallery import CAPTIONS, ENCODER, FEW, SMALL, picture, write_gallery
from torch.nn.functional import log_softmax

from edgernn.cli import execute
from edgernn.data.captions import DEV, TRAIN, read_captions
from edgernn.errors import ConfigError, CorpusError, TrainingError
from edgernn.models.encoder import EncoderConfig, ImageEncoder
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks.caption import feature_cache as store
from edgernn.tasks.caption.feature_cache import cache_features, view_of
from edgernn.tasks.caption.score import CaptionScore
from edgernn.training.run import WEIGHTS


def silent(done, what):
    """Progress that nobody sees."""


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    return write_gallery(tmp_path / "data")


def begin(data, out, *, model=SMALL, **training):
    weights = training.pop("encoder_weights", None)
    settings = {**FEW, **training}
    return CaptionTrainer.begin(
        str(data), out, model=model, encoder=ENCODER, training=settings, encoder_weights=weights
    )


def finish(trainer):
    for _ in trainer.fit():
        pass
    return trainer


def encoder_weights(path):
    torch.manual_seed(5)
    weights = ImageEncoder(EncoderConfig("small", 32)).network.state_dict()
    safetensors.torch.save_file(weights, path)
    return weights


# What a step teaches


def nats_by_hand(trainer, places, captions):
    """Log-probabilities (words, vocabulary) of every caption's next words, by the step."""
    decoder, tokenizer = trainer.model.decoder, trainer.run.tokenizer
    features = trainer._sight.features(trainer.model.encoder, TRAIN, places)
    seen = trainer.model.glance(features)
    for row, ids in captions:
        one, state, found = seen.take([row]), decoder.initial_state(1), []
        for token in (tokenizer.start_id, *ids):
            results = decoder(torch.tensor([token]), *one.tensors, *state)
            state = results[len(results) - len(state) :]
            found.append(log_softmax(results[0][0], 0))
        yield ids, torch.stack(found)


def test_the_loss_is_smoothed_and_silent_about_what_nobody_wants_to_read(data, tmp_path):
    still = {**SMALL, "dropout": 0.0}
    trainer = begin(data, tmp_path / "run", model=still, smoothing=0.2, min_count=2, autocast="off", views=1)
    trainer.model.eval()
    unknown, end = trainer.run.tokenizer.unknown_id, trainer.run.tokenizer.end_id
    trainer._ids[1] = [4, 3] * (MAX_TOKENS // 2)  # cut: nobody knows how it ends
    trainer._ids[1] = [trainer._ids[1], [3]]
    places, costs, nats = [0, 1], [], []
    captions = [(row, ids) for row, place in enumerate(places) for ids in trainer._ids[place]]
    assert any(unknown in ids for _, ids in captions)
    with torch.no_grad():
        for ids, chances in nats_by_hand(trainer, places, captions):
            for at, target in enumerate([*ids, *([end] if len(ids) < MAX_TOKENS else [])]):
                if target != unknown:
                    nats.append(-chances[at, target])
                    costs.append(0.8 * -chances[at, target] + 0.2 * -chances[at].mean())
        features = trainer._sight.features(trainer.model.encoder, TRAIN, places)
        figure, loss = trainer._teach(places, features)
    assert figure == pytest.approx(float(torch.stack(nats).mean()), abs=1e-5)
    assert float(loss) == pytest.approx(float(torch.stack(costs).mean()), abs=1e-5)


def test_words_are_hidden_as_often_as_asked(data, tmp_path):
    trainer = begin(data, tmp_path / "run", word_dropout=0.25)
    start, unknown = trainer.run.tokenizer.start_id, trainer.run.tokenizer.unknown_id
    tokens = torch.full((100, 100), 4)
    tokens[:, 0] = start
    hidden = trainer._hidden(tokens)
    assert (hidden[:, 0] == start).all()
    assert set(hidden[:, 1:].unique().tolist()) == {4, unknown}
    assert float((hidden[:, 1:] == unknown).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_the_average_follows_slowly(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    name = "decoder.bias"
    before = trainer.average.state_dict()[name].clone()
    trainer.model.decoder.bias.data += 1
    trainer.step = 90
    trainer._follow(0.999)
    after = trainer.average.state_dict()[name]
    torch.testing.assert_close(after, before + (1 - 91 / 100))
    trainer.step = 10**9
    trainer._follow(0.9)
    torch.testing.assert_close(trainer.average.state_dict()[name], before + 1 - 0.9 * (91 / 100))


# Rewards


def test_rewards_make_the_better_captions_likelier_to_their_ends(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", images=1, autocast="off", views=1)
    tokenizer = trainer.run.tokenizer
    end, good = tokenizer.end_id, trainer._ids[0][0]
    drawn = [good, [4], [5, 4], [6], [3, 3]]
    longest = max(map(len, drawn)) + 1
    padded = torch.tensor([[*ids, *[end] * (longest - len(ids))] for ids in drawn])
    monkeypatch.setattr(loop_of_captions, "draw_captions", lambda *arguments: padded)
    monkeypatch.setattr(loop_of_captions, "_TAUGHT", 0.0)
    with torch.no_grad():
        features = trainer._sight.features(trainer.model.encoder, TRAIN, [0])
        mean, loss = trainer._reward([0], features)
        texts = [tokenizer.decode(ids) + " ." for ids in drawn]
        rewards = np.array([trainer._cider.each(0, text) for text in texts])
        assert rewards[0] > max(rewards[1:])
        others = [(rewards.sum() - reward) / 4 for reward in rewards]
        trainer.model.eval()
        costs = []
        for row, (ids, chances) in enumerate(nats_by_hand(trainer, [0], [(0, ids) for ids in drawn])):
            for at, token in enumerate([*ids, end]):
                costs.append((rewards[row] - others[row]) * -float(chances[at, token]))
    assert mean == pytest.approx(rewards.mean())
    assert float(loss) == pytest.approx(np.mean(costs), abs=1e-5)


def test_a_caption_without_an_end_is_worth_less(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    text = " ".join(trainer.run.tokenizer.decode(trainer._ids[0][0]).split())
    assert trainer._cider.each(0, f"{text} .") > trainer._cider.each(0, text) + 0.1


def test_training_teaches_then_rewards(gallery):
    folder, trainer, events = gallery
    steps = [event for event in events if hasattr(event, "nats")]
    assert [step.reward is None for step in steps] == [True] * 4 + [False] * 2
    assert steps[3].nats < steps[0].nats
    assert [line["step"] for line in trainer.run.metrics()] == [3, 6]
    assert trainer.score().cider_d == trainer.best
    assert CaptionRun.load(folder / "run").data.train == 10


def test_rewards_begin_from_the_average(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    trainer.model.decoder.bias.data += 1
    trainer._stale = 3
    trainer._begin_rewards()
    torch.testing.assert_close(dict(trainer.model.state_dict()), dict(trainer.average.state_dict()))
    assert trainer._stale == 0
    assert all(float(moment.abs().max()) == 0 for moment in trainer.optimizer.tensors().values() if moment.numel())


# What is kept


def test_the_best_weights_are_kept(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", steps=4, evaluations=4, reward=0.0)
    scripted = iter([0.2, 0.5, 0.4, 0.5])
    monkeypatch.setattr(
        trainer, "_score", lambda *_, **__: (CaptionScore(1, 1, 1, 1, next(scripted), 2), ["said", "again"])
    )
    finish(trainer)
    assert trainer.best == 0.5
    assert trainer.run.read(WEIGHTS)[1] == {"step": 2, "cider_d": 0.5}
    assert [line["cider_d"] for line in trainer.run.metrics()] == [0.2, 0.5, 0.4, 0.5]


def test_patience_ends_a_training_that_gets_no_better(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", steps=8, evaluations=8, reward=0.0, patience=2)
    scripted = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(
        trainer, "_score", lambda *_, **__: (CaptionScore(1, 1, 1, 1, next(scripted), 2), ["said", "again"])
    )
    finish(trainer)
    assert trainer.step == 4


@pytest.mark.parametrize("at", [2, 5])
def test_a_training_goes_on_exactly(gallery, data, tmp_path, at):
    _, trainer, _ = gallery
    again = begin(data, tmp_path / "run")
    for event in again.fit():
        if event.step == at:
            again.stop()
    again.save()
    resumed = CaptionTrainer.resume(tmp_path / "run")
    assert (resumed.step, resumed._rewarded) == (at, at == 5)
    finish(resumed)
    for ours, theirs in zip(resumed.model.state_dict().values(), trainer.model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_other_captions_are_no_way_to_go_on(data, tmp_path):
    finish(begin(data, tmp_path / "run"))
    data.write_text(data.read_text().replace("a a number 0", "a z number 0"))
    with pytest.raises(CorpusError, match="or other captions"):
        CaptionTrainer.resume(tmp_path / "run")


# The encoder, and what it sees


def test_a_frozen_encoder_stays_and_its_pictures_are_looked_at_once(data, tmp_path, monkeypatch):
    weights = encoder_weights(tmp_path / "w.safetensors")
    settings = {"reward": 0.0, "freeze": 1.0, "encoder_weights": tmp_path / "w.safetensors"}
    trainer = finish(begin(data, tmp_path / "run", **settings))
    for name, tensor in trainer.run.network().encoder.network.state_dict().items():
        torch.testing.assert_close(tensor, weights[name])
    monkeypatch.setattr(store, "_fill", None)  # nothing is looked at anew
    begin(data, tmp_path / "again", **settings)
    assert len(read_captions(data)[TRAIN]) == 10


@pytest.mark.parametrize(("rate", "thaw"), [(0.0, 3), (0.1, 3), (0.1, None)])
def test_the_last_layers_of_an_encoder_learn_in_the_last_part_of_the_teaching(data, tmp_path, rate, thaw):
    weights = encoder_weights(tmp_path / "w.safetensors")
    settings = {"steps": 10, "freeze": 0.5, "thaw": thaw, "encoder_weights": tmp_path / "w.safetensors"}
    trainer = begin(data, tmp_path / "run", **settings, encoder_rate=rate)
    learned = trainer.model.encoder.network
    moved = []
    for event in trainer.fit():
        if hasattr(event, "nats"):
            now = learned.state_dict()
            moved.append({name for name, tensor in weights.items() if not torch.equal(now[name], tensor)})
    last = {name for name in weights if thaw is None or int(name.split(".")[1]) >= len(learned.features) - thaw}
    matrices = {name for name in last if name.endswith("weight")}
    assert moved[:3] == [set()] * 3
    for names in moved[3:]:
        assert matrices <= names <= last if rate else not names


@pytest.mark.parametrize("settings", [{"freeze": 1.0}, {"freeze": 0.0, "thaw": 3}, {"freeze": 0.5, "thaw": None}])
def test_a_training_sees_what_the_whole_encoder_sees(data, tmp_path, settings):
    encoder_weights(tmp_path / "w.safetensors")
    trainer = begin(data, tmp_path / "run", views=4, **settings, encoder_weights=tmp_path / "w.safetensors")
    encoder, pictures = trainer.model.encoder, trainer._pictures(TRAIN)
    for frozen in (True, False):
        for place in (0, 7):
            resized = encoder.resize(torch.from_numpy(pictures[place].read())[None])
            for view in range(4):
                with torch.no_grad():
                    expected = encoder.features(view_of(resized, place, view))
                    found = trainer._sight.features(encoder, TRAIN, [place], [view], frozen=frozen)
                torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_views_are_parts_of_a_picture_and_always_the_same_ones():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    pixels = torch.stack([rows, columns, rows])[None]
    assert torch.equal(view_of(pixels, 3, 0), pixels)
    assert torch.equal(view_of(pixels, 3, 1), pixels.flip(3))
    parts = [view_of(pixels, seed, view) for seed in range(40) for view in (2, 3)]
    for number, part in enumerate(parts):
        assert part.shape == pixels.shape
        tall, wide = (part[0, 0, -1, 0] - part[0, 0, 0, 0]).item(), (part[0, 1, 0, -1] - part[0, 1, 0, 0]).item()
        assert (wide < 0) == (number % 2 == 1)  # mirrored
        height, width = tall + 1, abs(wide) + 1  # the levels are places in the picture
        assert 0.55 * 64**2 <= height * width <= 64**2
        assert height / width == pytest.approx(1, abs=0.4)
    assert len({part.numpy().tobytes() for part in parts}) == len(parts)
    assert torch.equal(view_of(pixels, 39, 3), parts[-1])


def test_weights_are_read_however_they_lie_in_memory(data, tmp_path):
    weights = encoder_weights(tmp_path / "w.safetensors")
    name = next(key for key, tensor in weights.items() if tensor.ndim == 4)
    twins = dict.fromkeys(("features.1.weight", "features.1.running_var"), weights["features.1.weight"])
    odd = {**weights, **twins, name: weights[name].to(memory_format=torch.channels_last)}
    torch.save(odd, tmp_path / "odd.pth")
    trainer = begin(data, tmp_path / "run", encoder_weights=tmp_path / "odd.pth")
    assert (trainer.run.training.freeze, trainer.run.training.thaw) == (0.1, 4)
    found = trainer.model.encoder.network.state_dict()
    for key, tensor in odd.items():
        torch.testing.assert_close(found[key], tensor)


def test_what_a_file_of_weights_says_of_itself_is_checked(data, tmp_path):
    weights = encoder_weights(tmp_path / "w.safetensors")
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors", {"padding": "same"})
    with pytest.raises(ConfigError, match=r"w.safetensors: its metadata says padding 'same', and there is symmetric"):
        begin(data, tmp_path / "run", encoder_weights=tmp_path / "w.safetensors")
    encoder_weights(tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="leave out --thaw"):
        begin(data, tmp_path / "run", freeze=1.0, thaw=2, encoder_weights=tmp_path / "w.safetensors")
    assert not (tmp_path / "run").exists()


def test_what_is_gone_is_named(data, tmp_path):
    for place in (5, 11):
        (data.parent / "images" / f"{place}.png").write_bytes(b"nothing")
    collection = read_captions(data)
    dev = [picture.path for picture in collection[DEV]]
    for path in dev:
        path.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="split dev: none of the pictures can be read"):
        begin(data, tmp_path / "run")


def test_freezing_what_is_not_pretrained_is_refused(data, tmp_path):
    for settings in ({"freeze": 0.5}, {"thaw": 2}):
        with pytest.raises(ConfigError, match="give some with --encoder-weights"):
            begin(data, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_what_is_kept_of_pictures_is_what_the_encoder_sees(data):
    pictures = read_captions(data)[DEV]
    for seed in (1, 2):  # another encoder sees other things
        torch.manual_seed(seed)
        encoder = ImageEncoder(EncoderConfig("small", 32)).eval()
        features = cache_features(encoder, pictures, layers=0, views=2, progress=silent)
        pixels = cache_features(encoder, pictures, layers=encoder.layers, views=2, progress=silent)
        for place, shown in enumerate(pictures):
            image = shown.read()
            for view, turned in enumerate((image, image[:, ::-1].copy())):
                with torch.no_grad():
                    resized = encoder.resize(torch.from_numpy(turned)[None])
                    expected = encoder.features(resized)[0]
                kept = features.rows([place], [view])[0].flatten(0, 1).float()
                torch.testing.assert_close(kept, expected, atol=2e-3, rtol=2e-3)
                kept = pixels.rows([place], [view])[0].permute(2, 0, 1)
                torch.testing.assert_close(kept, resized[0], atol=0.51, rtol=0)


def test_damaged_pictures_are_left_out(data, tmp_path):
    path = data.parent / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    trainer = begin(data, tmp_path / "run")
    assert len(trainer.damaged) == 1
    assert "3.png cannot be read as an image" in trainer.damaged[0]
    finish(trainer)


def test_a_disk_without_room_is_named(data, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(TrainingError, match=r"cannot be written: No space left.*EDGERNN_CACHE"):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not [*tmp_path.rglob("*.npy")]


# The commands

FLAGS = ["--encoder", "small", "--image-size", "32", "--hidden", "16", "--embedding", "12", "--heads", "2"]
FLAGS += ["--steps", "4", "--images", "4", "--min-count", "1"]


@pytest.fixture
def call(capsys):
    def run(*arguments):
        status = execute([*map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_commands_train_and_evaluate(call, data, tmp_path):
    (data.parent / "images" / "5.png").unlink()
    out = tmp_path / "run"
    status, printed, said = call("train", "caption", data, "--out", out, *FLAGS, "--evaluations", 2, "--json")
    answer = json.loads(printed)
    assert status == 0
    assert answer.keys() == {"run", "parameters", "steps", "seconds", "best"}
    assert (answer["run"], answer["steps"]) == (str(out), 4)
    scores = {"bleu1", "bleu2", "bleu3", "bleu4", "cider_d", "images"}
    assert answer["best"].keys() == scores
    assert "no file are left out, 1 in all: 5.png" in said
    (data.parent / "images" / "11.png").write_bytes(b"nothing")
    status, printed, said = call("evaluate", out, "--data", data, "--split", "dev", "--beam", 2, "--json")
    assert status == 0
    assert json.loads(printed).keys() == scores
    assert json.loads(printed)["images"] == 1
    assert "no file are left out, 1 in all: 5.png" in said
    assert "cannot be read are left out, 1 in all" in said
    for arguments, words in (
        ([out, "--data", data, "--split", "test"], "there is no split 'test', but train, dev"),
        ([out, "--text", data, "--beam", 2], "leave them out with --text"),
        ([out], "evaluate needs --text FILE for a language model, or --data PATH"),
        ([out, "--text", data], "is a run of caption, not of language"),
    ):
        status, printed, said = call("evaluate", *arguments)
        assert (status, printed) == (2, "")
        assert words in said


def test_commands_that_cannot_train_say_why(call, data, tmp_path):
    (tmp_path / "empty.pth").write_bytes(b"")
    finish(begin(data, tmp_path / "run"))
    for arguments, words in (
        ([data], "train caption needs --out RUN, or --resume RUN"),
        (["--resume", tmp_path / "run", "--beam", 3], "No such option: --beam"),
        (["--resume", tmp_path / "run", "--hidden", 3], "leave out --hidden"),
        ([data, "--resume", tmp_path / "run"], "leave out DATA"),
        ([data, "--out", tmp_path / "run"], "exists; choose another name"),
        ([data, "--out", tmp_path / "a", "--encoder", "resnet"], "--encoder resnet: there is"),
        (
            [data, "--out", tmp_path / "a", "--encoder", "resnet", "--encoder-weights", tmp_path / "empty.pth"],
            "--encoder resnet: there is",
        ),
        ([data, "--out", tmp_path / "a", "--encoder-weights", tmp_path / "empty.pth"], "empty.pth cannot be read"),
        ([tmp_path / "none", "--out", tmp_path / "a"], "there is no such file or directory"),
    ):
        status, printed, said = call("train", "caption", *arguments)
        assert (status, printed) == (2, ""), words
        assert words in said
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"image,caption\n0.png,a dog, running\n", "line 2 has more columns than the first"),
        ("a.csv", b"image,caption\n" + b"x" * 300 + b".png,a dog\n", "is not there; names are relative to"),
        ("a.csv", b"image,caption\n/tmp/0.png,a\n../0.png,b\n", "1 more are not there; names are relative to"),
        ("a.csv", b"image,caption\n0.png,\xff\n", "cannot be read: 'utf-8'"),
        ("a.json", json.dumps({"images": [{"id": [1], "file_name": "0.png"}], "annotations": []}), "no pictures"),
        (
            "a.json",
            json.dumps({"images": [{"filename": "0.png", "sentences": [{"raw": "a \ud800"}]}]}),
            "a caption of 0.png has half a character",
        ),
    ],
)
def test_data_that_is_not_what_it_should_be_is_named(data, name, content, words):
    path = data.parent / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=words):
        read_captions(path)


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / os.fsdecode(b"\xff")
    begin(write_gallery(folder), tmp_path / "run")
    picture(folder / "images" / "again.png")
    assert len(CAPTIONS) == 12
