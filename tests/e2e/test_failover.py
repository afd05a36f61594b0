"""Three Cores: one leads, and whatever happens to it, another goes on; an old leader that wakes up changes nothing."""

import contextlib
import os
import signal

import asyncpg
import psutil
import pytest

from tests.e2e.clusters import cluster
from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_800 if os.environ.get("SWARMSYNC_TEST_FAILOVERS") else 150)]

FAILOVERS = int(os.environ.get("SWARMSYNC_TEST_FAILOVERS", "2"))
JOBS = 60


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), cores=3, workers=4) as made:
        yield made


def _leader(three):
    wait_until(lambda: three.leader() is not None, 60)
    return three.leader()


def _all_end_once(client, ids):
    for job_id in ids:
        job = client.wait(job_id, timeout_s=90)
        assert (job["state"], job["exit_code"]) == ("succeeded", 0), job
        ends = [entry for entry in job["assignments"] if entry["outcome"] == "succeeded"]
        assert len(ends) == 1, job


def test_killed_leaders_lose_no_job_and_double_none(three):
    for _ in range(FAILOVERS):
        old = _leader(three)
        standby = next(core for core in three.cores if core is not old)
        client = standby.client()
        ids = client.submit_many([{"image": "simulated", "environment": {"SIM_RUN_MS": "300"}}] * JOBS)
        wait_until(lambda ids=ids, client=client: client.get(f"/v1/jobs/{ids[0]}")["state"] != "queued", 60)
        three.kill(old)
        ids += client.submit_many([{"image": "simulated"}] * JOBS)
        _all_end_once(client, ids)
        assert _leader(three) is not old
        old.start()
    terms = [core["term"] for core in client.get("/v1/cores")["items"] if core["leads"]]
    assert len(terms) == 1
    assert terms[0] > FAILOVERS


def _processes(core):
    return [psutil.Process(core.process.pid), *core.children()]


def test_a_leader_that_stood_still_changes_nothing_and_stands_by(three):
    old = _leader(three)
    client = next(core for core in three.cores if core is not old).client()
    ids = client.submit_many([{"image": "simulated", "environment": {"SIM_RUN_MS": "200"}}] * JOBS)
    frozen = _processes(old)
    modules = {old.pid(name) for name in ("scheduler", "dispatcher", "harvester")}
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: three.leader() not in (None, old), 60)
        new = three.leader()
        _all_end_once(client, ids)
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):  # the supervisor, awake again, has ended it already
                process.send_signal(signal.SIGCONT)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in modules), 60)
    wait_until(lambda: "the lead is lost; standing by" in old.said(), 60)
    assert three.leader() is new
    _all_end_once(client, client.submit_many([{"image": "simulated"}] * JOBS))
    assert client.wait(old.client().submit({"image": "simulated"})["id"], timeout_s=60)["state"] == "succeeded"


async def test_postgresql_refuses_what_an_earlier_term_writes(three):
    _leader(three)
    url = next(line for line in (three.cores[0].directory / "core.toml").read_text().splitlines() if "postgres" in line)
    connection = await asyncpg.connect(
        url.partition('"')[2].rpartition('"')[0], server_settings={"search_path": "swarmsync", "swarmsync.term": "1"}
    )
    try:
        for change in ("UPDATE jobs SET priority = 1", "UPDATE engine_epoch SET epoch = epoch + 1"):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(change)
            assert refused.value.sqlstate == "SS001"
    finally:
        await connection.close()


def test_a_leader_that_is_stopped_hands_over_and_leaves_the_list(three):
    old = _leader(three)
    other = next(core for core in three.cores if core is not old)
    client = other.client()
    since = [core["led_since"] for core in client.get("/v1/cores")["items"] if core["leads"]]
    assert old.stop() == 0
    job = client.submit({"image": "simulated"})
    assert client.wait(job["id"], timeout_s=60)["state"] == "succeeded"
    listed = client.get("/v1/cores")["items"]
    assert len(listed) == 2
    assert [core["leads"] for core in listed] == [True, False]
    assert [core["led_since"] for core in listed if core["leads"]] > since
    shown = other.consumer("core", "list", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    old.start()
