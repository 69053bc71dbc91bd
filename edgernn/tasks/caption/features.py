"""The encoder's features of images, for training a captioner.

Frozen layers are cached: their output for an image is the same at every step. Layers that are trained run at every
step.
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

    images: the readable images, by split. damaged: messages about the others. learned_layers: the number of the
    encoder's last layers that are trained.
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
        """Cache the output of the encoder's frozen layers.

        freeze, unfreeze_layers, augmentations: as in CaptionTraining; unfreeze_layers=None trains all layers.
        Raises CorpusError if a split has no readable image.
        """
        learned = min(unfreeze_layers or encoder.layers, encoder.layers)
        self.learned_layers = 0 if freeze == 1 else learned
        # If all layers are trained in the end, a second cache spares the whole encoder while it is still frozen.
        kept = {self.learned_layers} | ({0} if freeze > 0 and self.learned_layers == encoder.layers else set())
        self._caches: dict[str, dict[int, FeatureCache]] = {}  # by split and number of layers that are not cached
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
        """Return features (images, cells, channels) of the images `places` of a split.

        augmentations: the number of the augmentation for each image; None for the images themselves. frozen: whether
        `encoder` still has its initial weights, so that all layers can be read from the cache.
        """
        caches = self._caches[split]
        layers = min(caches) if frozen else self.learned_layers
        rows = caches[layers].rows(places, [0] * len(places) if augmentations is None else augmentations)
        return encoder.upper(rows.to(encoder.mean.device, torch.float32).permute(0, 3, 1, 2), layers)
