"""What the tasks share that learn from labelled pictures of one size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from edgernn.data.batches import Passes, shuffled
from edgernn.data.pictures import HELD_OUT, TRAIN
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CorpusError
from edgernn.models import Network
from edgernn.tasks.learner import Learner, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["PictureLearner"]


class PictureLearner(Learner):
    """Opens the pictures that `prepare` packed as TRAIN and HELD_OUT, and takes batches of them in random order."""

    unit = "pictures"

    def __init__(
        self,
        network: Network,
        prepared: Prepared,
        folder: Path,
        placement: Placement,
        progress: Progress,
        *,
        batch_size: int,
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        self.train, self.held_out = (
            PackedSequences.of_run(folder, name, prepared.record) for name in (TRAIN, HELD_OUT)
        )
        placement.share(batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(len(self.train) / batch_size)
        self.passes = Passes(partial(shuffled, len(self.train), batch_size), prepared.chosen.training.seed)

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`. Raises CorpusError for pictures of another size or of other classes than `origin` has."""
        prepared = cls.prepare(sources, chosen, folder, progress)
        if prepared.assets != origin.assets or prepared.chosen.model != chosen.model:
            raise CorpusError(
                f"{sources[0]} has pictures of another size or of other classes than those of the run {origin.name}"
            )
        return prepared

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return nothing: a picture is no text."""
        return {}
