"""How captioners are trained: what a step teaches, what rewards do, what is kept, and how training goes on."""

import errno
import json
import math
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from gallery import CAPTIONS, FEW, SMALL, write_gallery, write_image
from torch.nn.functional import log_softmax

from edgernn.data.captions import DEV, TRAIN, read_captions
from edgernn.errors import ConfigError, CorpusError, RunError, TrainingError
from edgernn.models.encoder import EncoderConfig, ImageEncoder
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks import TASKS
from edgernn.tasks.caption import feature_cache
from edgernn.tasks.caption import learner as learner_module
from edgernn.tasks.caption.data import DataRecord
from edgernn.tasks.caption.feature_cache import augment, cache_features
from edgernn.tasks.caption.learner import ENCODER
from edgernn.tasks.caption.score import CaptionScore
from edgernn.training import Evaluated, Run, Stepped, Trainer
from edgernn.training.run import CONFIG, DATA, WEIGHTS
from edgernn.training.trainer import ignore_progress

CAPTION = TASKS["caption"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    return write_gallery(tmp_path / "data")


def begin(data, out, **settings):
    return Trainer.begin(CAPTION, [str(data)], out, **{**SMALL, **FEW, **settings})


def finish(trainer):
    for _ in trainer.fit():
        pass
    return trainer


def encoder_weights(path):
    torch.manual_seed(5)
    weights = ImageEncoder(EncoderConfig("small", 32)).network.state_dict()
    safetensors.torch.save_file(weights, path)
    return weights


def steps_of(events):
    return [event for event in events if isinstance(event, Stepped)]


# What a step teaches


def log_probabilities(trainer, places, captions):
    """Log-probabilities (words, vocabulary) of every caption's next words, by the step."""
    decoder, learner = trainer.network.decoder, trainer.learner
    seen = trainer.network.projection(learner.features.of(trainer.network.encoder, TRAIN, places))
    for row, ids in captions:
        one, state, found = seen.take([row]), decoder.initial_state(1), []
        for token in (learner.tokenizer.start_id, *ids):
            results = decoder(torch.tensor([token]), *one.tensors, *state)
            state = results[len(results) - len(state) :]
            found.append(log_softmax(results[0][0], 0))
        yield ids, torch.stack(found)


def test_the_loss_is_smoothed_and_silent_about_what_nobody_wants_to_read(data, tmp_path):
    trainer = begin(data, tmp_path / "run", dropout=0.0, smoothing=0.2, min_count=2, augmentations=1)
    trainer.network.eval()
    learner = trainer.learner
    unknown, end = learner.tokenizer.unknown_id, learner.tokenizer.end_id
    learner._ids[1] = [[4, 3] * (MAX_TOKENS // 2), [3]]  # the first is cut: nobody knows how it ends
    places, costs, nats = [0, 1], [], []
    captions = [(row, ids) for row, place in enumerate(places) for ids in learner._ids[place]]
    assert any(unknown in ids for _, ids in captions)
    with torch.no_grad():
        for ids, chances in log_probabilities(trainer, places, captions):
            for at, target in enumerate([*ids, *([end] if len(ids) < MAX_TOKENS else [])]):
                if target != unknown:
                    nats.append(-chances[at, target])
                    costs.append(0.8 * -chances[at, target] + 0.2 * -chances[at].mean())
        features = learner.features.of(trainer.network.encoder, TRAIN, places)
        figure, loss, count = learner.teacher_forcing_loss(places, features)
    assert figure == pytest.approx(float(torch.stack(nats).mean()), abs=1e-5)
    assert float(loss) == pytest.approx(float(torch.stack(costs).mean()), abs=1e-5)
    assert count == len(nats)


def test_words_are_hidden_as_often_as_asked(data, tmp_path):
    learner = begin(data, tmp_path / "run", word_dropout=0.25).learner
    start, unknown = learner.tokenizer.start_id, learner.tokenizer.unknown_id
    tokens = torch.full((100, 100), 4)
    tokens[:, 0] = start
    hidden = learner.drop_words(tokens)
    assert (hidden[:, 0] == start).all()
    assert set(hidden[:, 1:].unique().tolist()) == {4, unknown}
    assert float((hidden[:, 1:] == unknown).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_every_image_is_learned_from_once_in_a_pass(data, tmp_path):
    trainer = begin(data, tmp_path / "run", batch_size=4, augmentations=3)
    learner = trainer.learner
    assert learner.steps_per_pass == 3
    batches = [learner._batch(step) for step in range(6)]
    assert [len(places) for places, _, _ in batches] == [4, 4, 2] * 2
    orders = [[place for places, _, _ in batches[at : at + 3] for place in places] for at in (0, 3)]
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0] != orders[1]
    assert {number for _, augmentations, _ in batches for number in augmentations} == {0, 1, 2}
    assert learner._batch(4) == batches[4]
    again = begin(data, tmp_path / "other", batch_size=4, augmentations=3, seed=1).learner
    assert [again._batch(step) for step in range(6)] != batches


def test_the_average_follows_slowly(data, tmp_path):
    trainer = begin(data, tmp_path / "run", average=0.999, reward_average=0.9)
    name = "decoder.bias"
    before = trainer.average.state_dict()[name].clone()
    trainer.network.decoder.bias.data += 1
    trainer.step = 90
    trainer._update_average()
    torch.testing.assert_close(trainer.average.state_dict()[name], before + (1 - 91 / 100))
    trainer.step, trainer.phase = 10**9, 1
    trainer._update_average()
    torch.testing.assert_close(trainer.average.state_dict()[name], before + 1 - 0.9 * (91 / 100))


def test_running_means_of_the_average_are_those_of_the_network(data, tmp_path):
    trainer = begin(data, tmp_path / "run", reward_fraction=0.0)
    begun = {name: tensor.clone() for name, tensor in trainer.average.named_buffers()}
    moved = {name for name in begun if "running" in name or "num_batches" in name}
    assert moved
    for event in trainer.fit():
        for name, tensor in trainer.average.named_buffers():
            torch.testing.assert_close(tensor, trainer.network.get_buffer(name), atol=0, rtol=0)
            assert torch.equal(tensor, begun[name]) == (name not in moved), (event.step, name)


def test_running_means_that_came_with_weights_are_kept(data, tmp_path):
    weights = encoder_weights(tmp_path / "w.safetensors")
    settings = {"freeze": 0.0, "unfreeze_layers": 99, "encoder_weights": str(tmp_path / "w.safetensors")}
    trainer = finish(begin(data, tmp_path / "run", **settings))
    found = trainer.network.encoder.network.state_dict()
    for name in (name for name in weights if "running" in name):
        assert torch.equal(found[name], weights[name])
    assert not torch.equal(found["features.0.weight"], weights["features.0.weight"])


def test_matrices_of_the_decoder_decay_and_nothing_else(data, tmp_path):
    for weights, scale in ((None, 1.0), (str(tmp_path / "w.safetensors"), 0.2)):
        encoder_weights(tmp_path / "w.safetensors")
        settings = {"encoder_weights": weights, "weight_decay": 0.3, "encoder_lr_scale": 0.2}
        trainer = begin(data, tmp_path / "run", **settings, overwrite=True)
        names = {parameter: name for name, parameter in trainer.network.named_parameters()}
        decaying, others, encoder = trainer.learner.parameter_groups(0)
        assert [group["weight_decay"] for group in (decaying, others, encoder)] == [0.3, 0.0, 0.0]
        assert [group.get("scale", 1.0) for group in (decaying, others, encoder)] == [1.0, 1.0, scale]
        matrices = {names[each] for each in decaying["params"]}
        assert "decoder.embedding.weight" in {names[each] for each in others["params"]}
        assert {"decoder.join.weight", "projection.cell.weight", "decoder.stack.layers.0.gates.weight"} <= matrices
        assert all(each.ndim == 2 for each in decaying["params"])
        assert all(names[each].startswith("encoder.") for each in encoder["params"])
        layers = {int(names[each].split(".")[3]) for each in encoder["params"]}
        assert min(layers) >= (12 - 4 if weights else 0)
        learned = [*decaying["params"], *others["params"], *encoder["params"]]
        assert len(set(learned)) == len(learned)
        assert weights or set(learned) == set(trainer.network.parameters())


# Rewards


def test_rewards_make_the_better_captions_likelier_to_their_ends(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", batch_size=1, augmentations=1)
    learner = trainer.learner
    tokenizer = learner.tokenizer
    end, good = tokenizer.end_id, learner._ids[0][0]
    drawn = [good, [4], [5, 4], [6], [3, 3]]
    longest = max(map(len, drawn)) + 1
    padded = torch.tensor([[*ids, *[end] * (longest - len(ids))] for ids in drawn])
    monkeypatch.setattr(learner_module, "sample_captions", lambda *arguments: padded)
    monkeypatch.setattr(learner_module, "_TEACHER_FORCING", 0.0)
    with torch.no_grad():
        features = learner.features.of(trainer.network.encoder, TRAIN, [0])
        mean, loss = learner.self_critical_loss([0], features)
        texts = [tokenizer.decode(ids) + " ." for ids in drawn]
        rewards = np.array([learner.cider.each(0, text) for text in texts])
        assert rewards[0] > max(rewards[1:])
        others = [(rewards.sum() - reward) / 4 for reward in rewards]
        trainer.network.eval()
        costs = []
        for row, (ids, chances) in enumerate(log_probabilities(trainer, [0], [(0, ids) for ids in drawn])):
            for at, token in enumerate([*ids, end]):
                costs.append((rewards[row] - others[row]) * -float(chances[at, token]))
    assert mean == pytest.approx(rewards.mean())
    assert float(loss) == pytest.approx(np.mean(costs), abs=1e-5)


def test_some_teacher_forcing_goes_on_while_captions_are_rewarded(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", dropout=0.0, augmentations=1)
    learner = trainer.learner
    monkeypatch.setattr(learner.cider, "each", lambda image, caption: 1.0)  # no caption is better than another
    with torch.no_grad():
        features = learner.features.of(trainer.network.encoder, TRAIN, [0, 1])
        mean, loss = learner.self_critical_loss([0, 1], features)
        taught = learner.teacher_forcing_loss([0, 1], features)[1]
    assert mean == 1.0
    assert float(loss) == pytest.approx(0.1 * float(taught), rel=1e-5)


def test_a_caption_without_an_end_is_worth_less(data, tmp_path):
    learner = begin(data, tmp_path / "run").learner
    text = " ".join(learner.tokenizer.decode(learner._ids[0][0]).split())
    assert learner.cider.each(0, f"{text} .") > learner.cider.each(0, text) + 0.1


def test_training_teaches_then_rewards(gallery):
    folder, trainer, events = gallery
    steps = steps_of(events)
    assert [list(step.figures) for step in steps] == [["nats"]] * 4 + [["reward"]] * 2
    assert steps[3].figures["nats"] < steps[0].figures["nats"]
    lines = trainer.run.metrics()
    assert [line["step"] for line in lines] == [3, 6]
    assert [line.keys() - {"step", "seconds", "bleu4", "cider_d"} for line in lines] == [
        {"train_nats"},
        {"train_reward"},
    ]
    assert trainer.score().cider_d == trainer.best == max(line["cider_d"] for line in lines)
    record = DataRecord.from_json(Run.load(folder / "run").prepared.record)
    assert (record.train, record.dev, record.source) == (10, 2, str((folder / "all.csv").resolve()))
    samples = [event.samples for event in events if isinstance(event, Evaluated)]
    assert [list(each) for each in samples] == [[image.name for image in trainer.learner.features.images[DEV]]] * 2


def test_an_encoder_does_not_learn_by_rewards(data, tmp_path):
    trainer = begin(data, tmp_path / "run", reward_fraction=1.0)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    finish(trainer)
    for name, tensor in trainer.network.state_dict().items():
        if "encoder" in name:
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(trainer.network.decoder.bias, before["decoder.bias"])


def test_rewards_begin_from_the_average(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    trainer.network.decoder.bias.data += 1
    trainer._stale = 3
    trainer._enter(1)
    torch.testing.assert_close(dict(trainer.network.state_dict()), dict(trainer.average.state_dict()))
    assert trainer._stale == 0
    assert all(float(moment.abs().max()) == 0 for moment in trainer.optimizer.tensors().values() if moment.numel())


@pytest.mark.parametrize(("average", "fraction", "averages"), [(0.0, 0.0, False), (0.0, 0.4, True), (0.9, 0.0, True)])
def test_weights_are_averaged_if_any_part_of_training_does(data, tmp_path, average, fraction, averages):
    settings = {"average": average, "reward_average": 0.9, "reward_fraction": fraction}
    trainer = begin(data, tmp_path / "run", **settings)
    assert (trainer.average is not trainer.network) == averages
    for event in trainer.fit():
        same = torch.equal(trainer.average.decoder.bias, trainer.network.decoder.bias)
        assert same == (average == 0 and (not fraction or event.step <= 4)), event.step
    finish(Trainer.resume(tmp_path / "run"))


def test_a_training_without_rewards_has_one_phase():
    plain, rewarding, only = (CAPTION.training(reward_fraction=each) for each in (0.0, 0.25, 1.0))
    assert [plain.rewards(each) for each in (0.0, 0.75, 1.0)] == [False] * 3
    assert [rewarding.rewards(each) for each in (0.0, 0.74, 0.75, 1.0)] == [False, False, True, True]
    assert only.rewards(0.0)


def test_the_learning_rate_is_one_cycle_in_each_part():
    settings = CAPTION.training(learning_rate=1.0, reward_rate=0.5, warmup=0.2, reward_fraction=0.25)
    rates = [settings.learning_rate_at(each / 100) for each in range(101)]
    assert rates[15] == max(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(0.04)
    assert rates[74] < 0.01 < rates[75] == 0.5
    assert rates[75:] == sorted(rates[75:], reverse=True)
    assert rates[100] == pytest.approx(0.0005)
    assert CAPTION.training(reward_fraction=1.0, reward_rate=0.5).learning_rate_at(0.0) == 0.5


# What is kept


def scripted(trainer, monkeypatch, *figures):
    left = iter(figures)
    monkeypatch.setattr(trainer.learner, "evaluate", lambda network, **_: CaptionScore(1, 1, 1, 1, next(left), 2))


def test_the_best_weights_are_kept(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", steps=4, evaluations=4, reward_fraction=0.0)
    scripted(trainer, monkeypatch, 0.2, 0.5, 0.4, 0.5)
    finish(trainer)
    assert trainer.best == 0.5
    assert trainer.run.read(WEIGHTS)[1] == {"step": 2, "cider_d": 0.5}
    assert [line["cider_d"] for line in trainer.run.metrics()] == [0.2, 0.5, 0.4, 0.5]


def test_patience_ends_a_training_that_gets_no_better(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", steps=8, evaluations=8, reward_fraction=0.0, patience=2)
    scripted(trainer, monkeypatch, 0.2, 0.5, 0.4, 0.5, 0.9)
    finish(trainer)
    assert trainer.step == 4


def test_patience_begins_again_with_rewards(data, tmp_path, monkeypatch):
    trainer = begin(data, tmp_path / "run", steps=8, evaluations=8, reward_fraction=0.5, patience=3)
    scripted(trainer, monkeypatch, 0.2, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4)
    finish(trainer)
    assert trainer.step == 7


def test_the_average_is_what_is_scored_and_kept(data, tmp_path):
    trainer = begin(data, tmp_path / "run", average=0.6)
    kept = 0
    for event in trainer.fit():
        if isinstance(event, Evaluated) and event.best:
            tensors, about = trainer.run.read(WEIGHTS)
            assert about == {"step": event.step, "cider_d": event.score.cider_d}
            for name, tensor in trainer.average.state_dict().items():
                assert torch.equal(tensors[name], tensor), name
            assert not torch.equal(trainer.average.decoder.bias, trainer.network.decoder.bias)
            kept += 1
    assert kept


@pytest.mark.parametrize("at", [2, 5])
def test_a_training_goes_on_exactly(gallery, data, tmp_path, at):
    _, trainer, _ = gallery
    again = begin(data, tmp_path / "run")
    for event in again.fit():
        if event.step == at:
            again.stop()
    again.save()
    torch.manual_seed(99)
    resumed = Trainer.resume(tmp_path / "run")
    assert (resumed.step, resumed.phase) == (at, int(at == 5))
    finish(resumed)
    for ours, theirs in zip(resumed.network.state_dict().values(), trainer.network.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (trainer.run.path / WEIGHTS).read_bytes()


def test_a_fine_tuning_goes_on_exactly(data, tmp_path):
    encoder_weights(tmp_path / "w.safetensors")
    settings = {"freeze": 0.5, "unfreeze_layers": 3, "word_dropout": 0.2, "steps": 8}
    settings["encoder_weights"] = str(tmp_path / "w.safetensors")
    whole = finish(begin(data, tmp_path / "whole", **settings))
    (tmp_path / "w.safetensors").unlink()  # the run has its own copy
    for until in (1, 4):
        trainer = begin_again(data, tmp_path / "whole", tmp_path / f"cut{until}")
        for event in trainer.fit():
            if event.step == until:
                trainer.stop()
        trainer.save()
        finish(Trainer.resume(trainer.run.path))
        assert (trainer.run.path / WEIGHTS).read_bytes() == (whole.run.path / WEIGHTS).read_bytes()


def test_a_captioner_starts_from_the_encoder_that_another_one_trained(data, tmp_path):
    encoder_weights(tmp_path / "w.safetensors")
    pretrained = {"encoder_weights": str(tmp_path / "w.safetensors"), "freeze": 0.25, "unfreeze_layers": 3}
    old = finish(begin(data, tmp_path / "old", reward_fraction=0.0, **pretrained))
    (tmp_path / "w.safetensors").unlink()
    few = {name: value for name, value in FEW.items() if name != "min_count"}
    new = Trainer.begin(CAPTION, [str(data)], tmp_path / "new", start_from=old.run.path, **{**few, "freeze": 1.0})
    kept = old.run.network().encoder.network.state_dict()
    before = safetensors.torch.load_file(tmp_path / "new" / DATA / ENCODER)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in before.items())
    finish(new)
    after = new.run.network().encoder.network.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in after.items())  # it was frozen for good
    assert not torch.equal(new.network.decoder.bias, old.network.decoder.bias)
    for option, value in (("encoder_weights", "w"), ("min_count", 3), ("hidden", 9)):
        with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} cannot differ from that of the run"):
            Trainer.begin(CAPTION, [str(data)], tmp_path / "x", start_from=old.run.path, **{**few, option: value})


def test_words_that_another_captioner_lacks_are_counted(gallery, data, tmp_path):
    _, trainer, _ = gallery
    few = {name: value for name, value in FEW.items() if name != "min_count"}
    data.write_text(data.read_text().replace("a b number 1", "a zebra number 1"))
    new = Trainer.begin(CAPTION, [str(data)], tmp_path / "new", start_from=trainer.run.path, **few)
    (note,) = new.notes
    assert "has no 'zebra': 1 of " in note
    data.write_text("image,caption\n" + "".join(f"{number}.png,Zebra!\n" for number in range(12)))
    with pytest.raises(CorpusError, match="has no character or word of the text: train from new weights"):
        Trainer.begin(CAPTION, [str(data)], tmp_path / "x", start_from=trainer.run.path, **few)


@pytest.mark.parametrize(("freeze", "frozen"), [(0.5, False), (1.0, True)])
def test_an_encoder_that_was_unfrozen_stays_so_beyond_the_end(data, tmp_path, freeze, frozen):
    encoder_weights(tmp_path / "w.safetensors")
    settings = {"freeze": freeze, "reward_fraction": 0.0, "encoder_weights": str(tmp_path / "w.safetensors")}
    finish(begin(data, tmp_path / "run", **settings))
    later = Trainer.resume(tmp_path / "run", steps=9)
    before = {name: tensor.clone() for name, tensor in later.network.encoder.state_dict().items()}
    next(later.fit())
    after = later.network.encoder.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()) == frozen


def begin_again(data, run, out):
    """A trainer at the beginning of a copy of a run."""
    (out / DATA).mkdir(parents=True)
    for path in (run / CONFIG, run / "held-out.safetensors", run / DATA / ENCODER, *(run / "assets").iterdir()):
        target = out / path.relative_to(run)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (out / "metrics.jsonl").touch()
    return Trainer.resume(out)


def test_other_captions_are_no_way_to_go_on(data, tmp_path):
    finish(begin(data, tmp_path / "run"))
    data.write_text(data.read_text().replace("a a number 0", "a z number 0"))
    with pytest.raises(CorpusError, match="it has 10 and 2, or other captions: train again"):
        Trainer.resume(tmp_path / "run")
    data.unlink()
    with pytest.raises(CorpusError, match=r"there is no .*all\.csv"):
        Trainer.resume(tmp_path / "run")


def test_what_exports_compare_by_is_what_the_encoder_sees(gallery):
    _, trainer, _ = gallery
    held_out, learner = trainer.run.prepared.held_out, trainer.learner
    resized = {}
    for split, arrays in ((DEV, held_out.begin), (TRAIN, held_out.calibration)):
        images = learner.features.images[split]
        assert len(arrays) == len(images)
        for image, array in zip(images, arrays, strict=True):
            assert array["image"].shape == (1, 32, 32, 3)
            assert array["image"].dtype == np.uint8
            expected = trainer.network.encoder.resize(torch.from_numpy(image.read())[None]).permute(0, 2, 3, 1)
            np.testing.assert_allclose(array["image"], expected, atol=0.51)
            resized[image.name] = array
    assert resized.keys() == CAPTIONS.keys()
    tokens, targets = held_out.steps["token"], held_out.targets["logits"]
    for row, image in enumerate(learner.features.images[DEV]):
        ids = learner.tokenizer.encode(image.captions[0], unknown="replace").tolist()
        assert tokens[row, : len(ids) + 1].tolist() == [learner.tokenizer.start_id, *ids]
        wanted = [each if each != learner.tokenizer.unknown_id else -100 for each in [*ids, learner.tokenizer.end_id]]
        assert targets[row, : len(ids) + 1].tolist() == wanted
        assert (targets[row, len(ids) + 1 :] == -100).all()
    feedback = held_out.feedback["token"]
    assert (feedback.output, feedback.steps, feedback.end) == ("logits", MAX_TOKENS, learner.tokenizer.end_id)
    assert feedback.excluded == learner.tokenizer.never_sampled


# The encoder, and what it sees


def test_a_frozen_encoder_stays_and_its_images_are_looked_at_once(data, tmp_path, monkeypatch):
    weights = encoder_weights(tmp_path / "w.safetensors")
    settings = {"reward_fraction": 0.0, "freeze": 1.0, "encoder_weights": str(tmp_path / "w.safetensors")}
    trainer = finish(begin(data, tmp_path / "run", **settings))
    for name, tensor in trainer.run.network().encoder.network.state_dict().items():
        torch.testing.assert_close(tensor, weights[name])
    assert trainer.settings.unfreeze_layers is None
    monkeypatch.setattr(feature_cache, "_fill", None)  # nothing is looked at again
    begin(data, tmp_path / "again", **settings)
    assert len(read_captions(data)[TRAIN]) == 10


ALL = 1_000_000  # layers


@pytest.mark.parametrize(("rate", "unfreeze"), [(0.0, 3), (0.1, 3), (0.1, ALL)])
def test_the_last_layers_of_an_encoder_learn_in_the_last_part_of_the_teaching(data, tmp_path, rate, unfreeze):
    weights = encoder_weights(tmp_path / "w.safetensors")
    settings = {"steps": 10, "freeze": 0.5, "unfreeze_layers": unfreeze, "encoder_lr_scale": rate}
    trainer = begin(data, tmp_path / "run", **settings, encoder_weights=str(tmp_path / "w.safetensors"))
    learned = trainer.network.encoder.network
    moved = []
    for event in trainer.fit():
        if isinstance(event, Stepped) and "nats" in event.figures:
            now = learned.state_dict()
            moved.append({name for name, tensor in weights.items() if not torch.equal(now[name], tensor)})
    last = {name for name in weights if unfreeze == ALL or int(name.split(".")[1]) >= len(learned.features) - unfreeze}
    matrices = {name for name in last if name.endswith("weight")}
    assert len(moved) == 6
    assert moved[:3] == [set()] * 3
    for names in moved[3:]:
        assert matrices <= names <= last if rate else not names


@pytest.mark.parametrize(
    "settings",
    [{"freeze": 1.0}, {"freeze": 0.0, "unfreeze_layers": 3}, {"freeze": 0.5, "unfreeze_layers": ALL}],
    ids=str,
)
def test_a_training_sees_what_the_whole_encoder_sees(data, tmp_path, settings):
    encoder_weights(tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    trainer = begin(data, tmp_path / "run", augmentations=4, **settings, encoder_weights=path)
    encoder, features = trainer.network.encoder, trainer.learner.features
    for frozen in (True, False):
        for place in (0, 7):
            resized = encoder.resize(torch.from_numpy(features.images[TRAIN][place].read())[None])
            for number in range(4):
                with torch.no_grad():
                    expected = encoder.features(augment(resized, place, number))
                    found = features.of(encoder, TRAIN, [place], [number], frozen=frozen)
                torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_augmentations_are_parts_of_an_image_and_always_the_same_ones():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    pixels = torch.stack([rows, columns, rows])[None]
    assert torch.equal(augment(pixels, 3, 0), pixels)
    assert torch.equal(augment(pixels, 3, 1), pixels.flip(3))
    parts = [augment(pixels, seed, number) for seed in range(40) for number in (2, 3)]
    for number, part in enumerate(parts):
        assert part.shape == pixels.shape
        tall, wide = (part[0, 0, -1, 0] - part[0, 0, 0, 0]).item(), (part[0, 1, 0, -1] - part[0, 1, 0, 0]).item()
        assert (wide < 0) == (number % 2 == 1)  # mirrored
        height, width = tall + 1, abs(wide) + 1  # the levels are places in the image
        assert 0.55 * 64**2 <= height * width <= 64**2
        assert height / width == pytest.approx(1, abs=0.4)
    assert len({part.numpy().tobytes() for part in parts}) == len(parts)
    assert torch.equal(augment(pixels, 39, 3), parts[-1])


def test_weights_are_read_however_they_lie_in_memory(data, tmp_path):
    weights = encoder_weights(tmp_path / "w.safetensors")
    name = next(key for key, tensor in weights.items() if tensor.ndim == 4)
    twins = dict.fromkeys(("features.1.weight", "features.1.running_var"), weights["features.1.weight"])
    odd = {**weights, **twins, name: weights[name].to(memory_format=torch.channels_last)}
    torch.save(odd, tmp_path / "odd.pth")
    trainer = begin(data, tmp_path / "run", encoder_weights=str(tmp_path / "odd.pth"))
    assert (trainer.settings.freeze, trainer.settings.unfreeze_layers) == (0.1, 4)
    found = trainer.network.encoder.network.state_dict()
    for key, tensor in odd.items():
        torch.testing.assert_close(found[key], tensor)


def test_an_encoder_without_weights_learns_as_a_whole_from_the_beginning(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    assert (trainer.settings.freeze, trainer.settings.unfreeze_layers) == (0.0, None)
    assert trainer.learner.features.learned_layers == trainer.network.encoder.layers == 12


def test_what_a_file_of_weights_says_of_itself_is_believed_and_checked(data, tmp_path):
    path = str(tmp_path / "w.safetensors")
    weights = encoder_weights(path)
    for said, words in (
        ({"padding": "same"}, "padding 'same'; known are symmetric"),
        ({"scaling": "x"}, "scaling 'x'"),
    ):
        safetensors.torch.save_file(weights, path, said)
        with pytest.raises(ConfigError, match=rf"w\.safetensors: its metadata says {words}"):
            begin(data, tmp_path / "run", encoder_weights=path)
    safetensors.torch.save_file(weights, path, {"scaling": "x/127.5-1"})
    for settings, scaling in (({}, "x/127.5-1"), ({"encoder_scaling": "imagenet"}, "imagenet")):
        trainer = begin(data, tmp_path / "run", encoder_weights=path, **settings, overwrite=True)
        assert trainer.network.encoder.config.scaling == scaling
        assert trainer.run.prepared.chosen.model.encoder_scaling == scaling
    with pytest.raises(ConfigError, match="leave out --unfreeze-layers"):
        begin(data, tmp_path / "other", freeze=1.0, unfreeze_layers=2, encoder_weights=path)
    assert not (tmp_path / "other").exists()


def test_a_run_without_its_encoder_weights_is_named(data, tmp_path):
    encoder_weights(tmp_path / "w.safetensors")
    trainer = begin(data, tmp_path / "run", encoder_weights=str(tmp_path / "w.safetensors"))
    path = trainer.run.path / DATA / ENCODER
    for content in (path.read_bytes()[:99], None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(CorpusError, match=r"the run's own encoder weights are damaged: .*encoder\.safetensors"):
            Trainer.resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["settings"]["model"].update(encoder="resnet"), "--encoder resnet is not one of"),
        (lambda c: c["settings"]["model"].update(heads=3), "--hidden 16 is not a multiple of --heads 3"),
        (lambda c: c["settings"]["training"].update(beam=0), "--beam 0"),
        (lambda c: c["data"].update(train=-1), "images: -1"),
        (lambda c: c["data"].update(source=3), "'3' is not a string"),
        (lambda c: c.update(data={}), "the data lacks 'dev'"),
    ],
)
def test_a_configuration_that_lies_is_named(data, tmp_path, change, words):
    path = begin(data, tmp_path / "run").run.path / CONFIG
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(RunError, match=f"run: .*{words}"):
        Trainer.resume(tmp_path / "run")


def test_a_split_without_images_is_named(data, tmp_path):
    for image in read_captions(data)[DEV]:
        image.path.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"split dev: none of the images can be read: .* cannot be read as an image"):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_freezing_what_is_not_pretrained_is_refused(data, tmp_path):
    for settings in ({"freeze": 0.5}, {"unfreeze_layers": 2}):
        with pytest.raises(ConfigError, match="is about a pretrained encoder: name its weights with --encoder-weights"):
            begin(data, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_what_is_kept_of_images_is_what_the_encoder_sees(data):
    images = read_captions(data)[DEV]
    for seed in (1, 2):  # another encoder sees other things
        torch.manual_seed(seed)
        encoder = ImageEncoder(EncoderConfig("small", 32)).eval()
        features = cache_features(encoder, images, layers=0, augmentations=2, progress=ignore_progress)
        layers = encoder.layers
        pixels = cache_features(encoder, images, layers=layers, augmentations=2, progress=ignore_progress)
        for place, shown in enumerate(images):
            image = shown.read()
            for number, turned in enumerate((image, image[:, ::-1].copy())):
                with torch.no_grad():
                    resized = encoder.resize(torch.from_numpy(turned)[None])
                    expected = encoder.features(resized)[0]
                kept = features.rows([place], [number])[0].flatten(0, 1).float()
                torch.testing.assert_close(kept, expected, atol=2e-3, rtol=2e-3)
                kept = pixels.rows([place], [number])[0].permute(2, 0, 1)
                torch.testing.assert_close(kept, resized[0], atol=0.51, rtol=0)


def test_a_damaged_cache_is_made_again(data, tmp_path):
    before = finish(begin(data, tmp_path / "run"))
    for path in (tmp_path / "cache" / "images").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:50])
    after = finish(begin(data, tmp_path / "again"))
    assert (after.run.path / WEIGHTS).read_bytes() == (before.run.path / WEIGHTS).read_bytes()


def test_damaged_images_are_left_out(data, tmp_path):
    path = data.parent / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    (data.parent / "images" / "4.png").unlink()
    trainer = begin(data, tmp_path / "run")
    (damaged,) = trainer.learner.features.damaged
    assert "3.png cannot be read as an image" in damaged
    missing, unreadable = trainer.learner.notes
    assert missing == "images that have captions but no file are left out, 1 in all: 4.png"
    assert unreadable == f"images that cannot be read are left out, 1 in all: {damaged}"
    finish(trainer)


def test_a_disk_without_room_is_named(data, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(TrainingError, match=r"cannot be written: No space left.*EDGERNN_CACHE"):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not [*tmp_path.rglob("*.npy")]


def test_a_loss_that_is_no_number_stops(data, tmp_path):
    trainer = begin(data, tmp_path / "run")
    with torch.no_grad():
        trainer.network.decoder.bias[4] = math.nan
    with pytest.raises(TrainingError, match="not finite at step 1"):
        finish(trainer)
    assert Trainer.resume(tmp_path / "run").step == 0


# The commands

FLAGS = ["--encoder", "small", "--image-size", "32", "--hidden", "16", "--embedding", "12", "--heads", "2"]
FLAGS += ["--steps", "4", "--batch-size", "4", "--min-count", "1"]
SCORES = {"bleu1", "bleu2", "bleu3", "bleu4", "cider_d", "images"}


def test_the_command_trains(call, data, tmp_path):
    (data.parent / "images" / "5.png").unlink()
    out = tmp_path / "run"
    status, printed, said = call("train", "caption", data, "--out", out, *FLAGS, "--evaluations", 2, "--json")
    answer = json.loads(printed)
    assert status == 0
    assert answer.keys() == {"run", "parameters", "steps", "seconds", "best"}
    assert (answer["run"], answer["steps"]) == (str(out), 4)
    assert answer["best"].keys() == SCORES
    assert "no file are left out, 1 in all: 5.png" in said


def test_the_command_evaluates(call, data, tmp_path):
    (data.parent / "images" / "5.png").unlink()
    out = finish(begin(data, tmp_path / "run")).run.path
    (data.parent / "images" / "11.png").write_bytes(b"nothing")
    status, printed, said = call("evaluate", out, "--data", data, "--split", "dev", "--beam", 2, "--json")
    assert status == 0
    assert json.loads(printed).keys() == SCORES
    assert json.loads(printed)["images"] == 1
    assert "no file are left out, 1 in all: 5.png" in said
    assert "cannot be read are left out, 1 in all" in said
    for arguments, words in (
        ([out, "--data", data, "--split", "test"], "there is no split 'test'; the data set has train, dev"),
        ([out, "--text", data, "--beam", 2], "--text"),
    ):
        status, printed, said = call("evaluate", *arguments)
        assert (status, printed) == (2, "")
        assert words in said


def test_commands_that_cannot_train_say_why(call, data, tmp_path):
    (tmp_path / "empty.pth").write_bytes(b"")
    finish(begin(data, tmp_path / "run"))
    for arguments, words in (
        ([data], "train caption needs DATA and --out RUN, or --resume RUN"),
        ([data, data, "--out", tmp_path / "a"], "caption is trained on one DATA, not on 2"),
        (["--resume", tmp_path / "run", "--beam", 3], "leave out --beam"),
        (["--resume", tmp_path / "run", "--hidden", 3], "leave out --hidden"),
        ([data, "--resume", tmp_path / "run"], "leave out DATA"),
        ([data, "--out", tmp_path / "run"], "exists; choose another name"),
        ([data, "--out", tmp_path / "a", "--encoder", "resnet"], "--encoder resnet is not one of mobilenet_v2, small"),
        (
            [data, "--out", tmp_path / "a", "--encoder", "resnet", "--encoder-weights", tmp_path / "empty.pth"],
            "--encoder resnet is not one of mobilenet_v2, small",
        ),
        (
            [data, "--out", tmp_path / "a", "--encoder-weights", tmp_path / "empty.pth"],
            "empty.pth is damaged",
        ),
        ([tmp_path / "none", "--out", tmp_path / "a"], "there is no "),
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
        ("a.json", json.dumps({"images": [{"id": [1], "file_name": "0.png"}], "annotations": []}), "no images"),
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
    finish(begin(write_gallery(folder), tmp_path / "run"))
    write_image(folder / "images" / "again.png")
    assert Trainer.resume(tmp_path / "run").step == 6
