"""A stream as bytes, in the format of `export/CONTRACT.md`, which is the same on every machine and for every target."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgernn import records
from edgernn.contract import DTYPES, Array, State
from edgernn.errors import ConfigError, FormatError, SnapshotError
from edgernn.sampling import Sampler

__all__ = ["Snapshot", "settings"]

_MAGIC = b"edgernn\0"
_VERSION = 1
_PREFIX = struct.Struct("<8sII")
_DIGEST_SIZE = 32
_MAX_AXES = 16
_WORD = re.compile(r"[0-9a-f]{16}")
_GROUPS = ("state", "conditions", "initial", "logits")
_KEYS = {"digest", "precision", "graph", "sampler", "seed", "generator", "steps", "recent", "tail", "tensors"}


@dataclass(frozen=True)
class Snapshot:
    """Everything that is needed to continue a stream exactly.

    digest, precision, graph: identify the weights, contract and graph of the stream.
    seed, generator: the first and the present state of the random generator.
    steps: the number of steps taken. recent: the last tokens, as many as the sampler needs.
    tail: the token ids that the incremental text decoder still needs.
    logits: scores (vocabulary,) of the next token, or None if there are none yet.
    """

    digest: str
    precision: str
    graph: str
    sampler: Sampler
    seed: int
    generator: int
    steps: int
    recent: list[int]
    tail: list[int]
    state: State
    conditions: Mapping[str, Array]
    initial: State
    logits: Array | None

    def to_bytes(self) -> bytes:
        """Return the snapshot in the format of `export/CONTRACT.md`."""
        tensors = [(group, name, array) for group in _GROUPS for name, array in self._group(group).items()]
        header = json.dumps(
            {
                "digest": self.digest,
                "precision": self.precision,
                "graph": self.graph,
                "sampler": settings(self.sampler),
                "seed": f"{self.seed:016x}",
                "generator": f"{self.generator:016x}",
                "steps": self.steps,
                "recent": self.recent,
                "tail": self.tail,
                "tensors": [
                    {"group": group, "name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
                    for group, name, array in tensors
                ],
            }
        ).encode()
        parts = [_PREFIX.pack(_MAGIC, _VERSION, len(header)), header]
        parts += [array.astype(array.dtype.newbyteorder("<")).tobytes() for _, _, array in tensors]
        body = b"".join(parts)
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Read what `to_bytes` wrote. Raises SnapshotError for anything else."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise SnapshotError(f"a snapshot is bytes, not {type(data).__name__}")
        try:
            header, payload = _split(bytes(data))
            groups = _tensors(header["tensors"], payload)
            seed = _word(header["seed"])
            return cls(
                digest=records.text(header["digest"], "digest"),
                precision=records.text(header["precision"], "precision"),
                graph=records.text(header["graph"], "graph"),
                sampler=_sampler(header["sampler"], seed),
                seed=seed,
                generator=_word(header["generator"]),
                steps=records.integer(header["steps"], "steps"),
                recent=[records.integer(token, "recent") for token in records.items(header["recent"], "recent")],
                tail=[records.integer(token, "tail") for token in records.items(header["tail"], "tail")],
                state=State(groups["state"]),
                conditions=groups["conditions"],
                initial=State(groups["initial"]),
                logits=groups["logits"].get("logits"),
            )
        except (FormatError, ConfigError) as error:
            raise SnapshotError(f"the snapshot is damaged: {error}") from None

    def _group(self, group: str) -> Mapping[str, Array]:
        if group == "logits":
            return {} if self.logits is None else {"logits": self.logits}
        arrays: Mapping[str, Array] = getattr(self, group)
        return arrays


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < _PREFIX.size + _DIGEST_SIZE or data[: len(_MAGIC)] != _MAGIC:
        raise SnapshotError("these bytes are not a snapshot")
    body = data[:-_DIGEST_SIZE]
    _, version, header_size = _PREFIX.unpack_from(body)
    if version != _VERSION:
        raise SnapshotError(f"the snapshot has format {version}; this edgernn reads format {_VERSION}")
    if hashlib.sha256(body).digest() != data[-_DIGEST_SIZE:]:
        raise SnapshotError("the snapshot was cut or changed: its SHA-256 does not fit")
    start = _PREFIX.size + header_size
    header = records.record(records.parse(body[_PREFIX.size : start], "its header"), "its header", _KEYS)
    return header, body[start:]


def _tensors(entries: Any, payload: bytes) -> dict[str, dict[str, Array]]:
    groups: dict[str, dict[str, Array]] = {group: {} for group in _GROUPS}
    offset = 0
    for entry in records.items(entries, "tensors"):
        values = records.record(entry, "a tensor", {"group", "name", "dtype", "shape"})
        if values["group"] not in _GROUPS or values["dtype"] not in DTYPES:
            raise FormatError(f"tensor {values['name']!r} of {values['group']!r} has dtype {values['dtype']!r}")
        shape = [records.integer(size, "shape") for size in records.items(values["shape"], "shape")]
        dtype = np.dtype(values["dtype"])
        count = math.prod(shape)
        # The sum is limited too, since numpy refuses a shape like (0, 10**30), which has no elements.
        if len(shape) > _MAX_AXES or sum(shape) > len(payload) or offset + count * dtype.itemsize > len(payload):
            raise FormatError("its tensors are cut short")
        array = np.frombuffer(payload, dtype.newbyteorder("<"), count, offset).astype(dtype).reshape(shape)
        groups[values["group"]][records.text(values["name"], "a tensor's name")] = array
        offset += array.nbytes
    if offset != len(payload):
        raise FormatError("bytes follow its tensors")
    return groups


def settings(sampler: Sampler) -> dict[str, Any]:
    """Return the settings of a sampler as JSON values, without its seed; the bias as pairs, with null for -inf."""
    bias = [[token, value if math.isfinite(value) else None] for token, value in sampler.bias.items()]
    return {**{name: getattr(sampler, name) for name in _NUMBERS}, "bias": bias}


def _sampler(value: Any, seed: int) -> Sampler:
    values = records.record(value, "sampler", {*_NUMBERS, "bias"})
    numbers: dict[str, Any] = {name: records.number(values[name], name) for name in _NUMBERS}
    wholes = {name: records.integer(values[name], name) for name in ("top_k", "repetition_window")}
    bias: dict[int, float] = {}
    for pair in records.items(values["bias"], "bias"):
        token, added = records.items(pair, "a bias") if len(pair) == 2 else (None, None)
        bias[records.integer(token, "a token")] = -math.inf if added is None else records.number(added, "a bias")
    return Sampler(**{**numbers, **wholes}, bias=bias, seed=seed)


_NUMBERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "repetition_window")


def _word(value: Any) -> int:
    digits = records.text(value, "a 64-bit word")
    if not _WORD.fullmatch(digits):
        raise FormatError(f"{digits[:20]!r} is not 16 hexadecimal digits")
    return int(digits, 16)
