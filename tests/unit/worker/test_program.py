"""What the worker's program says before it has a connection."""

import asyncio
import os
import signal

import pytest

from conf.settings import LocalWorkerSettings, WorkerSite
from swarmsync.errors import ConfigError
from worker import program


def site(settings):
    return WorkerSite("nats://worker:hidden@10.0.0.1:4222", "token", "/nowhere", settings)


async def test_a_worker_that_has_no_connection_says_where_it_tries(monkeypatch):
    said, there, bus = [], asyncio.Event(), object()

    async def connect(_url, _name):
        await there.wait()
        return bus

    def warning(event, **more):
        said.append((event, more))
        there.set()

    monkeypatch.setattr(program.Bus, "connect", connect)
    monkeypatch.setattr(program, "PATIENCE_S", 0)
    monkeypatch.setattr(program, "log", type("Log", (), {"warning": staticmethod(warning)}))
    settings = LocalWorkerSettings(runtime="simulated")
    assert await program._connected(settings, site(settings)) is bus
    assert said == [("NATS does not let this worker in yet; it goes on trying", {"nats": "10.0.0.1"})]


@pytest.mark.parametrize("name", ["memory", "reserve_memory", "images_max"])
async def test_an_amount_that_cannot_be_read_is_told_before_anything_is_connected(monkeypatch, name):
    monkeypatch.setattr(program.Bus, "connect", None)
    settings = LocalWorkerSettings(runtime="simulated", **{name: "zz"})
    with pytest.raises(ConfigError, match=f"worker.{name}: "):
        await program._main(settings, site(settings))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_told_to_stop_ends_though_it_has_no_connection_yet(monkeypatch, number):
    async def connect(_url, _name):
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    monkeypatch.setattr(program.Bus, "connect", connect)
    settings = LocalWorkerSettings(runtime="simulated")
    async with asyncio.timeout(10):
        assert await program._main(settings, site(settings)) is False
