"""Data-parallel training: each process computes gradients on its part of every batch, and gradients are averaged."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from edgernn.errors import ConfigError, RunError, first_line

__all__ = ["ProcessGroup", "refuse_torchrun"]

_PATIENCE = timedelta(days=7)  # timeout of processes that wait while the main process prepares the data


@dataclass(frozen=True)
class ProcessGroup:
    """One process among `count`. The main process, with rank 0, writes files and prints."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Join the process group that `torchrun` created; without one, return a group of one process."""
        if _started() == "1":
            return cls(device)
        if device.type == "mps":
            raise ConfigError("several processes cannot train on mps: choose --device cpu")
        if not distributed.is_initialized():
            # The functions of torch.distributed.nn bind the default group at import. If imported after the group
            # is created, which optimizers do, they would keep it alive until Python exits.
            import torch.distributed.nn  # noqa: F401 - imported early, as the comment above says

            try:
                backend = "nccl" if device.type == "cuda" else "gloo"
                distributed.init_process_group(backend, timeout=_PATIENCE)
                if backend == "gloo":  # gloo's threads abort a process that ends while they run
                    atexit.register(_leave)
            except ValueError as error:
                raise ConfigError(f"the environment is not torchrun's: {first_line(error)}") from None
        return cls(device, distributed.get_rank(), distributed.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes.

        A process in which a parameter has no gradient contributes zero.
        """
        if self.count == 1:
            return
        parameters = list(parameters)
        known = torch.tensor([float(each.grad is not None) for each in parameters], device=self.device)
        distributed.all_reduce(known)
        moved = [each for each, count in zip(parameters, known.tolist(), strict=True) if count]
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in moved]
        for parameter, gradient in zip(moved, self._mean(gradients), strict=True):
            parameter.grad = gradient

    @torch.no_grad()
    def average_buffers(self, network: nn.Module) -> None:
        """Replace the floating-point buffers of `network`, such as running means, by their means over all processes.

        Buffers that are equal in all processes keep their exact values.
        """
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.count > 1 and buffers:
            for buffer, mean in zip(buffers, self._mean([buffer.double() for buffer in buffers]), strict=True):
                buffer.copy_(mean)

    def _mean(self, tensors: list[Tensor]) -> Iterator[Tensor]:
        if not tensors:
            return iter(())
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([tensor.numel() for tensor in tensors])
        return (part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True))

    def total(self, values: list[float]) -> list[float]:
        """Return the sums of `values` over all processes."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def of_main(self, value: float) -> float:
        """Return the `value` of the main process."""
        return self.total([value if self.is_main else 0.0])[0]

    def gather(self, tensor: Tensor) -> Tensor:
        """Return a copy of `tensor` from every process, stacked along a new first axis in the order of ranks."""
        tensor = tensor.detach().contiguous()
        if self.count == 1:
            return tensor[None].clone()
        there = tensor.to(self.device)  # NCCL transfers only tensors on its GPUs
        parts = [torch.empty_like(there) for _ in range(self.count)]
        distributed.all_gather(parts, there)
        return torch.stack(parts).to(tensor.device)

    @contextmanager
    def main_process_first(self) -> Iterator[bool]:
        """Run the block in the main process first, while the others wait; if it fails, they raise RunError.

        Yields whether this is the main process.
        """
        failed = True
        try:
            if not self.is_main:
                self._agree(failed=False)
            yield self.is_main
            failed = False
        finally:
            if self.is_main:
                self._agree(failed=failed)

    def _agree(self, *, failed: bool) -> None:
        if self.count > 1:
            tensor = torch.tensor([float(failed)], device=self.device)
            distributed.broadcast(tensor, 0)
            if tensor.item() and not self.is_main:
                raise RunError("the main process failed before training began: its message says why")

    def wait(self) -> None:
        """Wait until every process has reached this call."""
        self.total([0.0])


def refuse_torchrun(why: str) -> None:
    """Raise ConfigError if `torchrun` started several processes.

    why: the clause that begins the message, such as "a comparison (edgernn compare) runs in one process".
    """
    if (count := _started()) != "1":
        raise ConfigError(f"{why}, and torchrun started {count}: leave out torchrun")


def _started() -> str:
    """Return the number of processes that `torchrun` says it started; "1" without it."""
    return os.environ.get("WORLD_SIZE", "1")


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
