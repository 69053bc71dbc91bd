"""How a captioner is trained."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.training.schedule import Schedule, one_cycle

__all__ = ["CaptionTraining"]


@dataclass(frozen=True, kw_only=True)
class CaptionTraining(Schedule):
    """Settings of one training; the names are those of the command line's options.

    images: at a step, each with all its captions.
    views: of each picture, of which a step takes one: 1 is the picture as it is, 2 also mirrored, and more also parts
    of it, every other one mirrored.
    reward: the last part of the training, in which captions are drawn and those of a higher CIDEr-D than the others of
    their picture are made likelier (self-critical training, Rennie et al. 2017; the baseline is Luo's of 2020), while
    the true ones are still taught a little (Paulus et al. 2017). It helps captions by the likeliest word more than
    those of a beam.
    reward_rate: the learning rate with which the last part begins; it falls again as a cosine.
    freeze: the part of the training before rewards in which a pretrained encoder stays as it is; 1 for all of it, and
    for always. It does not learn by rewards.
    thaw: how many of its last layers learn after that; the others always stay, and None is for all.
    encoder_rate: that of a pretrained encoder, as a part of the learning rate.
    smoothing: of labels. word_dropout: probability that a word before is not shown, so that the picture has to tell.
    average, reward_average: decay of the averaged weights, which are what is kept, in the first and in the last part.
    min_count: how often a word occurs at least, to be learned.
    evaluations: how many times the pictures of the split "dev" are described, by a `beam` of so many, and a checkpoint
    written; the weights of the highest CIDEr-D are kept.
    """

    images: int = 32
    views: int = 4
    passes: float | None = 18.0
    minutes: float | None = 18.0
    reward: float = 0.0
    learning_rate: float = 2e-3
    reward_rate: float = 1e-4
    warmup: float = 0.05
    freeze: float = 0.0
    thaw: int | None = None
    encoder_rate: float = 0.1
    weight_decay: float = 0.01
    smoothing: float = 0.1
    word_dropout: float = 0.0
    average: float = 0.999
    reward_average: float = 0.99
    min_count: int = 5
    evaluations: int = 8
    beam: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counts("images", "views", "min_count", "beam", *(["thaw"] if self.thaw is not None else []))
        self._positive("reward_rate")
        self._hold(["reward", "freeze", "encoder_rate"], lambda value: 0 <= value <= 1, "within 0..1")
        self._parts("smoothing", "word_dropout", "average", "reward_average")

    def rewards(self, progress: float) -> bool:
        """Whether captions are drawn and rewarded at `progress`."""
        return progress >= 1 - self.reward

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate at `progress`, 0 to 1: one cycle over each of the two parts."""
        begun = 1 - self.reward
        if self.rewards(progress):
            return one_cycle(self.reward_rate, (progress - begun) / max(self.reward, 1e-9))
        return one_cycle(self.learning_rate, progress / begun, self.warmup)
