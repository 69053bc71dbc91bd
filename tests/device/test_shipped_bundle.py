"""The bundle that the package carries, from which the demo describes a picture: in the wheel too, where no torch is."""

from pathlib import Path

import edgernn
from edgernn.bundle import Bundle
from edgernn.runtime.engine import OnnxEngine
from edgernn.runtime.golden import verify

SCENES = Path(edgernn.__file__).parent / "cli" / "demo" / "scenes"


def test_it_loads_verifies_and_is_small():
    bundle = Bundle.load(SCENES)
    assert (bundle.manifest.task, bundle.manifest.target, bundle.manifest.precision) == ("caption", "onnx", "int8")
    assert verify(bundle, OnnxEngine).steps > 1
    assert sum(file.stat().st_size for file in SCENES.rglob("*") if file.is_file()) <= 1_700_000
