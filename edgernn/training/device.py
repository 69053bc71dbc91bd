"""Select the device and the arithmetic of a training."""

from __future__ import annotations

import os

import torch

from edgernn.errors import ConfigError

__all__ = ["find_autocast", "find_device", "find_generator"]


def find_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the fastest available one.

    Raises ConfigError for one that is missing.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if name == "cuda" and there["cuda"]:
        index = int(os.environ.get("LOCAL_RANK", "0"))  # torchrun starts one process for each GPU
        if index >= (count := torch.cuda.device_count()):
            raise ConfigError(f"process {index + 1} on this machine has no GPU of its own: start {count} or fewer")
        return torch.device("cuda", index)
    if not there[name]:
        raise ConfigError(f"--device {name} is not available on this machine: try --device auto")
    return torch.device(name)


def find_autocast(name: str, device: torch.device) -> bool:
    """Return whether to use bfloat16 on `device`; "auto" uses it where it is faster.

    Raises ConfigError if it is required but `device` does not support it.
    """
    if name == "off":
        return False
    able = fast = False
    if device.type == "cuda":
        able = fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        fast = able and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if name == "bf16" and not able:
        raise ConfigError(f"--autocast bf16 is not possible: the {device.type} device has no bfloat16: leave it out")
    return able if name == "bf16" else fast


def find_generator(device: torch.device) -> torch.Generator:
    """Return the random generator that dropout on `device` uses."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator
