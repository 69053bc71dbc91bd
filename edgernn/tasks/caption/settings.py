"""Settings of captioners. Importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CELLS, EvaluationSettings, TrainingSettings, one_cycle
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "SCENES", "CaptionConfig", "CaptionData", "CaptionEvaluation", "CaptionTraining"]

SCENES = "scenes"  # the data set of drawn scenes
ENCODERS = ("mobilenet_v2", "small")  # the names of `models.encoder.ENCODERS`
PADDINGS = ("symmetric", "tensorflow")  # those of `models.mobilenet.PADDINGS`
SCALINGS = ("imagenet", "x/127.5-1")  # those of `models.encoder.SCALINGS`
ATTENTIONS = ("soft", "none")
_IMAGE_SIZES = {"mobilenet_v2": 224, "small": 64}  # pixels
_LARGEST_SIDE = 4096  # pixels
_LARGEST = 1_000_000  # size of anything


@dataclass(frozen=True, kw_only=True)
class CaptionData(Settings):
    """What a captioner begins from, beside images and captions."""

    encoder_weights: str | None = option(
        None,
        "Pretrained weights of the encoder, with torchvision's names: a .safetensors file, a state dict, or the word "
        "torchvision, which downloads them.",
    )
    min_count: int = option(
        5, "The number of times that a word must occur to be in the vocabulary.", low=1, high=_LARGEST
    )


@dataclass(frozen=True)
class CaptionConfig(Settings):
    """The shape of a captioner. vocabulary: how many words there are, which the data decides."""

    vocabulary: int = 0
    encoder: str = option("mobilenet_v2", "The convolutional network that encodes the image.", choices=ENCODERS)
    encoder_padding: str | None = option(
        None,
        "How the encoder pads its convolutions.",
        choices=PADDINGS,
        unset="as the weights file says, else symmetric",
    )
    encoder_scaling: str | None = option(
        None, "How the encoder scales pixels.", choices=SCALINGS, unset="as the weights file says, else imagenet"
    )
    image_size: int | None = option(
        None,
        "The size in pixels, in both directions, to which images are resized.",
        low=1,
        high=_LARGEST_SIDE,
        unset="224 for mobilenet_v2, 64 for small",
    )
    largest_side: int = option(
        1024, "The largest side in pixels of the images that a bundle takes.", low=1, high=_LARGEST_SIDE
    )
    attention: str = option("soft", "How the decoder attends to the parts of the image.", choices=ATTENTIONS)
    heads: int = option(8, "The number of attention heads.", low=1, high=_LARGEST)
    cell: str = option("lstm", "The recurrent cell.", choices=CELLS)
    embedding: int = option(256, "The size of a word's embedding and of the image's vector.", low=1, high=_LARGEST)
    hidden: int = option(512, "The size of the state of each layer.", low=1, high=_LARGEST)
    layers: int = option(
        1, "The number of recurrent layers: one below the attention, the others above it.", low=1, high=_LARGEST
    )
    dropout: float = option(0.5, "Dropout of image features, words and outputs.", low=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention == "soft" and self.hidden % self.heads:
            raise ConfigError(f"--hidden {self.hidden} is not a multiple of --heads {self.heads}")
        if type(self.vocabulary) is not int or not 0 <= self.vocabulary <= _LARGEST:
            raise ConfigError(f"a vocabulary of {str(self.vocabulary)[:40]} words is not possible")

    @property
    def size(self) -> int:
        """The size in pixels to which images are resized."""
        return _IMAGE_SIZES[self.encoder] if self.image_size is None else self.image_size


@dataclass(frozen=True, kw_only=True)
class CaptionTraining(TrainingSettings):
    """How a captioner is trained: by teacher forcing, then optionally by rewards for good captions.

    Rewards are self-critical training (Rennie et al. 2017) on CIDEr-D, with the mean of an image's other captions as
    the baseline (Luo 2020) and some teacher forcing mixed in (Paulus et al. 2017).
    """

    batch_size: int = option(32, "The number of images in a batch, each with all its captions.", low=1, high=_LARGEST)
    augmentations: int = option(
        4,
        "The number of versions of each image: 1 is the image itself, 2 adds its mirror image, more add crops.",
        low=1,
        high=_LARGEST,
    )
    reward_fraction: float = option(
        0.0,
        "The fraction of training, at its end, that is self-critical: sampled captions are rewarded by CIDEr-D.",
        low=0,
        high=1,
    )
    reward_rate: float = option(1e-4, "The peak learning rate while captions are rewarded.", above=0, high=1e6)
    freeze: float | None = option(
        None,
        "The fraction of training, from its beginning, in which a pretrained encoder is frozen; 1 freezes it for good.",
        low=0,
        high=1,
        unset="0.1 with --encoder-weights, else 0",
    )
    unfreeze_layers: int | None = option(
        None,
        "The number of last layers of a pretrained encoder that are trained once --freeze is over.",
        low=1,
        high=_LARGEST,
        unset="4 with --encoder-weights, else all",
    )
    encoder_lr_scale: float = option(
        0.1, "The learning rate of a pretrained encoder, as a fraction of the decoder's.", low=0, high=1
    )
    smoothing: float = option(0.1, "Label smoothing.", low=0, below=1)
    word_dropout: float = option(
        0.0,
        "The probability that an input word is replaced by the unknown word during teacher forcing.",
        low=0,
        below=1,
    )
    average: float = redefault(TrainingSettings, "average", 0.999)
    reward_average: float = option(
        0.99, "Decay of the moving average of the weights while captions are rewarded.", low=0, below=1
    )
    beam: int = option(3, "The beam width of evaluations during training.", low=1, high=_LARGEST)
    passes: float | None = redefault(TrainingSettings, "passes", 18.0)
    minutes: float | None = redefault(TrainingSettings, "minutes", 18.0)
    warmup: float = redefault(TrainingSettings, "warmup", 0.05)
    evaluations: int = redefault(TrainingSettings, "evaluations", 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze == 1 and self.unfreeze_layers is not None:
            raise ConfigError("--freeze 1 keeps the whole encoder frozen: leave out --unfreeze-layers")

    def rewards(self, progress: float) -> bool:
        """Whether captions are sampled and rewarded at `progress`."""
        return self.reward_fraction > 0 and progress >= 1 - self.reward_fraction

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate at `progress`, from 0 to 1: one cycle over each of the two parts."""
        begun = 1 - self.reward_fraction
        if self.rewards(progress):
            return one_cycle(self.reward_rate, (progress - begun) / self.reward_fraction)
        return one_cycle(self.learning_rate, progress / begun, self.warmup)


@dataclass(frozen=True, kw_only=True)
class CaptionEvaluation(EvaluationSettings):
    """What a captioner is evaluated on, and how it decodes."""

    beam: int = option(1, "The beam width; 1 is greedy decoding.", low=1, high=1000)


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
