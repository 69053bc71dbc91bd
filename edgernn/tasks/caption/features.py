"""The features that an encoder makes of images while a captioner is trained.

Frozen layers always make the same of an image, so their output is cached; layers that learn run at every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgernn.data.captions import DEV, TRAIN, CaptionDataset, CaptionedImage
from edgernn.errors import CorpusError
from edgernn.models.encoder import ImageEncoder
from edgernn.tasks.caption.feature_cache import FeatureCache, cache_features
from edgernn.tasks.score import Progress

__all__ = ["EncoderFeatures"]


class EncoderFeatures:
    """Features of the images of the splits "train" and "dev".

    images: those that can be read, by split. damaged: what is wrong with the others. learned_layers: how many of the
    encoder's last layers learn.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        dataset: CaptionDataset,
        *,
        freeze: float,
        unfreeze_layers: int | None,
        augmentations: int,
        progress: Progress,
    ) -> None:
        """freeze, unfreeze_layers, augmentations: as in CaptionTraining; None unfreezes all layers.

        Raises CorpusError if no image of a split can be read.
        """
        learned = min(unfreeze_layers or encoder.layers, encoder.layers)
        self.learned_layers = 0 if freeze == 1 else learned
        # Where all layers learn in the end, the steps before that need not run the whole encoder.
        kept = {self.learned_layers} | ({0} if freeze > 0 and self.learned_layers == encoder.layers else set())
        self._caches: dict[str, dict[int, FeatureCache]] = {}  # by split, and by how many layers come after
        self.damaged: list[str] = []
        readable: dict[str, Sequence[CaptionedImage]] = {}
        for split, versions in ((TRAIN, augmentations), (DEV, 1)):
            images = dataset[split]
            try:
                self._caches[split] = {
                    layers: cache_features(encoder, images, layers=layers, augmentations=versions, progress=progress)
                    for layers in kept
                }
            except CorpusError as error:
                raise CorpusError(f"split {split}: {error}") from None
            cache = self._caches[split][self.learned_layers]
            readable[split] = [images[place] for place in cache.kept]
            self.damaged += cache.damaged
        self.images: Mapping[str, Sequence[CaptionedImage]] = readable

    def of(
        self,
        encoder: ImageEncoder,
        split: str,
        places: Sequence[int],
        augmentations: Sequence[int] | None = None,
        *,
        frozen: bool = False,
    ) -> Tensor:
        """Features (images, cells, channels) of augmentations of some images of a split; of the images if None.

        frozen: whether `encoder` is what it was when the cache was made.
        """
        caches = self._caches[split]
        layers = min(caches) if frozen else self.learned_layers
        rows = caches[layers].rows(places, [0] * len(places) if augmentations is None else augmentations)
        return encoder.upper(rows.to(encoder.mean.device, torch.float32).permute(0, 3, 1, 2), layers)
