"""Workers on other networks: three network namespaces, TLS on both links; links are cut, both ways or one, and healed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from swarmsync.client import Client
from tests.e2e.conftest import BIN, CoreProcess, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

NAMES = ("north", "east", "south")
#: A short lease: max(lease, 2 x grace + 10 s), so 12 s for a grace of one.
SETTINGS = """
[workers]
pulse_ms = 500
suspect_ms = 2000
lost_ms = 5000
lease_ms = 4000
lease_slack_ms = 500
[worker]
enabled = false
"""


class Networks:
    """A bridge on this machine, and a namespace for each worker with one link to it."""

    def __init__(self) -> None:
        assert os.geteuid() == 0, "network namespaces need root"
        assert shutil.which("ip"), "there is no ip (apt-get install iproute2)"
        self._mark = f"ss{os.getpid() % 100_000}"
        self._net = f"10.231.{os.getpid() % 250}"
        self.address = f"{self._net}.1"
        self._bridge = f"{self._mark}b"
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        for number, name in enumerate(NAMES, 2):
            inside = self.namespace(name)
            ip("netns", "add", inside)
            ip("link", "add", self._link(name), "type", "veth", "peer", "name", "eth0", "netns", inside)
            ip("link", "set", self._link(name), "master", self._bridge, "up")
            ip("-n", inside, "addr", "add", f"{self._net}.{number}/24", "dev", "eth0")
            ip("-n", inside, "link", "set", "eth0", "up")
            ip("-n", inside, "link", "set", "lo", "up")

    def namespace(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _link(self, name: str) -> str:
        return f"{self._mark}{name[0]}"

    def cut(self, name: str) -> None:
        ip("link", "set", self._link(name), "down")

    def heal(self, name: str) -> None:
        ip("link", "set", self._link(name), "up")

    def drop(self, name: str, chain: str) -> None:
        """Lose what this worker sends (`OUTPUT`) or what is sent to it (`INPUT`); the other way stays open."""
        self._filter(name, "-A", chain)

    def let_through(self, name: str, chain: str) -> None:
        self._filter(name, "-D", chain)

    def _filter(self, name: str, how: str, chain: str) -> None:
        assert shutil.which("iptables"), "there is no iptables (apt-get install iptables)"
        link = ("-o", "eth0") if chain == "OUTPUT" else ("-i", "eth0")
        ip("netns", "exec", self.namespace(name), "iptables", "-w", how, chain, *link, "-j", "DROP")

    def remove(self) -> None:
        for name in NAMES:
            ip("netns", "del", self.namespace(name), check=False)
        ip("link", "del", self._bridge, check=False)


def ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    made = Networks()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def core(networks: Networks, make_module_core: Callable[..., CoreProcess], directory: Path) -> CoreProcess:
    command = [BIN / "swarmsyncd", "certs", "--out", directory / "certs", "--name", networks.address]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bound = told.replace("[api]\n", f'[api]\nbind = "{networks.address}"\n')
    return make_module_core(bound.replace("[nats]\n", f'[nats]\nbind = "{networks.address}"\n') + SETTINGS)


@pytest.fixture(scope="module")
def workers(core: CoreProcess, networks: Networks, directory: Path) -> Iterator[Client]:
    """Start a worker in each namespace, as a user types it on another machine; return a client of Core."""
    client, started = core.client(), []
    for name in NAMES:
        made = client.call("POST", "/v1/workers", {"name": name})
        assert made["nats_url"].startswith("tls://join:")
        assert networks.address in made["nats_url"]
        command = ["ip", "netns", "exec", networks.namespace(name), BIN / "swarmsyncd", "worker"]
        command += ["--nats", made["nats_url"], "--token", made["token"], "--ca", directory / "certs" / "ca.pem"]
        command += [
            "--runtime",
            "process",
            "--name",
            name,
            "--cpus",
            "1",
            "--memory",
            "1GiB",
            "--label",
            f"side={name}",
        ]
        with (directory / f"{name}.log").open("ab") as out:
            started.append(
                subprocess.Popen([*command, "--data-dir", directory / name], env=core.environ, stdout=out, stderr=out)
            )
    wait_until(lambda: ready(client) == set(NAMES), 60)
    yield client
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


def ready(client: Client) -> set[str]:
    return {worker["name"] for worker in client.items("/v1/workers") if worker["liveness"] == "ready"}


def test_one_of_three_networks_is_cut_off_and_comes_back(core, networks, workers, tmp_path):
    client = workers
    command = 'echo $$ > "$0/$SWARMSYNC_JOB_NAME.$SWARMSYNC_FENCE"; until [ -e "$0/end.$SWARMSYNC_JOB_NAME" ]; do sleep 0.1; done'
    jobs = [
        client.submit({
            "image": "i", "name": f"j{n}", "command": ["sh", "-c", command, str(tmp_path)],
            "resources": {"cpus": 1, "memory": "64MiB"}, "stop": {"grace": "1s"},
        })["id"]
        for n in range(3)
    ]  # fmt: skip
    wait_until(lambda: all(client.job(job)["state"] == "running" for job in jobs), 60)
    places = {client.job(job)["worker"]: number for number, job in enumerate(jobs)}
    assert set(places) == set(NAMES)
    lost, near = places["south"], places["north"]
    wait_until(lambda: all((tmp_path / f"j{n}.1").exists() for n in range(3)), 60)
    old = psutil.Process(int((tmp_path / f"j{lost}.1").read_text()))

    networks.cut("south")
    (tmp_path / f"end.j{near}").touch()  # makes room where the lost one can go
    assert client.wait(jobs[near], timeout_s=60)["state"] == "succeeded"
    wait_until((tmp_path / f"j{lost}.2").exists, 90)
    assert not old.is_running(), "two containers of one job run at a time"
    wait_until(lambda: client.job(jobs[lost])["state"] == "running", 60)
    again = client.job(jobs[lost])
    assert (again["attempt"], again["worker"]) == (2, "north")
    assert [(a["worker"], a["reason"]) for a in again["assignments"][:1]] == [("south", "WorkerLost")]
    assert ready(client) == {"north", "east"}

    networks.heal("south")
    wait_until(lambda: ready(client) == set(NAMES), 60)
    for number in range(3):
        (tmp_path / f"end.j{number}").touch()
    for job in jobs:
        assert client.wait(job, timeout_s=60)["state"] == "succeeded"
    late = client.submit({"image": "i", "command": ["true"], "constraints": ["worker.label.side == south"]})
    assert client.wait(late["id"], timeout_s=60)["worker"] == "south"
    assert client.job(jobs[lost])["attempt"] == 2


def test_links_that_carry_one_way_only_are_as_good_as_cut(core, networks, workers, tmp_path):
    """What one worker sends is lost, and what is sent to another: the third runs what they had."""
    client = workers
    command = 'exec 9>"$0/lock"; flock -n 9 || touch "$0/beside"; echo $$ > "$0/$SWARMSYNC_FENCE"; until [ -e "$0/end" ]; do sleep 0.1; done'
    places = {}
    assert core.consumer("worker", "cordon", "north").returncode == 0
    for chain in ("OUTPUT", "INPUT"):
        (tmp_path / chain).mkdir()
        job = client.submit({
            "image": "i", "command": ["sh", "-c", command, str(tmp_path / chain)], "stop": {"grace": "1s"},
            "resources": {"cpus": 0.5, "memory": "64MiB"},
        })["id"]  # fmt: skip
        wait_until((tmp_path / chain / "1").exists, 60)
        places[chain] = (job, client.job(job)["worker"])
        assert core.consumer("worker", "cordon", places[chain][1]).returncode == 0
    assert {first for _, first in places.values()} == {"east", "south"}
    for name in NAMES:
        assert core.consumer("worker", "uncordon", name).returncode == 0

    for chain, (_, first) in places.items():
        networks.drop(first, chain)
    for chain, (job, first) in places.items():
        wait_until((tmp_path / chain / "2").exists, 90)
        wait_until(lambda job=job: client.job(job)["state"] == "running", 60)
        shown = client.job(job)
        assert (shown["attempt"], shown["worker"]) == (2, "north")
        assert [(a["worker"], a["reason"]) for a in shown["assignments"][:1]] == [(first, "WorkerLost")]
    assert ready(client) == {"north"}

    for chain, (_, first) in places.items():
        networks.let_through(first, chain)
    wait_until(lambda: ready(client) == set(NAMES), 60)
    for chain, (job, first) in places.items():
        (tmp_path / chain / "end").touch()
        assert client.wait(job, timeout_s=60)["state"] == "succeeded"
        assert client.job(job)["attempt"] == 2
        assert not (tmp_path / chain / "beside").exists(), "two containers of one job ran at a time"
        late = client.submit({"image": "i", "command": ["true"], "constraints": [f"worker.label.side == {first}"]})
        assert client.wait(late["id"], timeout_s=60)["worker"] == first
