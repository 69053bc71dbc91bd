"""A third task, defined here alone: does the first channel of a sequence of frames sum up to more than the second?

What a task takes on the host (settings, network, learner, score) and on the device (a pipeline), in a folder's worth of
code. It is trained, resumed, exported, evaluated and run without a change in edgernn.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, GraphSpec, TensorSpec
from edgernn.errors import CorpusError, StreamError
from edgernn.models import Graph, Network
from edgernn.models.source import HeldOut
from edgernn.models.stack import RecurrentStack
from edgernn.runtime.pipelines import Pipeline, Result
from edgernn.runtime.pipelines.pipeline import ignore
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.learner import Learner, Loss, Prepared
from edgernn.tasks.score import Evaluation
from edgernn.tasks.settings import CELLS, Chosen, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset, Task

CLASSES = ("first", "second")
STEPS, CHANNELS = 6, 2

# settings.py


@dataclass(frozen=True)
class ToyConfig(Settings):
    channels: int = 0
    cell: str = option("gru", "The recurrent cell.", choices=CELLS)
    hidden: int = option(8, "The size of the state.", low=1)


@dataclass(frozen=True, kw_only=True)
class ToyTraining(TrainingSettings):
    batch_size: int = option(8, "The number of sequences at a step.", low=1)
    passes: float | None = redefault(TrainingSettings, "passes", 4.0)


@dataclass(frozen=True, kw_only=True)
class ToyData(Settings):
    """This data has no options."""


# network.py


class ToyNetwork(Network):
    task = "toy"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.stack = RecurrentStack(config.cell, config.channels, config.hidden, 1)
        self.output = nn.Linear(config.hidden, len(CLASSES))

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        x, carried = self.stack.step(frame, state)
        return (self.output(x), *carried)

    def sequence(self, frames: Tensor) -> Tensor:
        """Scores (batch, time, classes) from frames (batch, time, channels)."""
        x, _ = self.stack.sequence(frames.transpose(0, 1), self.stack.initial_state(len(frames)))
        return self.output(x).transpose(0, 1)

    def graphs(self) -> tuple[Graph, ...]:
        spec = GraphSpec(
            "step",
            inputs=(TensorSpec("frame", "float32", (BATCH, self.config.channels)),),
            outputs=(TensorSpec("scores", "float32", (BATCH, len(CLASSES)), kind="label"),),
            states=self.stack.state_specs(),
        )
        return (Graph(spec, self, self),)


# data.py


def write_data(path: Path, count: int = 40, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).normal(0, 1, (count, STEPS, CHANNELS)).astype(np.float32)
    sums = values.sum(axis=1)
    np.savez(path, values=values, labels=(sums[:, 1] > sums[:, 0]).astype(np.int64))
    return path


def read_data(path: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path) as file:
            return file["values"], file["labels"]
    except (OSError, TypeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{path} is no data of this task: {error}") from None


# score.py


@dataclass(frozen=True)
class ToyScore:
    accuracy: float
    count: int

    @property
    def figures(self) -> Mapping[str, float]:
        return {"accuracy": self.accuracy}

    def to_json(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "count": self.count}

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.3f} on {self.count} sequences"


def evaluate(model, settings: EvaluationSettings, progress, own=None) -> Evaluation:
    values, labels = read_data(settings.data)
    right = 0
    for frames, label in zip(values, labels, strict=True):
        stream = model.stream()
        for frame in frames:
            scores = stream.step({"frame": frame[None]})["scores"]
        right += int(scores[0].argmax() == label)
    return Evaluation(ToyScore(right / len(labels), len(labels)))


# learner.py


class ToyLearner(Learner):
    unit = "sequences"
    network: ToyNetwork

    def __init__(self, network, prepared, folder, placement, progress) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        values, labels = read_data(str(folder / "data.npz"))
        held_out = len(labels) // 4
        frames, classes = (torch.from_numpy(array).to(placement.device) for array in (values, labels))
        self._train = frames[held_out:], classes[held_out:]
        self._dev = frames[:held_out], classes[:held_out]
        self._size = prepared.chosen.training.batch_size
        placement.share(self._size)
        self.steps_per_pass = len(self._train[1]) // self._size

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress) -> Prepared:
        (source,) = sources
        values, labels = read_data(source)
        (folder / "data.npz").write_bytes(Path(source).read_bytes())
        held_out = len(labels) // 4
        targets = np.full((held_out, STEPS), -1, np.int64)
        targets[:, -1] = labels[:held_out]
        return Prepared(
            replace(chosen, model=chosen.model.but(channels=values.shape[2])),
            {"sequences": len(labels)},
            {"labels.json": json.dumps(CLASSES).encode()},
            HeldOut({"frame": values[:held_out]}, {"scores": targets}),
        )

    @classmethod
    def build(cls, prepared: Prepared) -> ToyNetwork:
        return ToyNetwork(prepared.chosen.model)

    def loss(self, step: int, progress: float) -> Loss:
        turn, at = divmod(step, self.steps_per_pass)
        order = np.random.default_rng((self.prepared.chosen.training.seed, turn)).permutation(len(self._train[1]))
        places = torch.from_numpy(order[at * self._size : (at + 1) * self._size][self.placement.share(self._size)])
        with self.placement.autocast():
            scores = self.network.sequence(self._train[0][places])[:, -1]
            loss = nn.functional.cross_entropy(scores, self._train[1][places])
        return Loss(loss, {"nats": loss.item()}, len(places), len(places))

    @torch.no_grad()
    def evaluate(self, network, *, whole: bool = False) -> ToyScore:
        right = network.sequence(self._dev[0])[:, -1].argmax(dim=1) == self._dev[1]
        return ToyScore(float(right.float().mean()), len(right))

    def samples(self, network) -> Mapping[str, str]:
        return {}


# task.py


TOY = Task(
    name="toy",
    help="Tell which channel of a sequence sums up to more.",
    example="edgernn train toy data.npz --out runs/toy",
    sources=("DATA", "An .npz file with values and labels."),
    extra="train",
    data=ToyData,
    model=ToyConfig,
    training=ToyTraining,
    evaluation=EvaluationSettings,
    presets={"usual": Preset(), "large": Preset({"hidden": 32})},
    preset_for=lambda sources, options: "usual",
    metric="accuracy",
    higher_is_better=True,
    learner=lambda: ToyLearner,
    evaluate=evaluate,
)


# runtime/pipelines/toy.py


@dataclass(frozen=True, kw_only=True)
class ToyOptions(Settings):
    certain: float = option(0.0, "Say nothing where no class has this probability.", low=0, high=1)


@dataclass(frozen=True)
class ToyResult(Result):
    label: str
    probabilities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "probabilities": dict(self.probabilities)}

    def __str__(self) -> str:
        return self.label


class ToyPipeline(Pipeline[ToyOptions]):
    task = "toy"
    inputs = ("SEQUENCE", "sequences of frames")
    suffixes = (".npy",)
    options = ToyOptions
    example = "bundles/toy frames.npy"

    def __init__(self, model) -> None:
        super().__init__(model)
        scores = model.contract["step"].output_of("label")
        if scores is None or model.labels is None:
            raise StreamError("the bundle predicts no labels")
        self._output = scores.name

    def read(self, source) -> Mapping[str, np.ndarray]:
        try:
            return {"frame": np.load(source)}
        except (OSError, ValueError) as error:
            raise CorpusError(f"{source} is no sequence: {error}") from None

    def __call__(self, inputs, options: ToyOptions, show=ignore) -> ToyResult:
        stream = self.model.stream()
        for frame in inputs["frame"]:
            scores = stream.step({"frame": frame[None]})[self._output][0]
        parts = np.exp(scores - scores.max())
        probabilities = dict(zip(self.model.labels, (parts / parts.sum()).tolist(), strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        return ToyResult(best if probabilities[best] >= options.certain else "", probabilities)
