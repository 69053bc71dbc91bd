"""A run from whose weights another run starts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import ConfigError
from edgernn.tasks.learner import Origin, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tasks.task import Task
from edgernn.training.run import WEIGHTS, Run, build_network, check_tensors

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """The best weights of a run, from which another run of the same task starts.

    record: what the new run records: the name of the run's directory, the SHA-256 of its weights file, and the step of
    the best weights.
    """

    run: Run
    origin: Origin
    record: Mapping[str, Any]

    @classmethod
    def open(cls, task: Task, path: Path) -> Start:
        """Read the run at `path`. Raises ConfigError for a run of another task, RunError for a damaged one."""
        run = Run.load(path)
        if run.task.name != task.name:
            raise ConfigError(
                f"{path} is a run of the task {run.task.name}, and cannot start one of the task {task.name}"
            )
        network = run.network()
        _, about = run.read(WEIGHTS)
        digest = hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
        record = {"run": path.resolve().name, "sha256": digest, "step": about.get("step")}
        return cls(run, Origin(str(path), run.prepared.assets, network), record)

    def choose(self, sources: Sequence[str], preset: str | None, **options: Any) -> Chosen:
        """Return the settings of the new run. Raises ConfigError as `Task.choose_from` does."""
        return self.run.task.choose_from(self.run.prepared.chosen, str(self.run.path), sources, preset, **options)

    def prepare(self, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the data of the new run.

        Raises what `Learner.prepare_from` raises, and ConfigError for data that would need other weights.
        """
        task = self.run.task
        prepared = task.learner().prepare_from(sources, chosen, folder, progress, self.origin)
        for name in sorted(prepared.assets.keys() | self.origin.assets.keys()):
            if prepared.assets.get(name) != self.origin.assets.get(name):
                raise ConfigError(
                    f"{self.run.path} does not fit the data, whose {name} differs: train from new weights"
                )
        network = build_network(task, prepared)
        check_tensors(self.origin.network.state_dict(), network.state_dict(), self.run.path / WEIGHTS)
        return prepared
