"""What an encoder sees of pictures: features once for all while it is frozen, pixels while it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgernn.models.encoder import ImageEncoder
from edgernn.training.captioning.pictures import DEV, TRAIN, Collection, Picture
from edgernn.training.captioning.store import Progress, Store, features_of, pixels_of

__all__ = ["Sight"]


class Sight:
    """The pictures of the splits "train" and "dev" that can be read.

    pictures: by split. damaged: what was wrong with the others.
    """

    def __init__(
        self, encoder: ImageEncoder, collection: Collection, *, freeze: float, flips: bool, progress: Progress
    ) -> None:
        """freeze: as of CaptionTraining. Raises CorpusError if no picture of a split can be read."""
        self._features: dict[str, Store] = {}
        self._pixels: dict[str, Store] = {}
        self.pictures: Mapping[str, Sequence[Picture]] = {}
        self.damaged: list[str] = []
        kept = {}
        for split in (TRAIN, DEV):
            pictures = collection[split]
            if freeze > 0:
                mirrored = flips and split == TRAIN
                self._features[split] = features_of(encoder, pictures, flips=mirrored, progress=progress)
            if freeze < 1:
                self._pixels[split] = pixels_of(encoder, pictures, progress=progress)
            store = (self._features or self._pixels)[split]
            kept[split] = [pictures[place] for place in store.kept]
            self.damaged += store.damaged
        self.pictures = kept

    def features(
        self,
        encoder: ImageEncoder,
        split: str,
        places: Sequence[int],
        ways: Sequence[int] | None = None,
        *,
        frozen: bool,
    ) -> Tensor:
        """Features (pictures, cells, channels) of some pictures of a split, mirrored where a way is 1.

        frozen: whether `encoder` is what it was when this was made.
        """
        turned = [0] * len(places) if ways is None else ways
        device = encoder.mean.device
        if frozen:
            return self._features[split].rows(places, turned).to(device)
        pixels = self._pixels[split].rows(places, turned).to(device)
        return encoder.features(pixels.permute(0, 3, 1, 2).to(torch.float32))
