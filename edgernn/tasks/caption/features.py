"""What an encoder sees of pictures: what never changes is made once, what learns is made at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgernn.data.captions import DEV, TRAIN, CaptionDataset, CaptionedImage
from edgernn.errors import CorpusError
from edgernn.models.encoder import ImageEncoder
from edgernn.tasks.caption.feature_cache import FeatureCache, Progress, cache_features

__all__ = ["EncoderFeatures"]


class EncoderFeatures:
    """The pictures of the splits "train" and "dev" that can be read.

    pictures: by split. damaged: what was wrong with the others. learned: how many of the encoder's last layers learn.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        collection: CaptionDataset,
        *,
        freeze: float,
        thaw: int | None,
        views: int,
        progress: Progress,
    ) -> None:
        """freeze, thaw, views: as of CaptionTraining. Raises CorpusError if no picture of a split can be read."""
        self.learned = 0 if freeze == 1 else min(thaw or encoder.layers, encoder.layers)
        # Where everything learns in the end, the steps before that need not run the whole encoder.
        kept = {self.learned} | ({0} if freeze > 0 and self.learned == encoder.layers else set())
        self._stores: dict[str, dict[int, FeatureCache]] = {}  # by split, and by how many layers come after
        self.pictures: Mapping[str, Sequence[CaptionedImage]] = {}
        self.damaged: list[str] = []
        readable = {}
        for split, ways in ((TRAIN, views), (DEV, 1)):
            pictures = collection[split]
            try:
                self._stores[split] = {
                    layers: cache_features(encoder, pictures, layers=layers, views=ways, progress=progress)
                    for layers in kept
                }
            except CorpusError as error:
                raise CorpusError(f"split {split}: {error}") from None
            store = self._stores[split][self.learned]
            readable[split] = [pictures[place] for place in store.kept]
            self.damaged += store.damaged
        self.pictures = readable

    def features(
        self,
        encoder: ImageEncoder,
        split: str,
        places: Sequence[int],
        views: Sequence[int] | None = None,
        *,
        frozen: bool = False,
    ) -> Tensor:
        """Features (pictures, cells, channels) of views of some pictures of a split; of the pictures if not said.

        frozen: whether `encoder` is what it was when this was made.
        """
        stores = self._stores[split]
        layers = min(stores) if frozen else self.learned
        rows = stores[layers].rows(places, [0] * len(places) if views is None else views)
        return encoder.upper(rows.to(encoder.mean.device, torch.float32).permute(0, 3, 1, 2), layers)
