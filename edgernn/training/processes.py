"""Several processes that train one network: each reads its own lanes, and gradients are averaged between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from edgernn.errors import ConfigError, RunError, first_line

__all__ = ["ProcessGroup"]

_PATIENCE = timedelta(days=7)  # of the others, while the first process encodes a long text


@dataclass(frozen=True)
class ProcessGroup:
    """One process among `count`; the first of them writes and speaks."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """The place that `torchrun` gave to this process; alone if it gave none."""
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return cls()
        if not distributed.is_initialized():
            try:
                backend = "nccl" if device.type == "cuda" else "gloo"
                distributed.init_process_group(backend, timeout=_PATIENCE)
            except ValueError as error:
                raise ConfigError(f"the environment is not torchrun's: {first_line(error)}") from None
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, lanes: int) -> slice:
        """Which of `lanes` this process reads. Raises ConfigError if they cannot be split evenly."""
        if lanes % self.count:
            raise ConfigError(f"{lanes} lanes cannot be split evenly between {self.count} processes: choose --lanes")
        size = lanes // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def average_gradients(self, module: nn.Module) -> nn.Module:
        """`module`, whose gradients are the mean over all processes from now on."""
        return module if self.count == 1 else nn.parallel.DistributedDataParallel(module)

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """The sums of `values` over all processes."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """`tensor` of every process, in their order."""
        if self.count == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.contiguous())
        return parts

    @contextmanager
    def main_process_first(self) -> Iterator[bool]:
        """The first process goes through the block while the others wait; raises RunError in them if it fails.

        Yields whether this is the first process.
        """
        failed = True
        try:
            if not self.first:
                self._hear(failed=False)
            yield self.first
            failed = False
        finally:
            if self.first:
                self._hear(failed=failed)

    def _hear(self, *, failed: bool) -> None:
        if self.count > 1:
            tensor = torch.tensor([float(failed)])
            if torch.cuda.is_available() and distributed.get_backend() == "nccl":
                tensor = tensor.cuda()
            distributed.broadcast(tensor, 0)
            if tensor.item() and not self.first:
                raise RunError("the first process could not begin")

    def wait(self) -> None:
        """Until every process has come this far."""
        if self.count > 1:
            distributed.barrier()
