"""Tasks, one subpackage for each. Importing this package does not import torch."""

from edgernn.tasks.caption.task import CAPTION
from edgernn.tasks.classify.task import CLASSIFY
from edgernn.tasks.draw.task import DRAW
from edgernn.tasks.glimpse.task import GLIMPSE
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.paint.task import PAINT
from edgernn.tasks.pens.task import PENS
from edgernn.tasks.tag.task import TAG
from edgernn.tasks.task import Task
from edgernn.tasks.translate.task import TRANSLATE

__all__ = ["TASKS"]

TASKS: dict[str, Task] = {
    "language": LANGUAGE,
    "caption": CAPTION,
    "classify": CLASSIFY,
    "tag": TAG,
    "translate": TRANSLATE,
    "glimpse": GLIMPSE,
    "draw": DRAW,
    "pens": PENS,
    "paint": PAINT,
}
