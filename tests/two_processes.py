"""What `host/test_processes.py` has two processes do together: torchrun starts this, once for all tests.

The folder that it is given holds a text, fox.txt, images in data/, an encoder's weights, w.safetensors, and the data of
other tasks in folders of their names. Each process writes what it found to results-RANK.json.
"""

import json
import os
import sys
from pathlib import Path

import torch
from gallery import FEW, SMALL
from tasks import EXAMPLES
from torch import distributed, nn

from edgernn.errors import EdgeRNNError
from edgernn.tasks import TASKS
from edgernn.tasks.caption.score import CaptionScore
from edgernn.training import Evaluated, Trainer

LANGUAGE = {"hidden": 12, "embedding": 4, "layers": 1, "batch_size": 4, "bptt": 16, "evaluations": 4, "steps": 24}
SHORT = {"steps": 9, "evaluations": 3, "average": 0.9}
LABELLERS = {task: {**EXAMPLES[task].settings, **SHORT} for task in ("classify", "tag")}
TRANSLATE = {**EXAMPLES["translate"].settings, **SHORT}
PICTURES = {task: {**EXAMPLES[task].settings, **SHORT} for task in ("glimpse", "draw")}
PENS = {**EXAMPLES["pens"].settings, **SHORT}
PAINT = {**EXAMPLES["paint"].settings, **SHORT}
EXACT = {  # settings of which two processes make what one makes
    "language": {**LANGUAGE, "dropout": 0.0, "optimizer": "adamw", "autocast": "off", "average": 0.9},
    "caption": {
        **{**SMALL, **FEW, "dropout": 0.0, "reward_fraction": 0.0, "steps": 9, "evaluations": 3, "average": 0.9},
        **{"freeze": 0.2, "unfreeze_layers": 3, "augmentations": 3},
    },
    "classify": {**LABELLERS["classify"], "dropout": 0.0, "augment": False},
    "tag": {**LABELLERS["tag"], "dropout": 0.0},
    "translate": {**TRANSLATE, "dropout": 0.0, "word_dropout": 0.0},
    **PICTURES,
    "pens": {**PENS, "dropout": 0.0},
    "paint": {**PAINT, "steps": 5},  # differences of rounding grow from stroke to stroke
}
OTHERS = {  # and with all that is random
    "language": {**LANGUAGE, "dropout": 0.2, "reset": 0.2},
    "caption": {**SMALL, **FEW, "steps": 9, "evaluations": 3, "word_dropout": 0.2, "augmentations": 3, "average": 0.9},
    **LABELLERS,
    "translate": TRANSLATE,
    **PICTURES,
    "pens": PENS,
    "paint": PAINT,
}


def sources(folder, task):
    return [str(folder / {"language": "fox.txt", "caption": "data/all.csv"}.get(task, task))]


def begin(folder, task, name, **settings):
    return Trainer.begin(TASKS[task], sources(folder, task), folder / name, **settings)


def exact_settings(folder, task):
    weights = {"encoder_weights": str(folder / "w.safetensors")} if task == "caption" else {}
    return {**EXACT[task], **weights}


def fit(trainer, stop_at=None):
    """Train; the second process asks to stop after a step."""
    for event in trainer.fit():
        if event.step == stop_at and trainer.group.rank == 1:
            trainer.stop()
    return trainer


def error_of(function):
    try:
        function()
    except EdgeRNNError as error:
        return [type(error).__name__, str(error)]
    return None


def resumed(folder, task):
    """Train as a whole, and with a stop in between: the steps at which it was stopped and ended."""
    fit(begin(folder, task, f"{task}-whole", **OTHERS[task]))
    trainer = fit(begin(folder, task, f"{task}-cut", **OTHERS[task]), stop_at=4)
    trainer.save()
    assert trainer.stopped
    again = fit(Trainer.resume(folder / f"{task}-cut"))
    return [trainer.step, again.step]


def differing_scores(folder, rank):
    """Processes that find different scores, as rounding on a GPU may: the steps that each makes, and its best."""
    settings = {**OTHERS["caption"], "reward_fraction": 0.0, "patience": 2, "evaluations": 9}
    trainer = begin(folder, "caption", "differing", **settings)
    figures = iter([0.1, 0.5, 0.4, 0.4, 0.4] if rank == 0 else [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    trainer.learner.evaluate = lambda network, **_: CaptionScore(1, 1, 1, 1, next(figures), 2)
    return [[event.step, event.best] for event in trainer.fit() if isinstance(event, Evaluated)], trainer.best


def averages(group):
    """Gradients and buffers that the processes average: a gradient that only one has, and equal buffers."""
    network = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in "abc"})
    network.register_buffer("equal", torch.tensor([0.1, 123.675]))
    network.register_buffer("mean", torch.tensor(float(group.rank)))
    network.register_buffer("count", torch.tensor(group.rank))
    network["a"].weight.grad = torch.full((1, 1), 1.0 + group.rank)
    if group.rank == 1:
        network["b"].weight.grad = torch.full((1, 1), 5.0)
    group.average_gradients(network.parameters())
    before = network.equal.clone()
    for _ in range(100):
        group.average_buffers(network)
    gradients = [None if p.grad is None else p.grad.item() for p in network.parameters()]
    return gradients, network.mean.item(), network["a"].weight.grad.shape == (1, 1), torch.equal(before, network.equal)


def threads_of_gloo():
    return sum(name.read_text().count("gloo") for name in Path("/proc/self/task").glob("*/comm"))


def main(folder):
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    found = {}
    for task in EXACT:
        trainer = fit(begin(folder, task, f"{task}-2", **exact_settings(folder, task)))
        found[f"{task} exact"] = trainer.step
        found[f"{task} resumed"] = resumed(folder, task)
        odd = {**OTHERS[task], "batch_size": 5}
        found[f"{task} odd"] = error_of(lambda task=task, odd=odd: begin(folder, task, "odd", **odd))
    group = trainer.group
    found["averages"] = averages(group)
    found["of main"] = group.of_main(float(rank + 7))
    found["gathered"] = group.gather(torch.tensor([rank])).tolist()
    found["missing"] = error_of(lambda: begin(folder / "nowhere", "language", "missing", **LANGUAGE))
    found["differing"] = differing_scores(folder, rank)
    found["threads"] = [threads_of_gloo() > 0]
    distributed.destroy_process_group()
    found["threads"].append(threads_of_gloo() > 0)
    (folder / f"results-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
