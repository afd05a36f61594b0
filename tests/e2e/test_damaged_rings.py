"""A ring that contradicts itself is given up; what was on it is found again in the rows."""

import re
from pathlib import Path

import pytest

from engine.shared_resource import layout
from engine.shared_resource.segment import PREFIX, Segment
from tests.e2e.conftest import wait_until

pytestmark = pytest.mark.e2e

JOBS = [{"image": "simulated", "resources": {"cpus": 1}}] * 200
SIMULATED = '[worker]\nruntime = "simulated"\ncpus = 8\n'


def tear(core, ring: str) -> None:
    """Publish a frame that nobody wrote."""
    maps = Path(f"/proc/{core.pid('scheduler')}/maps").read_text()
    instance = re.search(rf"/{PREFIX}-([^-]+)-{ring}$", maps, re.MULTILINE)[1]
    segment = Segment.attach(instance, ring)
    segment.words[layout.TAIL] += layout.FRAME_ALIGN_BYTES


@pytest.mark.parametrize(("ring", "reader"), [("placements", "dispatcher"), ("bounces", "harvester")])
def test_the_reader_begins_anew_and_no_job_is_lost(make_core, ring, reader):
    core = make_core(SIMULATED)
    client = core.ready()
    pid = core.pid(reader)
    ids = client.submit_many(JOBS)
    for job in ids:
        client.wait(job, timeout_s=60)
    tear(core, ring)  # while nothing is put: its writer would undo it
    ids += client.submit_many(JOBS)
    assert {client.wait(job, timeout_s=60)["state"] for job in ids} == {"succeeded"}
    wait_until(lambda: _pid(core, reader) not in (pid, None), 60)
    wait_until(lambda: any(ring in line["message"] for line in client.items("/v1/logs", {"level": "error"})), 60)


def _pid(core, name: str) -> int | None:
    try:
        return core.pid(name)
    except LookupError:
        return None
