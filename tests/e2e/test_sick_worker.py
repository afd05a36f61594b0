"""A worker whose engine starts nothing is taken out, loudly; its jobs run elsewhere; once mended it comes back."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until
from tests.e2e.test_stopped_agent import start_other_worker

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]

CONFIG = """
[pulse]
slow_ms = 2000
[workers]
quarantine_jobs = 3
[worker]
runtime = "docker"
name = "well"
"""
ENGINE = "/var/run/docker.sock"
_ANSWER = b'{"message":"failed to create shim: no runc"}'
REFUSAL = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
    + str(len(_ANSWER)).encode()
    + b"\r\n\r\n"
    + _ANSWER
)


class SickEngine:
    """A socket in front of the engine's; while `sick` it starts no container."""

    def __init__(self, path: Path) -> None:
        self.sick = True
        self.path = path
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_unix_server(self._serve, self.path))
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(ENGINE)
        back = asyncio.ensure_future(self._copy(engine_reader, writer))
        try:
            while data := await reader.read(65536):
                line = data.split(b"\r\n", 1)[0]
                if self.sick and line.startswith(b"POST") and b"/start " in line:
                    writer.write(REFUSAL)
                    await writer.drain()
                    break
                engine_writer.write(data)
                await engine_writer.drain()
        except OSError:
            pass
        finally:
            back.cancel()
            for each in (writer, engine_writer):
                each.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
def sick(tmp_path) -> Iterator[SickEngine]:
    made = SickEngine(tmp_path / "engine.sock")
    yield made
    made.close()


def test_a_sick_worker_is_quarantined_and_comes_back(make_core, image, sick, tmp_path):
    core = make_core(CONFIG)
    client = core.ready()
    core.consumer("worker", "cordon", "well")
    other = start_other_worker(core, tmp_path, DOCKER_HOST=f"unix://{sick.path}")
    try:
        core.ready(2)
        resources = {"cpus": 0.25, "memory": "16MiB"}
        jobs = client.submit_many([{"image": image, "command": ["true"], "resources": resources}] * 8)
        wait_until(lambda: client.get("/v1/workers/other")["eligibility"] == "quarantined", 60)
        assert "different jobs failed here before they started" in client.get("/v1/workers/other")["note"]
        core.consumer("worker", "uncordon", "well")
        ended = [client.wait(job, timeout_s=60) for job in jobs]
        assert {(job["state"], job["worker"]) for job in ended} == {("succeeded", "well")}
        lost = [entry["reason"] for job in ended for entry in job["assignments"] if entry["worker"] == "other"]
        assert set(lost) == {"DockerError"}, "no attempt of the user's was spent: they allow one"
        wait_until(lambda: "stays quarantined, its probe failed" in _logged(core), 60)
        sick.sick = False
        wait_until(lambda: client.get("/v1/workers/other")["eligibility"] == "open", 60)
        assert client.get("/v1/workers/other")["note"] == ""
        wait_until(lambda: "takes jobs again" in _logged(core), 60)
        assert "worker other is quarantined" in _logged(core)
    finally:
        other.terminate()
        other.wait(60)


def _logged(core) -> str:
    items = json.loads(core.consumer("log", "list", "-o", "json", "--limit", "200").stdout)["items"]
    return "\n".join(item["message"] for item in items)
