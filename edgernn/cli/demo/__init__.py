"""`edgernn demo`: the whole way from a text to a stream, and a picture in words, on one screen.

command   the options, and the steps in their order
steps     one function for each step, and what it came to
screen    where the steps are shown, and the progress bar of what takes a while
drawing   pictures, attention and falling losses in the characters of a terminal
scenes    the bundle that describes a picture, trained beforehand by the recipe of the same name
"""

from edgernn.cli.demo.command import demo

__all__ = ["demo"]
