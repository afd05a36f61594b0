"""A job that means harm, in a container of the default profile and of the strict one; and what a policy opens."""

import json
import uuid

import pytest

from swarmsync.errors import SpecError
from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module")
def core(make_module_core, image, tmp_path_factory):
    opened = tmp_path_factory.mktemp("opened")
    opened.chmod(0o755)
    core = make_module_core(
        f'[worker]\nruntime = "docker"\nname = "hostile-{uuid.uuid4().hex[:6]}"\nallow_paths = ["{opened}"]\n'
    )
    core.opened = opened
    core.ready()
    return core


@pytest.fixture
def client(core):
    client = core.client()
    yield client
    client.close()


def ran(core, client, line, **fields):
    job = client.submit({"image": "swarmsync-demo:latest", "command": ["sh", "-c", line], **fields})
    ended = client.wait(job["id"], timeout_s=60)
    logs = core.consumer("job", "logs", job["id"])
    return ended, logs.stdout + logs.stderr


def accepted(client, **fields):
    """Whether both processes of the API take such a spec: they hear of a policy one after the other."""
    try:
        for _ in range(6):
            client.validate({"image": "swarmsync-demo:latest", **fields})
    except SpecError:
        return False
    return True


ATTEMPTS = {
    "mount": "mount -t tmpfs none /mnt",
    "unshare": "unshare -r true",
    "a device": "mknod /tmp/sda b 8 0",
    "the kernel's settings": "echo 1 > /proc/sys/kernel/panic",
    "the machine's name": "hostname owned",
    "another root": "mkdir -p /tmp/r && mount --bind / /tmp/r",
    "the kernel log": "dmesg",
    "the Docker socket": "ls /var/run/docker.sock",
    "loading modules": "insmod /tmp/x.ko",
    "the clock": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
}


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_nothing_of_the_machine_can_be_taken(core, client, profile):
    line = "; ".join(f"({attempt}) >/dev/null 2>&1 && echo 'got {name}'" for name, attempt in ATTEMPTS.items())
    ended, said = ran(
        core,
        client,
        f"{line}; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status",
        security={"profile": profile},
    )
    assert ended["state"] == "succeeded", ended
    assert "got" not in said, said
    status = dict(row.split(":\t") for row in said.splitlines() if ":\t" in row)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    if profile == "strict":
        assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (0, 0)
    else:
        net_raw, sys_admin = 13, 21  # linux/capability.h
        assert not int(status["CapBnd"], 16) & (1 << net_raw | 1 << sys_admin)


def test_the_strict_profile_writes_nowhere_but_tmp_and_is_nobody(core, client):
    line = "id -u; (echo x > /x) 2>/dev/null && echo wrote; echo y > /tmp/y && cat /tmp/y"
    ended, said = ran(core, client, line, security={"profile": "strict"})
    assert (ended["state"], said.split()) == ("succeeded", ["65534", "y"])


def test_a_fork_bomb_and_a_memory_bomb_hurt_nobody_else(core, client):
    bomb = client.submit(
        {
            "image": "swarmsync-demo:latest",
            "command": ["sh", "-c", "b() { b | b & }; b; sleep 3"],
            "resources": {"cpus": 0.3, "pids": 40},
            "timeout": "20s",
        }
    )
    hog = client.submit(
        {
            "image": "swarmsync-demo:latest",
            "command": ["sh", "-c", "x=aaaaaaaa; while true; do x=$x$x; done"],
            "resources": {"cpus": 0.3, "memory": "16MiB"},
        }
    )
    good = client.submit({"image": "swarmsync-demo:latest", "command": ["true"], "resources": {"cpus": 0.3}})
    assert client.wait(good["id"], timeout_s=60)["state"] == "succeeded"
    ended = client.wait(hog["id"], timeout_s=60)
    assert (ended["state"], ended["reason"]) == ("failed", "OOMKilled")
    assert client.wait(bomb["id"], timeout_s=60)["state"] in ("failed", "succeeded", "timed_out")


def test_our_servers_and_the_metadata_address_cannot_be_reached(core, client):
    port = (core.data_dir / "nats" / "port").read_text().strip()
    gateway = "$(ip route 2>/dev/null | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')"
    targets = [f"127.0.0.1 {port}", f"{gateway} {port}", f"{gateway} {core.port}", "169.254.169.254 80"]
    line = "; ".join(
        f"nc -w 1 {target} </dev/null >/dev/null 2>&1 && echo reached {index}" for index, target in enumerate(targets)
    )
    ended, said = ran(core, client, f"{line}; true")
    assert (ended["state"], said) == ("succeeded", "")


def test_a_path_of_the_machine_needs_a_policy_and_the_workers_word(core, client):
    (core.opened / "data").write_text("from the machine\n")
    me = client.session()["username"]
    bind = [f"{core.opened}:/in:ro"]
    with pytest.raises(SpecError, match="is not allowed"):
        ran(core, client, "cat /in/data", volumes=bind)
    assert core.consumer("policy", "set", "user", me, "--path", str(core.opened), "--path", "/etc").returncode == 0
    wait_until(lambda: accepted(client, volumes=bind), 60)
    ended, said = ran(core, client, "cat /in/data", volumes=bind)
    assert (ended["state"], said) == ("succeeded", "from the machine\n")
    ended, _ = ran(core, client, "cat /in/passwd", volumes=["/etc:/in:ro"])
    assert (ended["state"], ended["reason"]) == ("failed", "CreateFailed")  # the worker says no whatever Core allows
    listed = json.loads(core.consumer("policy", "list", "-o", "json").stdout)["items"]
    assert [(row["scope"], row["name"]) for row in listed] == [("user", me)]
    assert core.consumer("policy", "delete", "user", me).returncode == 0
    wait_until(lambda: not accepted(client, volumes=bind), 60)


def test_a_queue_may_demand_the_strict_profile(core, client):
    assert core.consumer("queue", "create", "public").returncode == 0
    assert core.consumer("policy", "set", "queue", "public", "--strict").returncode == 0
    wait_until(lambda: not accepted(client, queue="public"), 60)
    ended, _ = ran(core, client, "true", queue="public", security={"profile": "strict"})
    assert ended["state"] == "succeeded"


def test_a_disk_limit_holds_also_where_the_storage_knows_none(core, client):
    """As long as it is small enough nothing happens; more ends the job, whoever counts."""
    small = {"cpus": 0.5, "disk": "8MiB"}
    ended, _ = ran(core, client, "head -c 1000000 /dev/zero > /x; sleep 3", resources=small)
    assert ended["state"] == "succeeded", ended["message"]
    ended, _ = ran(core, client, "head -c 30000000 /dev/zero > /x || exit 9; sleep 30", resources=small)
    assert (ended["state"], ended["reason"] in ("OutputTooLarge", "ExitCode")) == ("failed", True), ended["message"]
