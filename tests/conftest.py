"""Settings for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from edgernn.cli import execute

settings.register_profile(
    "edgernn", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("edgernn")


@pytest.fixture
def call(capsys):
    """Run a command line: exit status, standard output and standard error."""

    def run(*arguments):
        capsys.readouterr()
        status = execute([*map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, which EDGERNN_DATA names."""
    folder = os.environ.get("EDGERNN_DATA")
    if not folder:
        pytest.skip("EDGERNN_DATA is not set, so there are no real data to test with")
    return Path(folder)
