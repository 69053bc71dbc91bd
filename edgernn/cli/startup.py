"""Measure the start of a bundle in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import EngineError
from edgernn.execution import DEFAULT, Execution

__all__ = ["Start", "measure_start", "peak_memory"]

_CHILD = """
import json, sys, time
from pathlib import Path
from edgernn.cli.load import load_model
from edgernn.execution import Execution
execution = Execution.from_json(json.loads(sys.argv[2]))
loading = time.perf_counter()
model = load_model(Path(sys.argv[1]), execution)
load_s = time.perf_counter() - loading
from edgernn.cli.startup import peak_memory
from edgernn.runtime.benchmark import stepper
stepper(model)()
print(json.dumps([load_s, peak_memory()]), flush=True)
"""


@dataclass(frozen=True)
class Start:
    """The time and memory that a bundle takes to start in a new process.

    first_step_s: seconds from the start of the process to the end of the first step. load_s: seconds to load the
    bundle. memory_mib: peak resident memory in MiB.
    """

    first_step_s: float
    load_s: float
    memory_mib: float


def measure_start(bundle: Path, execution: Execution = DEFAULT) -> Start:
    """Load `bundle` in a new process and take a step. Raises EngineError if that process fails."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", _CHILD, str(bundle), json.dumps(execution.to_json())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise EngineError(f"{bundle} cannot be started in a new process: {lines[-1]}")
    load, memory = json.loads(done.stdout)
    return Start(seconds, load, memory)


def peak_memory() -> float:
    """Return the peak resident memory of this process, in MiB.

    Linux records it for the program itself; `getrusage` would include the memory of the parent process at the start.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # macOS reports bytes
