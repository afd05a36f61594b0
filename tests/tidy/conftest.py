"""The trees of all files are read once for the tidy tests, and let go of behind them."""

from collections.abc import Iterator

import project
import pytest


@pytest.fixture(scope="package", autouse=True)
def _trees() -> Iterator[None]:
    yield
    project.let_go()
