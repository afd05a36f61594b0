"""What the contract suite of container runtimes runs on."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engine_proxy import EngineProxy
from runtime_rigs import UNIQUE, Rig, numbers
from stub_registry import Registry

from worker.demo_image import ensure_demo_image
from worker.docker_engine import EngineAway
from worker.docker_runtime import DockerRuntime
from worker.process_runtime import ProcessRuntime
from worker.simulated_runtime import SimulatedRuntime

_demo_images: set[str | None] = set()


async def _engine_address() -> str | None:
    """The engine's address, None for the default one; it has the demo image."""
    address = os.environ.get("DOCKER_HOST")
    if address not in _demo_images:
        try:
            await ensure_demo_image()
        except EngineAway as away:
            pytest.fail(f"these tests need a Docker engine at DOCKER_HOST or the default socket: {away}", pytrace=False)
        _demo_images.add(address)
    return address


async def _docker_rig() -> Rig:
    address, owner = await _engine_address(), f"test-{UNIQUE}-{next(numbers)}"
    return Rig("docker", lambda: DockerRuntime(address, owner=owner), owner)


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("process", marks=pytest.mark.process),
        "simulated",
    ]
)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    if request.param == "docker":
        rig = await _docker_rig()
    elif request.param == "process":
        rig = Rig("process", lambda: ProcessRuntime(tmp_path / "jobs"))
    else:
        engine = SimulatedRuntime()
        rig = Rig("simulated", lambda: engine)
    yield rig
    await rig.close()


@pytest.fixture
async def docker_rig() -> AsyncIterator[Rig]:
    rig = await _docker_rig()
    yield rig
    await rig.close()


@pytest.fixture
async def engine_proxy(tmp_path: Path) -> AsyncIterator[EngineProxy]:
    address = await _engine_address() or "unix:///var/run/docker.sock"
    proxy = EngineProxy(address.removeprefix("unix://"), tmp_path / "engine")
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.open()
    yield registry
    await registry.close()
