"""Ways to damage a bundle, for property tests and for long runs of `fuzz.py`."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

from edgernn.bundle import MANIFEST

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 7, 2**31, 2**40, 2**63, 10**30, 0.5, 1e308),
    *("", "batch", "h", "h_in", "x" * 5000, "../x", "/etc/passwd", "a\0b", "\ud800", "float32", "int4", "zeros"),
    *(
        [],
        [[]],
        [0],
        ["batch", "batch"],
        [2**20] * 9,
        [1] * 5000,
        {},
        {"file": "../x"},
        {"graph": "step", "output": "h"},
    ),
)


def damage(bundle: Path, random: Random, *, sealed: bool) -> str:
    """Change one file of `bundle`; where `sealed`, the manifest gets its new size and digest. Returns which file."""
    victim = random.choice(sorted(path for path in bundle.rglob("*") if path.is_file()))
    data = victim.read_bytes()
    structured = victim.suffix == ".json" and random.random() < 0.7
    victim.write_bytes(damage_json(data, random) if structured else damage_bytes(data, random))
    if sealed and victim.name != MANIFEST:
        seal(bundle, victim)
    return victim.relative_to(bundle).as_posix()


def seal(bundle: Path, file: Path) -> None:
    """Let the manifest of `bundle` say what is in `file` now."""
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    data = file.read_bytes()
    record = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["files"][file.relative_to(bundle).as_posix()] = record
    (bundle / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def damage_bytes(data: bytes, random: Random) -> bytes:
    """`data` cut, or with some bytes changed, removed, repeated or inserted."""
    at, size = random.randrange(len(data) + 1), random.choice((1, 1, 2, 4, 8, 64, 1000))
    kind = random.choice(("cut", "flip", "flip", "flip", "overwrite", "remove", "repeat", "insert"))
    if kind == "cut":
        return data[:at]
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 1, 5, 20)) if data else 0):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == "repeat":
        return data[:at] + data[max(0, at - size) : at] + data[at:]
    new = b"" if kind == "remove" else random.choice((random.randbytes(size), b"\xff" * size, b"\0" * size))
    return data[:at] + new + data[at if kind == "insert" else at + size :]


def damage_json(data: bytes, random: Random) -> bytes:
    """The JSON text with one of its values, at any depth, replaced, removed or repeated."""
    root = json.loads(data)
    value = copy.deepcopy(root)
    owner, key = random.choice(_places(value))
    kind = random.choice(("replace", "replace", "replace", "remove", "move"))
    if kind == "remove":
        del owner[key]
    elif kind == "move":
        other, place = random.choice(_places(root))
        owner[key] = other[place]
    else:
        owner[key] = random.choice(VALUES)
    return json.dumps(value).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in `value`, as the list or object that it is in and its index or key there."""
    found: list[tuple[Any, Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        found.append((value, key))
        found.extend(_places(part))
    return found
