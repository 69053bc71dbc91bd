"""Pipelines, one file for each task: each turns a file into inputs of a model, and its outputs into a result."""

from collections.abc import Mapping
from typing import Any

from edgernn.errors import StreamError
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import CaptionPipeline
from edgernn.runtime.pipelines.classify import ClassifyPipeline
from edgernn.runtime.pipelines.draw import DrawPipeline
from edgernn.runtime.pipelines.glimpse import GlimpsePipeline
from edgernn.runtime.pipelines.language import LanguagePipeline
from edgernn.runtime.pipelines.paint import PaintPipeline
from edgernn.runtime.pipelines.pens import PensPipeline
from edgernn.runtime.pipelines.pipeline import Conversation, Pipeline, Result
from edgernn.runtime.pipelines.tag import TagPipeline
from edgernn.runtime.pipelines.translate import TranslatePipeline

__all__ = ["PIPELINES", "Conversation", "Pipeline", "Result", "pipeline_for"]

# If several pipelines declare an option, the help shows the text of the first.
PIPELINES: Mapping[str, type[Pipeline[Any]]] = {
    "language": LanguagePipeline,
    "caption": CaptionPipeline,
    "classify": ClassifyPipeline,
    "tag": TagPipeline,
    "translate": TranslatePipeline,
    "glimpse": GlimpsePipeline,
    "draw": DrawPipeline,
    "pens": PensPipeline,
    "paint": PaintPipeline,
}


def pipeline_for(model: Model) -> Pipeline[Any]:
    """Return the pipeline of the model's task.

    Raises StreamError for a task without a pipeline, or a model whose contract does not fit its task.
    """
    task = model.manifest.task
    if task not in PIPELINES:
        raise StreamError(
            f"there is no pipeline for the task {task[:40]!r}; there is one for {', '.join(PIPELINES)}: "
            "drive the bundle step by step, with Model.stream and Stream.step"
        )
    return PIPELINES[task](model)
