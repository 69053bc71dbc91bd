"""The training of a captioner: words after true words first, whole captions of its own, rewarded by CIDEr-D, then."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.data.captions import DEV, TRAIN, CaptionDataset, CaptionedImage, read_captions
from edgernn.data.words import learn_words, words
from edgernn.errors import ConfigError, CorpusError, FormatError, RunError
from edgernn.models.encoder import SCALINGS, EncoderConfig, load_weights
from edgernn.models.mobilenet import PADDINGS
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks.caption.decode import beam_captions, before_end, draw_captions
from edgernn.tasks.caption.feature_cache import Progress
from edgernn.tasks.caption.features import EncoderFeatures
from edgernn.tasks.caption.network import CaptionConfig, Captioner, ImageFeatures
from edgernn.tasks.caption.scenes import SCENES, draw_scenes
from edgernn.tasks.caption.score import CaptionScore, Cider
from edgernn.training.base import Loop, under
from edgernn.training.captioning.evaluation import score_pictures
from edgernn.training.captioning.presets import DRAWINGS, PHOTOGRAPHS
from edgernn.training.captioning.run import CaptionRun, DataRecord
from edgernn.training.device import find_autocast, find_device
from edgernn.training.optimizer import Optimizer
from edgernn.training.run import CHECKPOINT, ENCODER, PICTURES, check_tensors

__all__ = ["CaptionEvaluated", "CaptionStepped", "CaptionTrainer", "open_dataset"]

_DRAWN = 5  # captions of a picture, to compare with each other
_TAUGHT = 0.1  # of the first part's loss, in the last one: rewards alone make fluent captions of few kinds
_SAMPLES = 3  # captions to show
_DESCRIBED = 50  # pictures at once
_KEPT_PICTURES = 32  # of each split, for exports
_GROUPS = 3  # of captions at a step, by length
_WARM = 10  # steps: the average over the first ones must not remember what weights began as
_IGNORED = -100  # a target that costs nothing
_FINE_TUNING = {"freeze": 0.1, "thaw": 4}  # of encoders that come with weights
_FINISHED = "."  # a word that no caption has, so that rewards see whether a caption comes to its end


@dataclass(frozen=True)
class CaptionStepped:
    """One step: mean nats per word, or in the last part the mean CIDEr-D of what was drawn.

    progress: 0 to 1. pictures_per_second: of this call of `fit`. seconds: of the whole training.
    """

    step: int
    progress: float
    nats: float | None
    reward: float | None
    pictures_per_second: float
    seconds: float


@dataclass(frozen=True)
class CaptionEvaluated:
    """A look at the split "dev"; the checkpoint that belongs to it is on disk.

    samples: what is said of a few pictures, by their names.
    """

    step: int
    progress: float
    score: CaptionScore
    best: bool
    seconds: float
    samples: Mapping[str, str]


def open_dataset(source: str) -> CaptionDataset:
    """The pictures that the command line names: a path, or "scenes" to draw them."""
    return draw_scenes() if source == SCENES else read_captions(Path(source))


class CaptionTrainer(Loop):
    """A captioner in training: everything that a checkpoint keeps."""

    figure, higher = "cider_d", True
    run: CaptionRun
    model: Captioner

    def __init__(
        self, run: CaptionRun, collection: CaptionDataset, progress: Progress = lambda done, what: None
    ) -> None:
        """Stand at the beginning of `run`. progress: told while pictures are looked at for the first time."""
        super().__init__()
        config = run.training
        self.run = run
        self.device = find_device(config.device)
        torch.manual_seed(config.seed)
        self._autocast = find_autocast(config.autocast, self.device)
        self.model = Captioner(run.model)
        self._pretrained = (run.path / ENCODER).exists()
        if self._pretrained:
            self.model.encoder.network.load_state_dict(run.read(ENCODER)[0], strict=False)
        self.model.to(self.device).eval()
        self._sight = EncoderFeatures(
            self.model.encoder,
            collection,
            freeze=config.freeze,
            thaw=config.thaw,
            views=config.views,
            progress=progress,
        )
        self.missing, self.empty_captions = (
            collection.missing,
            collection.empty_captions,
        )  # names, and captions, that are left out
        self.average = copy.deepcopy(self.model)
        self.optimizer = self._new_optimizer()
        tokenizer = run.tokenizer
        self._ids = [
            [tokenizer.encode(caption, strict=False)[:MAX_TOKENS] for caption in picture.captions]
            for picture in self._sight.pictures[TRAIN]
        ]
        self._rewarded = False  # whether the last part has begun

    @classmethod
    def begin(
        cls,
        source: str,
        out: Path,
        *,
        model: Mapping[str, Any],
        encoder: Mapping[str, Any],
        training: Mapping[str, Any],
        encoder_weights: Path | None = None,
        overwrite: bool = False,
        progress: Progress = lambda done, what: None,
    ) -> CaptionTrainer:
        """Stand at the beginning of a new run of a captioner at `out`.

        source: see `open_dataset`. model, encoder, training: settings of CaptionConfig, EncoderConfig and
        CaptionTraining that are not those of the source's preset. encoder_weights: a file in torchvision's names, or
        "torchvision" for the ones that it downloads; without them the encoder learns from the pictures alone.
        Raises ConfigError, CorpusError or OutputExistsError; then nothing was written and nothing replaced.
        """
        preset = DRAWINGS if source == SCENES else PHOTOGRAPHS
        CaptionRun.check_free(out, overwrite=overwrite)
        collection = open_dataset(source)
        shape = preset.encoder_but(encoder)
        weights: dict[str, Tensor] = {}
        if encoder_weights is not None:
            weights, about = load_weights(encoder_weights, shape["name"])
            shape = {**_said_by(about, encoder_weights), **shape}
        for option in ("freeze", "thaw"):
            if not weights and training.get(option):
                raise ConfigError(f"--{option} is about weights that an encoder has: give some with --encoder-weights")
        if training.get("freeze") == 1 and training.get("thaw"):
            raise ConfigError("--freeze 1 keeps the whole encoder as it is: leave out --thaw")
        settings = preset.training.but(**{**(_FINE_TUNING if weights else {}), **training})
        train = collection[TRAIN]
        tokenizer = learn_words((caption for picture in train for caption in picture.captions), settings.min_count)
        config = CaptionConfig(len(tokenizer), EncoderConfig(**shape), **{**preset.model, **model})
        record = _record(source if source == SCENES else str(Path(source).resolve()), collection)
        with CaptionRun.create(out, record, tokenizer, config, settings, overwrite=overwrite) as run:
            if weights:
                run.write(ENCODER, weights, {})
            trainer = cls(run, collection, progress)
            run.write(PICTURES, trainer._examples(), {})
            trainer.save()
        return cls(CaptionRun.load(out), collection)

    @classmethod
    def resume(cls, path: Path, progress: Progress = lambda done, what: None) -> CaptionTrainer:
        """Stand where the last checkpoint of the run at `path` was written.

        Raises RunError if the checkpoint does not fit, CorpusError if the pictures are not what they were.
        """
        run = CaptionRun.load(path)
        collection = open_dataset(run.data.source)
        there = _record(run.data.source, collection)
        if there != run.data:
            raise CorpusError(
                f"{there.source} is not what the run began with, {run.data.train:,} and {run.data.dev:,} pictures to "
                f"learn from and to compare on: it has {there.train:,} and {there.dev:,}, or other captions: train anew"
            )
        trainer = cls(run, collection, progress)
        run.clean()
        trainer._restore(*run.read(CHECKPOINT))
        return trainer

    def fit(self) -> Iterator[CaptionStepped | CaptionEvaluated]:
        """Train to the end, reporting each step and evaluation; each evaluation writes a checkpoint.

        Raises TrainingError if the loss is not a number; the last good checkpoint stays.
        """
        config = self.run.training
        begun, since = self.seconds, time.perf_counter()
        learning, steps = 0.0, 0
        while not self._ended:
            before = time.perf_counter()
            nats, reward = self._learn(self._progress())
            now = time.perf_counter()
            self.step, steps = self.step + 1, steps + 1
            self.seconds = begun + now - since
            learning += now - before
            progress = self._progress()
            rate = steps * config.images / learning
            yield CaptionStepped(self.step, min(progress, 1.0), nats, reward, rate, self.seconds)
            if self._due(progress):
                yield self._evaluate(progress)
                self.seconds = begun + time.perf_counter() - since

    @property
    def damaged(self) -> Sequence[str]:
        """What was wrong with pictures that cannot be read."""
        return self._sight.damaged

    def score(self) -> CaptionScore:
        """The run's best weights on the split "dev"."""
        best = self.run.network().to(self.device)
        return self._score(best)[0]

    def save(self) -> None:
        """Write a checkpoint, from which `resume` goes on, between two events of `fit`."""
        self.run.write(CHECKPOINT, self._tensors(), {**self._counters(), "rewarded": self._rewarded})

    @cached_property
    def _cider(self) -> Cider:
        said = [[[*words(each), _FINISHED] for each in picture.captions] for picture in self._pictures(TRAIN)]
        return Cider([[" ".join(each) for each in captions] for captions in said])

    def _pictures(self, split: str) -> Sequence[CaptionedImage]:
        return self._sight.pictures[split]

    def _progress(self) -> float:
        steps_per_pass = math.ceil(len(self._ids) / self.run.training.images)
        return self.run.training.progress(self.step, self.seconds, steps_per_pass)

    def _frozen(self, progress: float) -> bool:
        """Whether the encoder is still what it was at the beginning."""
        config = self.run.training
        return config.freeze == 1 or progress < config.freeze * (1 - config.reward)

    def _learn(self, progress: float) -> tuple[float | None, float | None]:
        """One step: mean nats per word, or mean reward."""
        config = self.run.training
        places, views = self._batch()
        rewards = config.rewards(progress)
        frozen = self._frozen(progress)
        learns = not frozen and not rewards
        if rewards and not self._rewarded:
            self._begin_rewards()
        self.model.train()
        self.model.encoder.train(learns and not self._pretrained)  # the averages that came with weights are kept
        with torch.set_grad_enabled(learns), self._multiply():
            features = self._sight.features(self.model.encoder, TRAIN, places, views, frozen=frozen)
        figure, loss = self._reward(places, features) if rewards else self._teach(places, features)
        if not math.isfinite(figure):
            raise self._diverged(f"at step {self.step + 1}")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step(config.learning_rate_at(progress))
        self._follow(config.reward_average if rewards else config.average)
        self._count_loss(figure)
        return (None, figure) if rewards else (figure, None)

    def _begin_rewards(self) -> None:
        """Go on from the averaged weights, with an optimiser that has seen none of the other part's gradients."""
        self.model.load_state_dict(self.average.state_dict())
        self.optimizer = self._new_optimizer()
        self._losses = (0.0, 0)
        self._stale = 0
        self._rewarded = True

    def _new_optimizer(self) -> Optimizer:
        """AdamW: matrices of the decoder decay, and an encoder that came with weights learns more slowly."""
        model, config = self.model, self.run.training
        learned = [*model.glance.parameters(), *model.decoder.parameters()]
        matrices = [each for each in learned if each.ndim == 2 and each is not model.decoder.embedding.weight]
        chosen = set(matrices)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": [each for each in learned if each not in chosen], "weight_decay": 0.0},
        ]
        if self._sight.learned:
            scale = config.encoder_rate if self._pretrained else 1.0
            seeing = list(model.encoder.top(self._sight.learned).parameters())
            groups.append({"params": seeing, "weight_decay": 0.0, "scale": scale})
        return Optimizer(model, [torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)])

    def _multiply(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast)

    def _batch(self) -> tuple[list[int], list[int]]:
        """Places of the pictures of this step, and a view of each: the same ones for the same seed."""
        config = self.run.training
        steps_per_pass = math.ceil(len(self._ids) / config.images)
        number, at = divmod(self.step, steps_per_pass)
        order = np.random.default_rng((config.seed, number)).permutation(len(self._ids))
        places = order[at * config.images : (at + 1) * config.images].tolist()
        views = np.random.default_rng((config.seed, 1, self.step)).integers(0, config.views, len(places))
        return places, views.tolist()

    def _teach(self, places: Sequence[int], features: Tensor) -> tuple[float, Tensor]:
        """Every word of every caption after the true words before it: mean nats, and the loss with smoothed labels."""
        captions = [(row, ids) for row, place in enumerate(places) for ids in self._ids[place]]
        captions.sort(key=lambda caption: len(caption[1]))
        decoder, size = self.model.decoder, math.ceil(len(captions) / _GROUPS)
        scores, wanted = [], []
        with self._multiply():
            seen = self.model.glance(features)
            for begun in range(0, len(captions), size):  # of similar length, so that little of it is padding
                rows, group = zip(*captions[begun : begun + size], strict=True)
                tokens, targets = self._padded(group)
                x, _, _ = decoder.sequence(self._hidden(tokens), seen.take(rows), decoder.initial_state(len(group)))
                there = targets != _IGNORED
                scores.append(decoder.logits(x[there]))
                wanted.append(targets[there])
        logits, targets = torch.cat(scores).float(), torch.cat(wanted)
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=self.run.training.smoothing)
        return nn.functional.cross_entropy(logits.detach(), targets).item(), loss

    def _hidden(self, tokens: Tensor) -> Tensor:
        """Tokens (captions, words) of which some words are not shown, so that the picture has to tell."""
        start, _, unknown = self._marks
        away = torch.rand(tokens.shape, device=tokens.device) < self.run.training.word_dropout
        return torch.where(away & (tokens != start), unknown, tokens)

    @property
    def _marks(self) -> tuple[int, int, int]:
        """The start, the end and the unknown token."""
        tokenizer = self.run.tokenizer
        assert tokenizer.start_id is not None
        assert tokenizer.end_id is not None
        assert tokenizer.unknown_id is not None
        return tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id

    def _padded(self, captions: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Tokens (captions, words) that begin with the start token, and what follows each.

        No end follows a caption that was cut.
        """
        start, end, unknown = self._marks
        longest = max(map(len, captions)) + 1
        tokens = np.full((len(captions), longest), end, np.int64)
        targets = np.full((len(captions), longest), _IGNORED, np.int64)
        tokens[:, 0] = start
        for row, ids in enumerate(captions):
            tokens[row, 1 : len(ids) + 1] = ids
            targets[row, : len(ids)] = ids
            if len(ids) < MAX_TOKENS:
                targets[row, len(ids)] = end
        targets[targets == unknown] = _IGNORED  # nobody wants to read it
        return torch.from_numpy(tokens).to(self.device), torch.from_numpy(targets).to(self.device)

    def _reward(self, places: Sequence[int], features: Tensor) -> tuple[float, Tensor]:
        """Captions drawn for every picture, each as much likelier as it is better than the others of its picture."""
        decoder, tokenizer = self.model.decoder, self.run.tokenizer
        begin, end, _ = self._marks
        self.model.eval()  # without dropout: what is made likelier is what was drawn
        with self._multiply():
            repeated = [row for row in range(len(places)) for _ in range(_DRAWN)]
            seen = self.model.glance(features).take(repeated)
            drawn = draw_captions(decoder, ImageFeatures(*(t.detach() for t in seen.tensors)), tokenizer)
            start = torch.full_like(drawn[:, :1], begin)
            x, _, _ = decoder.sequence(torch.cat([start, drawn[:, :-1]], 1), seen, decoder.initial_state(len(drawn)))
            there = torch.cat([start == begin, drawn[:, :-1] != end], 1)
            logits = decoder.logits(x[there])
        said = [
            " ".join([tokenizer.decode(before_end(ids, end)), *([_FINISHED] if end in ids else [])])
            for ids in drawn.tolist()
        ]
        figures = [self._cider.each(places[row // _DRAWN], caption) for row, caption in enumerate(said)]
        rewards = torch.tensor(figures).view(-1, _DRAWN)
        better = (rewards - rewards.mean(dim=1, keepdim=True)) * _DRAWN / (_DRAWN - 1)  # than the mean of the others
        costs = nn.functional.cross_entropy(logits.float(), drawn[there], reduction="none")
        weights = better.flatten().to(self.device)[:, None].expand_as(drawn)[there]
        return float(rewards.mean()), (weights * costs).mean() + _TAUGHT * self._teach(places, features)[1]

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the averaged weights towards the trained ones."""
        part = 1 - min(decay, (1 + self.step) / (_WARM + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), part)
        for ours, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            ours.copy_(theirs)

    def _evaluate(self, progress: float) -> CaptionEvaluated:
        score, captions = self._score(self.average)
        best = self._count_evaluation(score.cider_d, progress)
        figures = {"bleu4": score.bleu4, "cider_d": score.cider_d}
        self._log(figures, "train_reward" if self._rewarded else "train_nats")
        if best:
            self._keep(self.average, score.cider_d)
        self.save()
        names = [picture.name for picture in self._pictures(DEV)[:_SAMPLES]]
        samples = dict(zip(names, captions, strict=False))
        return CaptionEvaluated(self.step, min(progress, 1.0), score, best, self.seconds, samples)

    @torch.no_grad()
    def _score(self, model: Captioner) -> tuple[CaptionScore, list[str]]:
        pictures, tokenizer = self._pictures(DEV), self.run.tokenizer
        model.eval()
        captions: list[str] = []
        for begun in range(0, len(pictures), _DESCRIBED):
            places = range(begun, min(begun + _DESCRIBED, len(pictures)))
            features = self._sight.features(model.encoder, DEV, places)
            found = beam_captions(model.decoder, model.glance(features), tokenizer, self.run.training.beam)
            captions += [tokenizer.decode(ids) for ids in found]
        return score_pictures(captions, pictures), captions

    def _examples(self) -> dict[str, Tensor]:
        """A few pictures of both splits as the encoder resizes them, and a caption of each, for exports."""
        tensors: dict[str, Tensor] = {}
        for split in (TRAIN, DEV):
            pictures = self._pictures(split)[:_KEPT_PICTURES]
            side = self.run.model.encoder.largest_side
            images = [torch.from_numpy(each.read(side))[None].to(self.device) for each in pictures]
            resized = [self.model.encoder.resize(image) for image in images]
            pixels = torch.cat(resized).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
            captions = [self.run.tokenizer.encode(each.captions[0], strict=False)[:MAX_TOKENS] for each in pictures]
            tokens, targets = self._padded(captions)
            tensors |= {f"{split}.images": pixels.contiguous(), f"{split}.tokens": tokens, f"{split}.targets": targets}
        return {name: tensor.cpu() for name, tensor in tensors.items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint keeps but for the counters."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors().items()}
        return {name: tensor.cpu() for name, tensor in tensors.items()} | {"generator": torch.get_rng_state()}

    def _restore(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        path = self.run.path / CHECKPOINT
        check_tensors(tensors, self._tensors(), path)
        try:
            self._count_on(about)
            self._rewarded = about.get("rewarded") is True
            torch.set_rng_state(tensors["generator"])
        except (FormatError, ValueError, RuntimeError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        self.model.load_state_dict(under("model.", tensors))
        self.average.load_state_dict(under("average.", tensors))
        self.optimizer.load(under("optimizer.", tensors))


def _said_by(metadata: Mapping[str, str], path: Path) -> dict[str, str]:
    """What the metadata of a file of weights says of the encoder. Raises ConfigError if it is not known here."""
    said = {key: metadata[key] for key in ("padding", "scaling") if key in metadata}
    for key, known in (("padding", PADDINGS), ("scaling", tuple(SCALINGS))):
        if said.get(key, known[0]) not in known:
            choices = ", ".join(known)
            raise ConfigError(f"{path}: its metadata says {key} {said[key][:40]!r}, and there is {choices}")
    return said


def _record(source: str, collection: CaptionDataset) -> DataRecord:
    digest = hashlib.sha256()
    for split in (TRAIN, DEV):
        for picture in collection[split]:
            digest.update(json.dumps([split, picture.name, *picture.captions]).encode())
    return DataRecord(source, len(collection[TRAIN]), len(collection[DEV]), digest.hexdigest())
