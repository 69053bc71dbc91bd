"""Training of captioners: pictures and their captions, the loop, and how good captions are."""

from edgernn.tasks.caption.score import CaptionScore, Cider, score_captions
from edgernn.training.captioning.config import CaptionTraining
from edgernn.training.captioning.loop import CaptionEvaluated, CaptionStepped, CaptionTrainer, open_dataset
from edgernn.training.captioning.run import CaptionRun

__all__ = [
    "CaptionEvaluated",
    "CaptionRun",
    "CaptionScore",
    "CaptionStepped",
    "CaptionTrainer",
    "CaptionTraining",
    "Cider",
    "open_dataset",
    "score_captions",
]
