"""Settings of captioners. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings, one_cycle
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "CaptionConfig", "CaptionData", "CaptionEvaluation", "CaptionTraining"]

ENCODERS = ("mobilenet_v2", "small")  # the names of `models.encoder.ENCODERS`
PADDINGS = ("symmetric", "tensorflow")  # the names of `models.mobilenet.PADDINGS`
SCALINGS = ("imagenet", "x/127.5-1")  # the names of `models.encoder.SCALINGS`
ATTENTIONS = ("soft", "none")
_IMAGE_SIZES = {"mobilenet_v2": 224, "small": 64}  # pixels
_LARGEST_SIDE = 4096  # pixels
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class CaptionData(Settings):
    """The settings of the data: the initial weights of the encoder and the vocabulary."""

    encoder_weights: str | None = option(
        None,
        "Pretrained weights of the encoder: a .safetensors file or a state dict with torchvision's parameter names, or "
        "the word torchvision, which downloads weights trained on ImageNet.",
    )
    min_count: int = option(
        5,
        "The minimum count of a word in the training captions; rarer words become the unknown word.",
        low=1,
        high=_LARGEST,
    )


@dataclass(frozen=True)
class CaptionConfig(CellSettings):
    """The configuration of the network. vocabulary: the number of words, which depends on the data."""

    vocabulary: int = 0
    encoder: str = option("mobilenet_v2", "The convolutional network that encodes the image.", choices=ENCODERS)
    encoder_padding: str | None = option(
        None,
        "How the encoder pads convolutions of stride 2; weights from TensorFlow need tensorflow.",
        choices=PADDINGS,
        unset="as the weights file says, else symmetric",
    )
    encoder_scaling: str | None = option(
        None,
        "How the encoder scales pixels: with ImageNet's mean and standard deviation, or to -1 to 1.",
        choices=SCALINGS,
        unset="as the weights file says, else imagenet",
    )
    image_size: int | None = option(
        None,
        "The width and height in pixels to which images are resized.",
        low=1,
        high=_LARGEST_SIDE,
        unset="224 for mobilenet_v2, 64 for small",
    )
    largest_side: int = option(
        1024, "The largest side of an image that the bundle accepts, in pixels.", low=1, high=_LARGEST_SIDE
    )
    attention: str = option("soft", "The decoder's attention over the parts of the image.", choices=ATTENTIONS)
    heads: int = option(8, "The number of attention heads, which must divide the hidden size.", low=1, high=_LARGEST)
    embedding: int = option(256, "The size of the word embeddings and of the image vector.", low=1, high=_LARGEST)
    hidden: int = option(512, "The size of the state of each recurrent layer.", low=1, high=_LARGEST)
    layers: int = option(
        1,
        "The number of recurrent layers: the first is below the attention, the others are above it.",
        low=1,
        high=_LARGEST,
    )
    dropout: float = option(
        0.5, "The dropout probability of image features, word embeddings and outputs.", low=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention == "soft" and self.hidden % self.heads:
            raise ConfigError(f"--hidden {self.hidden} is not a multiple of --heads {self.heads}")
        if type(self.vocabulary) is not int or not 0 <= self.vocabulary <= _LARGEST:
            raise ConfigError(f"a vocabulary of {str(self.vocabulary)[:40]} words is not possible")

    @property
    def size(self) -> int:
        """The width and height in pixels to which images are resized."""
        return _IMAGE_SIZES[self.encoder] if self.image_size is None else self.image_size


@dataclass(frozen=True, kw_only=True)
class CaptionTraining(TrainingSettings):
    """How a captioner is trained: teacher forcing, then optional self-critical training on CIDEr-D.

    Self-critical training (Rennie et al. 2017) rewards sampled captions by CIDEr-D. Its baseline is the mean reward of
    the image's other sampled captions (Luo 2020), and the loss of teacher forcing is added (Paulus et al. 2017).
    """

    batch_size: int = option(32, "The number of images in a batch; each has all its captions.", low=1, high=_LARGEST)
    augmentations: int = option(
        4,
        "The number of augmented versions per image: 1 is the image itself, 2 adds its mirror image, more add crops.",
        low=1,
        high=_LARGEST,
    )
    reward_fraction: float = option(
        0.0,
        "The fraction of training, at its end, that is self-critical training on CIDEr-D; the rest is teacher forcing.",
        low=0,
        high=1,
    )
    reward_rate: float = option(1e-4, "The peak learning rate of self-critical training.", above=0, high=1e6)
    freeze: float | None = option(
        None,
        "The fraction of teacher forcing during which a pretrained encoder is frozen; 1 freezes it to the end.",
        low=0,
        high=1,
        unset="0.1 with --encoder-weights, else 0",
    )
    unfreeze_layers: int | None = option(
        None,
        "After --freeze, fine-tune only this number of last layers of the encoder; the output of the others is cached.",
        low=1,
        high=_LARGEST,
        unset="4 with --encoder-weights, else all",
    )
    encoder_lr_scale: float = option(
        0.1, "The learning rate of a pretrained encoder, as a fraction of the decoder's learning rate.", low=0, high=1
    )
    smoothing: float = option(
        0.1,
        "Label smoothing: this fraction of the target probability is spread over all words; 0 disables it.",
        low=0,
        below=1,
    )
    word_dropout: float = option(
        0.0,
        "The probability that an input word is replaced by the unknown word during teacher forcing.",
        low=0,
        below=1,
    )
    average: float = redefault(TrainingSettings, "average", 0.999)
    reward_average: float = option(
        0.99, "The decay of the moving average of the weights during self-critical training.", low=0, below=1
    )
    beam: int = option(3, "The beam width of evaluations during training.", low=1, high=100)
    passes: float | None = redefault(TrainingSettings, "passes", 18.0)
    minutes: float | None = redefault(TrainingSettings, "minutes", 18.0)
    warmup: float = redefault(TrainingSettings, "warmup", 0.05)
    evaluations: int = redefault(TrainingSettings, "evaluations", 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze == 1 and self.unfreeze_layers is not None:
            raise ConfigError("--freeze 1 keeps the whole encoder frozen: leave out --unfreeze-layers")

    def rewards(self, progress: float) -> bool:
        """Return whether training is self-critical at `progress`."""
        return self.reward_fraction > 0 and progress >= 1 - self.reward_fraction

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate at `progress`, from 0 to 1: one cycle in each of the two phases."""
        begun = 1 - self.reward_fraction
        if self.rewards(progress):
            return one_cycle(self.reward_rate, (progress - begun) / self.reward_fraction)
        return one_cycle(self.learning_rate, progress / begun, self.warmup)


@dataclass(frozen=True, kw_only=True)
class CaptionEvaluation(EvaluationSettings):
    """The data on which a captioner is evaluated, and how captions are decoded."""

    beam: int = option(1, "The beam width; 1 is greedy decoding.", low=1, high=100)


PRESETS = {
    "photographs": Preset(),
    "drawings": Preset(
        {"encoder": "small", "embedding": 64, "hidden": 256, "layers": 2, "dropout": 0.1, "heads": 4},
        {
            "batch_size": 64,
            "augmentations": 1,
            "passes": 14.0,
            "smoothing": 0.0,
            "word_dropout": 0.3,
            "evaluations": 10,
            "beam": 1,
        },
        {"min_count": 1},
    ),
}
