"""`edgernn search`: an evolution of recurrent cells."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, on_interrupt, progress, require_extra, result, starting, stop_after_step
from edgernn.cli.options import Given
from edgernn.errors import ConfigError
from edgernn.search.settings import SearchSettings
from edgernn.tasks.language.settings import LanguageData

if TYPE_CHECKING:
    from edgernn.search.search import Compared, Search, Tried

__all__ = ["search"]


def search(
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CORPUS",
            help="The text to train on: files, directories, - for standard input, stdlib or tinyshakespeare.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The directory to write. A search that was begun there with the same options continues."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the losses of the candidates in this .png or .svg file.")
    ] = None,
    given: Given,
    json: Json = False,
) -> None:
    """Search for recurrent cells: evolve update formulas, and compare the best with LSTM and GRU.

    Each candidate formula is trained on the text for a few hundred steps, as the cell of a language model with the same
    number of parameters. The best formulas are written to OUT/cells as cells for --cell of edgernn train.

    [bold]Example:[/bold] edgernn search shakespeare.txt --out search/shakespeare --minutes 30
    """
    if not sources or out is None:
        raise ConfigError("edgernn search needs a CORPUS and --out OUT")
    with starting("train"):
        from edgernn.search.search import Search
    if plot is not None:
        with require_extra("plot"):
            from edgernn.training.curves import check_picture
        check_picture(plot)
    settings, data = SearchSettings(**given.of(SearchSettings)), LanguageData(**given.of(LanguageData))
    with progress("reading the data") as show:
        found = Search(sources, out, settings, data, show)
    for note in found.notes:
        log(note)
    _run(found)
    if plot is not None:
        from edgernn.search.picture import plot_search

        plot_search(found.state.candidates, plot)
    report = found.report
    result({"search": str(out), **report.to_json()}, str(report), as_json=json)


def _run(search: Search) -> None:
    """Search to the end, with a line for each candidate. The first Ctrl-C ends it after the present step."""
    from edgernn.search.search import Tried

    if count := len(search.state.candidates):
        log(f"{search.directory.path} has {count:,} candidates so far")
    with on_interrupt(lambda: stop_after_step(search.stop)):
        for event in search.run():
            log(_candidate(event) if isinstance(event, Tried) else _comparison(event))
    if search.stopped:
        log(f"stopped; {len(search.state.candidates):,} candidates are kept")
        log(f"to continue: edgernn {shlex.join(sys.argv[1:])}")
        raise KeyboardInterrupt


def _candidate(event: Tried) -> str:
    trial = event.candidate.trial
    loss = f"{trial.loss:.4f}" if trial.loss is not None else trial.outcome
    formula = trial.formula.replace("\n", "; ")
    return f"{event.number:5,}  {loss:>9}{' *' if event.best else '  '} {formula}"


def _comparison(event: Compared) -> str:
    trial = event.trial
    loss = f"{trial.reported:.4f}" if trial.reported is not None else trial.outcome
    return f"{event.number:,} of {event.total:,} trainings of the best: {event.name} {loss}"
