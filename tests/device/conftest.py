"""The device tests pass where there is no torch; where there is, nothing may import it."""

import sys
from pathlib import Path

import pytest
from tiny import TinyLanguage, write_captioner, write_conditioned

from edgernn.runtime import Model


@pytest.fixture(scope="session")
def tiny() -> TinyLanguage:
    return TinyLanguage.random()


@pytest.fixture(scope="session")
def bundle(tiny: TinyLanguage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conditioned(tmp_path_factory.mktemp("bundles") / "conditioned")


@pytest.fixture(scope="session")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("bundles") / "captioner")


@pytest.fixture(scope="session")
def model(bundle: Path) -> Model:
    return Model.load(bundle)


@pytest.fixture(autouse=True)
def _no_torch():
    """A device test that brings torch in has crossed the wall."""
    before = "torch" in sys.modules
    yield
    assert before or "torch" not in sys.modules
