"""Fixtures of the command line's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_core import FakeCore


@pytest.fixture
def core() -> Iterator[FakeCore]:
    fake = FakeCore()
    yield fake
    fake.close()


@pytest.fixture
def consumer(core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run one command line in this process against the fake Core; returns the exit code."""
    for name in ("SWARMSYNC_PROFILE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SWARMSYNC_URL", core.url)
    monkeypatch.setenv("SWARMSYNC_TOKEN", "secret")
    from cli import consumer as program

    def run(*arguments: str) -> int:
        return program.main(list(arguments))

    return run
