"""What may join a sandbox, whether one is as new, and the program inside."""

import subprocess
import time

import pytest

from worker.container_runtime import ContainerPlan, Mount
from worker.docker_sandboxes import may_join, pause_program, sandbox_body, sockets_of

PLAN = ContainerPlan(
    "j", 1, 1, "s", "app", None, None, {}, None, None, True, (), "none", 1_000, 1 << 20, 10, 0, None, "SIGTERM", 10.0,
    user_id=7,
)  # fmt: skip
SOCKSTAT = b"sockets: used %d\nTCP: inuse %d orphan 3 tw %d alloc 9 mem 4\nUDP: inuse 0 mem 2\nRAW: inuse 0\n"
SOCKSTAT6 = b"TCP6: inuse 0\nUDP6: inuse 0\nFRAG6: inuse 0 memory 0\n"


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"network": "bridge"}, False),
        ({"user_id": 0}, False),
        ({"privileged": True}, False),
        ({"capabilities": ("NET_ADMIN",)}, False),
        ({"devices": ("/dev/net/tun",)}, False),
        ({"mounts": (Mount("tmpfs", "", "/etc/hosts"),)}, False),
        ({"mounts": (Mount("tmpfs", "", "/tmp"),)}, True),
    ],
)
def test_only_what_cannot_change_its_network_joins(changes, may):
    values = {name: getattr(PLAN, name) for name in PLAN.__struct_fields__} | changes
    assert may_join(ContainerPlan(**values)) is may


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "42" / "net").mkdir(parents=True)
    (tmp_path / "42" / "cgroup").write_text("0::/system.slice/docker-abc.scope\n")
    (tmp_path / "42" / "net" / "sockstat6").write_bytes(SOCKSTAT6)
    return tmp_path


@pytest.mark.parametrize(
    ("counts", "same"), [((1, 0, 0), True), ((2, 0, 0), False), ((1, 1, 0), False), ((1, 0, 1), False)]
)
def test_a_socket_of_any_kind_is_seen(proc, counts, same):
    (proc / "42" / "net" / "sockstat").write_bytes(SOCKSTAT % counts)
    assert (sockets_of("abc", 42, str(proc)) == (1, 0, 0, 0, 0, 0, 0, 0)) is same


def test_another_process_of_that_number_or_none_is_not_looked_into(proc):
    assert sockets_of("abc", 42, str(proc)) is None, "no table"
    (proc / "42" / "net" / "sockstat").write_bytes(SOCKSTAT % (1, 0, 0))
    assert sockets_of("abd", 42, str(proc)) is None
    assert sockets_of("abc", 43, str(proc)) is None


def test_the_program_sleeps_and_ends(tmp_path):
    path = tmp_path / "pause"
    path.write_bytes(pause_program(1))
    path.chmod(0o755)
    began = time.monotonic()
    assert subprocess.run([path], check=False, timeout=60).returncode == 0
    assert time.monotonic() - began >= 1


def test_a_sandbox_has_no_rights_and_goes_with_its_end():
    body = sandbox_body("sha256:1", "w1")
    settings = body["HostConfig"]
    assert (settings["NetworkMode"], settings["AutoRemove"], settings["CapDrop"]) == ("none", True, ["ALL"])
    assert (settings["ReadonlyRootfs"], body["Labels"]) == (True, {"swarmsync.sandbox": "w1"})
