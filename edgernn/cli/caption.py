"""`edgernn caption`: describe images with a bundle."""

from __future__ import annotations

from collections.abc import Callable

from edgernn.cli.run import pipeline_command

__all__ = ["caption"]


def caption() -> Callable[..., None]:
    """Describe images with a caption bundle."""
    from edgernn.runtime.pipelines.caption import CaptionPipeline

    assert caption.__doc__ is not None
    return pipeline_command("caption", caption.__doc__, {CaptionPipeline.task: CaptionPipeline})
