"""Containers without a network join what was kept for their user, with a real Core: nobody else's, and nothing stays."""

from collections import Counter

import docker
import pytest

from swarmsync.client import Client
from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(300)]
JOBS = 4
CONFIG = """
[worker]
runtime = "docker"
name = "keeper"
cpus = 2
"""


@pytest.fixture
def kept():
    """The ids of the sandboxes of a worker of this test's own data directory."""
    engine = docker.from_env()

    def listed(owner: str) -> set[str]:
        filters = {"label": f"swarmsync.sandbox={owner}"}
        return {each.id for each in engine.containers.list(all=True, filters=filters, ignore_removed=True)}

    yield listed
    engine.close()


def test_each_user_has_namespaces_of_their_own_and_a_killed_agent_leaves_none(make_core, image, kept):
    core = make_core(CONFIG)
    admin = core.ready()
    (watched,) = (core.data_dir / "worker").glob("keeper-*.watch")
    owner = watched.name.removesuffix(".watch")
    admin.call("POST", "/v1/users", {"username": "bob"})
    token = admin.call("POST", "/v1/tokens", {"name": "t", "user": "bob", "scopes": ["*"], "days": 1})["token"]
    bob = Client(f"http://127.0.0.1:{core.port}", token, patience_s=30)
    spec = {"image": image, "command": ["hostname"], "network": "none", "resources": {"cpus": 1, "memory": "32MiB"}}
    names = {admin: Counter(), bob: Counter()}

    def all_have_joined_one() -> bool:
        """Run some more, and see whether each user's containers have met in a namespace."""
        for client, job in [(client, client.submit(spec)["id"]) for _ in range(JOBS) for client in names]:
            assert client.wait(job, timeout_s=120)["state"] == "succeeded"
            names[client][b"".join(chunk.data for chunk in client.logs(job)).strip()] += 1
        return all(max(told.values()) > 1 for told in names.values())

    try:
        wait_until(all_have_joined_one, 120)
    finally:
        bob.close()
    assert not set(names[admin]) & set(names[bob])

    left = kept(owner)
    assert left
    core.kill("worker")
    wait_until(lambda: not left & kept(owner), 90)
    core.stop()
    assert kept(owner) == set()
