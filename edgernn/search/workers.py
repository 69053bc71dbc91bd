"""Trials in this process, or in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from edgernn.errors import TrainingError
from edgernn.search.evolution import Trial
from edgernn.search.trial import Job, Laboratory, Stop
from edgernn.tasks.learner import Prepared

__all__ = ["Run", "workers"]

_LOOKS = 0.2  # seconds between two looks at whether to stop

# Runs jobs until `stop` returns true, and yields the number and the trial of each one that came to its end.
Run = Callable[[Sequence[Job], Stop], Iterator[tuple[int, Trial]]]


@contextmanager
def workers(prepared: Prepared, folder: Path, parameters: int, processes: int) -> Iterator[Run]:
    """Yield what runs jobs, each on one thread, so that the figures do not depend on the number of processes."""
    with ExitStack() as stack:
        if processes == 1:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
            yield _here(Laboratory(prepared, folder, parameters))
        else:
            yield stack.enter_context(_elsewhere(prepared, folder, parameters, processes))


def _here(laboratory: Laboratory) -> Run:
    def run(jobs: Sequence[Job], stop: Stop) -> Iterator[tuple[int, Trial]]:
        for number, job in enumerate(jobs):
            trial = laboratory.try_formula(job, stop)
            if trial is None:
                return
            yield number, trial

    return run


@contextmanager
def _elsewhere(prepared: Prepared, folder: Path, parameters: int, processes: int) -> Iterator[Run]:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    stopped = context.Event()
    pool = ProcessPoolExecutor(processes, context, _begin, (prepared, folder, parameters, stopped))

    def run(jobs: Sequence[Job], stop: Stop) -> Iterator[tuple[int, Trial]]:
        stopped.clear()
        numbers = {pool.submit(_try, job): number for number, job in enumerate(jobs)}
        left: set[Future[Trial | None]] = set(numbers)
        try:
            while left:
                done, left = wait(left, _LOOKS, FIRST_COMPLETED)
                if stop():
                    stopped.set()
                for future in done:
                    trial = future.result()
                    if trial is not None:
                        yield numbers[future], trial
        except BrokenProcessPool:
            raise TrainingError(
                "a process of the search ended, perhaps for lack of memory; the candidates so far are kept: "
                "give the same command with fewer --processes"
            ) from None
        finally:
            stopped.set()
            wait(left)

    try:
        yield run
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


class _Worker:
    """What a process of the pool keeps."""

    laboratory: Laboratory
    stopped: Event


def _begin(prepared: Prepared, folder: Path, parameters: int, stopped: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the first one tells the others
    torch.set_num_threads(1)
    _Worker.laboratory, _Worker.stopped = Laboratory(prepared, folder, parameters), stopped


def _try(job: Job) -> Trial | None:
    return _Worker.laboratory.try_formula(job, _Worker.stopped.is_set)
