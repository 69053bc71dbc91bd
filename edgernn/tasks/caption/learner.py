"""Train a captioner: teacher forcing, then optional self-critical training on CIDEr-D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from edgernn.bundle import TOKENIZER
from edgernn.contract import Array
from edgernn.data.captions import DEV, TRAIN, CaptionDataset, CaptionedImage
from edgernn.data.unknown import UnknownTokens
from edgernn.data.words import learn_words, words
from edgernn.drawn_names import SCENES
from edgernn.errors import ConfigError, CorpusError, ImageError
from edgernn.models import Network
from edgernn.models.encoder import SCALINGS, load_weights, resize
from edgernn.models.mobilenet import PADDINGS
from edgernn.models.source import Feedback, HeldOut
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks.caption.data import IGNORED, DataRecord, left_out, open_dataset, pad_captions, special_tokens
from edgernn.tasks.caption.decode import beam_captions, before_end, sample_captions
from edgernn.tasks.caption.features import EncoderFeatures
from edgernn.tasks.caption.network import Captioner, ImageFeatures, encoder_config
from edgernn.tasks.caption.score import CaptionScore, Cider, score_images
from edgernn.tasks.caption.settings import CaptionConfig, CaptionData, CaptionTraining
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tokenizer import Tokenizer

__all__ = ["CaptionLearner"]

ENCODER = "encoder.safetensors"
_SAMPLED = 5  # captions per image, whose rewards are compared
_TEACHER_FORCING = 0.1  # weight of its loss during self-critical training: rewards alone reduce the variety of captions
_SHOWN = 3  # captions that are printed after an evaluation
_DECODED = 50  # images that are decoded in a batch
_HELD_OUT_IMAGES = 32  # of each split, for the parity gate
_GROUPS = 3  # groups of captions of similar length in a batch
_FINE_TUNING = {"freeze": 0.1, "unfreeze_layers": 4}  # defaults for encoders with pretrained weights
_END_WORD = "."  # not a word of any caption; ends sampled captions and references, so that CIDEr-D rewards an end


class CaptionLearner(Learner):
    """Trains a Captioner on images with captions, and evaluates it on the split "dev"."""

    unit = "images"
    network: Captioner

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training = prepared.chosen.training
        assert isinstance(training, CaptionTraining)
        self.training = training
        self.tokenizer = Tokenizer.from_json(prepared.asset(TOKENIZER).decode())
        record = DataRecord.from_json(dict(prepared.record))
        dataset = open_dataset(record.source)
        record.check(dataset)
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        data = prepared.chosen.data
        assert isinstance(data, CaptionData)
        self._pretrained = data.encoder_weights is not None
        if self._pretrained:
            try:
                weights, _ = load_weights(folder / ENCODER, self.network.config.encoder)
            except ConfigError as error:
                raise CorpusError(f"the run's own encoder weights are damaged: {error}") from None
            self.network.encoder.network.load_state_dict(weights, strict=False)
        self.network.eval()
        self.features = EncoderFeatures(
            self.network.encoder,
            dataset,
            freeze=training.freeze or 0.0,
            unfreeze_layers=training.unfreeze_layers,
            augmentations=training.augmentations,
            progress=progress,
        )
        self.notes = left_out(dataset.missing, self.features.damaged, dataset.empty_captions)
        self._ids = [
            [self.tokenizer.encode(caption, unknown="replace")[:MAX_TOKENS].tolist() for caption in image.captions]
            for image in self.features.images[TRAIN]
        ]
        self.steps_per_pass = math.ceil(len(self._ids) / training.batch_size)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the captions, learn the vocabulary, and store the encoder's pretrained weights and held-out images.

        Raises CorpusError for a data set that is missing or has no images, ConfigError for weights of another network.
        """
        data = chosen.data
        assert isinstance(data, CaptionData)
        (source,) = sources
        dataset = open_dataset(source)
        chosen = _begin_encoder(chosen, folder)
        captions = (caption for image in dataset[TRAIN] for caption in image.captions)
        return _prepared(source, chosen, dataset, learn_words(captions, data.min_count))

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`, with the vocabulary and the encoder of `origin`.

        Raises CorpusError if no word of the captions is in the vocabulary.
        """
        (source,) = sources
        dataset = open_dataset(source)
        chosen = _begin_encoder(chosen, folder, origin)
        tokenizer = Tokenizer.from_json(origin.assets[TOKENIZER].decode())
        unknown = UnknownTokens(tokenizer)
        for caption in (caption for image in dataset[TRAIN] for caption in image.captions):
            unknown.count(caption, tokenizer.encode(caption, unknown="replace"))
        return replace(_prepared(source, chosen, dataset, tokenizer), notes=unknown.notes(origin.name))

    @classmethod
    def build(cls, prepared: Prepared) -> Captioner:
        """Return a new Captioner with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, CaptionConfig)
        return Captioner(config)

    def parameter_groups(self, phase: int) -> list[dict[str, Any]]:
        """Return three groups: the decoder's matrices, its other parameters, and the encoder's trained layers."""
        network, training = self.network, self.training
        learned = [*network.projection.parameters(), *network.decoder.parameters()]
        matrices = [each for each in learned if each.ndim == 2 and each is not network.decoder.embedding.weight]
        chosen = set(matrices)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": [each for each in learned if each not in chosen], "weight_decay": 0.0},
        ]
        if self.features.learned_layers:
            scale = training.encoder_lr_scale if self._pretrained else 1.0
            layers = list(network.encoder.top(self.features.learned_layers).parameters())
            groups.append({"params": layers, "weight_decay": 0.0, "scale": scale})
        return groups

    def phase(self, progress: float) -> int:
        """Return 0 for teacher forcing, 1 for self-critical training."""
        return int(self.training.rewards(progress))

    @property
    def settled(self) -> float:
        """The progress at which self-critical training begins, or else at which the encoder is unfrozen."""
        training = self.training
        if training.reward_fraction:
            return 1 - training.reward_fraction
        return 0.0 if training.freeze in (None, 1) else training.freeze or 0.0

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at `progress`: one cycle in each of the two phases."""
        return self.training.learning_rate_at(progress)

    def average_decay(self, phase: int) -> float:
        """Return the decay of the averaged weights in `phase`, from the settings."""
        return self.training.reward_average if phase else self.training.average

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`: of teacher forcing, or of self-critical training."""
        places, augmentations, weight = self._batch(step)
        rewards, frozen = self.training.rewards(progress), self._frozen(progress)
        learns = not frozen and not rewards
        network = self.network
        network.encoder.train(learns and not self._pretrained)  # keeps the pretrained running means of batch norm
        with torch.set_grad_enabled(learns), self.placement.autocast():
            features = self.features.of(network.encoder, TRAIN, places, augmentations, frozen=frozen)
        if rewards:
            reward, loss = self.self_critical_loss(places, features)
            return Loss(loss, {"reward": reward}, len(places), weight * len(places))
        nats, loss, count = self.teacher_forcing_loss(places, features)
        return Loss(loss, {"nats": nats}, len(places), weight * count)

    def evaluate(self, network: Network, *, whole: bool = False) -> CaptionScore:
        """Return the score of captions of the split "dev"."""
        captions = self._captions(network, self.features.images[DEV])
        return score_images(captions, self.features.images[DEV])

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return the captions of a few images, by image name."""
        images = self.features.images[DEV][:_SHOWN]
        return dict(zip((image.name for image in images), self._captions(network, images), strict=True))

    @torch.no_grad()
    def _captions(self, network: Network, images: Sequence[CaptionedImage]) -> list[str]:
        """Return captions of the first images of the split "dev"."""
        assert isinstance(network, Captioner)
        captions: list[str] = []
        for begun in range(0, len(images), _DECODED):
            places = range(begun, min(begun + _DECODED, len(images)))
            features = network.projection(self.features.of(network.encoder, DEV, places))
            found = beam_captions(network.decoder, features, self.tokenizer, self.training.beam)
            captions += [self.tokenizer.decode(ids) for ids in found]
        return captions

    def _frozen(self, progress: float) -> bool:
        """Return whether the encoder still has its initial weights."""
        freeze = self.training.freeze or 0.0
        return freeze == 1 or progress < freeze * (1 - self.training.reward_fraction)

    def _batch(self, step: int) -> tuple[list[int], list[int], float]:
        """Return this process's images of the batch of `step`, an augmentation for each of them, and their weight.

        They depend only on the seed and the step.
        """
        training, size = self.training, self.training.batch_size
        number, at = divmod(step, self.steps_per_pass)
        order = np.random.default_rng((training.seed, number)).permutation(len(self._ids))
        places = order[at * size : (at + 1) * size]
        random = np.random.default_rng((training.seed, 1, step))
        augmentations = random.integers(0, training.augmentations, len(places))
        own, weight = self.placement.part_of(np.arange(len(places)))
        return places[own].tolist(), augmentations[own].tolist(), weight

    def teacher_forcing_loss(self, places: Sequence[int], features: Tensor) -> tuple[float, Tensor, int]:
        """Predict every word of every caption from the preceding true words.

        Returns the mean nats per word, the loss with label smoothing, and the number of words.
        """
        captions = [(row, ids) for row, place in enumerate(places) for ids in self._ids[place]]
        captions.sort(key=lambda caption: len(caption[1]))
        decoder, size = self.network.decoder, math.ceil(len(captions) / _GROUPS)
        scores, wanted = [], []
        with self.placement.autocast():
            projected = self.network.projection(features)
            for begun in range(0, len(captions), size):  # groups of similar length need little padding
                rows, group = zip(*captions[begun : begun + size], strict=True)
                tokens, targets = self._padded(group)
                shown = self.drop_words(tokens)
                x, _, _ = decoder.sequence(shown, projected.take(rows), decoder.initial_state(len(group)))
                there = targets != IGNORED
                scores.append(decoder.logits(x[there]))
                wanted.append(targets[there])
        logits, targets = torch.cat(scores).float(), torch.cat(wanted)
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=self.training.smoothing)
        return nn.functional.cross_entropy(logits.detach(), targets).item(), loss, len(targets)

    def drop_words(self, tokens: Tensor) -> Tensor:
        """Return tokens (captions, words) with random words made unknown, so that the network must use the image."""
        start, _, unknown = special_tokens(self.tokenizer)
        dropped = torch.rand(tokens.shape, device=tokens.device) < self.training.word_dropout
        return torch.where(dropped & (tokens != start), unknown, tokens)

    def _padded(self, captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        tokens, targets = pad_captions(captions, self.tokenizer)
        device = self.placement.device
        return torch.from_numpy(tokens).to(device), torch.from_numpy(targets).to(device)

    def self_critical_loss(self, places: Sequence[int], features: Tensor) -> tuple[float, Tensor]:
        """Return the mean reward of captions sampled for every image, and the loss of self-critical training."""
        decoder, tokenizer = self.network.decoder, self.tokenizer
        begin, end, _ = special_tokens(tokenizer)
        self.network.eval()  # no dropout: the loss must use the probabilities with which captions were sampled
        with self.placement.autocast():
            repeated = [row for row in range(len(places)) for _ in range(_SAMPLED)]
            projected = self.network.projection(features).take(repeated)
            sampled = sample_captions(decoder, ImageFeatures(*(t.detach() for t in projected.tensors)), tokenizer)
            start = torch.full_like(sampled[:, :1], begin)
            x, _, _ = decoder.sequence(
                torch.cat([start, sampled[:, :-1]], 1), projected, decoder.initial_state(len(sampled))
            )
            there = torch.cat([start == begin, sampled[:, :-1] != end], 1)
            logits = decoder.logits(x[there])
        texts = [
            " ".join([tokenizer.decode(before_end(ids, end)), *([_END_WORD] if end in ids else [])])
            for ids in sampled.tolist()
        ]
        figures = [self.cider.each(places[row // _SAMPLED], caption) for row, caption in enumerate(texts)]
        rewards = torch.tensor(figures).view(-1, _SAMPLED)
        # The advantage: the reward minus the mean reward of the image's other captions.
        advantage = (rewards - rewards.mean(dim=1, keepdim=True)) * _SAMPLED / (_SAMPLED - 1)
        costs = nn.functional.cross_entropy(logits.float(), sampled[there], reduction="none")
        weights = advantage.flatten().to(self.placement.device)[:, None].expand_as(sampled)[there]
        teacher = self.teacher_forcing_loss(places, features)[1]
        return float(rewards.mean()), (weights * costs).mean() + _TEACHER_FORCING * teacher

    @cached_property
    def cider(self) -> Cider:
        """CIDEr-D against the captions of the training images."""
        images = self.features.images[TRAIN]
        references = [[[*words(each), _END_WORD] for each in image.captions] for image in images]
        return Cider([[" ".join(each) for each in captions] for captions in references])


def _begin_encoder(chosen: Chosen, folder: Path, origin: Origin | None = None) -> Chosen:
    """Write the initial weights of a pretrained encoder into `folder`; return the settings that depend on them.

    origin: the run whose weights the new run starts from. Raises ConfigError for weights of another network.
    """
    data, model, training = chosen.data, chosen.model, chosen.training
    assert isinstance(data, CaptionData)
    assert isinstance(model, CaptionConfig)
    assert isinstance(training, CaptionTraining)
    if data.encoder_weights is None:
        _refuse_fine_tuning(training)
        return replace(chosen, training=training.but(freeze=0.0))
    if origin is None:
        weights, about = load_weights(Path(data.encoder_weights), model.encoder)
        model = model.but(**_stated_by(about, data.encoder_weights, model))
    else:
        assert isinstance(origin.network, Captioner)
        weights = origin.network.encoder.network.state_dict()
    own = {name: value for name, value in _FINE_TUNING.items() if getattr(training, name) is None}
    training = training.but(**({} if training.freeze == 1 else own))
    safetensors.torch.save_file({name: each.contiguous() for name, each in weights.items()}, folder / ENCODER)
    return replace(chosen, model=model, training=training)


def _prepared(source: str, chosen: Chosen, dataset: CaptionDataset, tokenizer: Tokenizer) -> Prepared:
    """Return what a run stores of `dataset`, which was read from `source`."""
    model = chosen.model
    assert isinstance(model, CaptionConfig)
    model = model.but(vocabulary=len(tokenizer))
    encoder_config(model)  # raises for an impossible configuration
    record = DataRecord.of(source if source == SCENES else str(Path(source).resolve()), dataset)
    return Prepared(
        replace(chosen, model=model),
        asdict(record),
        {TOKENIZER: tokenizer.to_json().encode()},
        _held_out(dataset, model, tokenizer),
    )


def _refuse_fine_tuning(training: CaptionTraining) -> None:
    for name in ("freeze", "unfreeze_layers"):
        if getattr(training, name):
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} is about a pretrained encoder: name its weights with --encoder-weights")


def _stated_by(metadata: Mapping[str, str], path: str, model: CaptionConfig) -> dict[str, str]:
    """Return the encoder settings that the metadata of a weights file states and the user did not set.

    Raises ConfigError for an unknown value.
    """
    stated = {key: metadata[key] for key in ("padding", "scaling") if key in metadata}
    for key, known in (("padding", PADDINGS), ("scaling", tuple(SCALINGS))):
        if stated.get(key, known[0]) not in known:
            choices = ", ".join(known)
            raise ConfigError(f"{path}: its metadata says {key} {stated[key][:40]!r}; known are {choices}")
    named = {f"encoder_{key}": value for key, value in stated.items()}
    return {name: value for name, value in named.items() if getattr(model, name) is None}


def _held_out(dataset: CaptionDataset, model: CaptionConfig, tokenizer: Tokenizer) -> HeldOut:
    """Return a few resized images of "dev" with a caption each, and resized images of "train" for calibration."""
    images = {split: _first_images(dataset, split, model) for split in (TRAIN, DEV)}
    captions = [tokenizer.encode(each.captions[0], unknown="replace")[:MAX_TOKENS].tolist() for each, _ in images[DEV]]
    tokens, targets = pad_captions(captions, tokenizer)
    return HeldOut(
        {"token": tokens},
        {"logits": targets},
        [{"image": image} for _, image in images[DEV]],
        {"token": Feedback("logits", MAX_TOKENS, tokenizer.never_sampled, tokenizer.end_id)},
        [{"image": image} for _, image in images[TRAIN]],
    )


def _first_images(dataset: CaptionDataset, split: str, model: CaptionConfig) -> list[tuple[CaptionedImage, Array]]:
    """Return the first readable images of a split with their resized pixels, (1, size, size, 3) of bytes."""
    found: list[tuple[CaptionedImage, Array]] = []
    for image in dataset[split]:
        try:
            pixels = torch.from_numpy(image.read(model.largest_side))[None].permute(0, 3, 1, 2).float()
        except ImageError as error:
            reason = str(error)
            continue
        resized = resize(pixels, model.size).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        found.append((image, resized.contiguous().numpy()))
        if len(found) == _HELD_OUT_IMAGES:
            break
    if not found:
        raise CorpusError(f"split {split}: none of the images can be read: {reason}")
    return found
