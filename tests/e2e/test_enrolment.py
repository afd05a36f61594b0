"""Machines become workers: tokens that hold once, keys that open one worker's subjects, and keys that are taken back."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import nats
import nkeys
import pytest

from swarmsync.errors import Conflict
from swarmsync.protocol import codec
from swarmsync.protocol.enrolment import statement
from swarmsync.protocol.messages import Enroll, Enrolled, Refusal
from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]
CONFIG = '[worker]\nruntime = "process"\nname = "home"\n'


@pytest.fixture(scope="module")
def core(make_module_core):
    core = make_module_core(CONFIG)
    core.ready()
    return core


@pytest.fixture
def client(core):
    client = core.client()
    yield client
    client.close()


@pytest.fixture
def machine(core, tmp_path):
    """Start `swarmsyncd worker` as on another machine; all are stopped at the end."""
    running = []

    def start(made, *words, data=None):
        command = ["worker", "--nats", made["nats_url"], "--runtime", "process", "--cpus", "2", *words]
        environ = {**core.environ, "SWARMSYNC_JOIN_TOKEN": made["token"], "SWARMSYNC_DATA_DIR": str(data or tmp_path)}
        out = (tmp_path / "out").open("ab")
        running.append(subprocess.Popen([core_bin("swarmsyncd"), *command], env=environ, stdout=out, stderr=out))
        out.close()
        return running[-1]

    yield start
    for process in running:
        process.terminate()
        process.wait(60)


def core_bin(name):
    return Path(sys.executable).parent / name


def liveness(client, name):
    return {worker["name"]: worker["liveness"] for worker in client.items("/v1/workers")}.get(name)


def make_key():
    seed = bytes(nkeys.encode_seed(b"%032d" % time.monotonic_ns(), nkeys.PREFIX_BYTE_USER))
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def enroll_word(token, name, seed, public):
    signature = bytes(nkeys.from_seed(bytearray(seed, "ascii")).sign(statement(token, name, public)))
    return Enroll(token, name, public, signature)


async def ask(url, *words):
    """Ask to be enrolled, all at once; return the answers."""
    link = await nats.connect(url, inbox_prefix="_INBOX_join")
    try:
        replies = await asyncio.gather(*(link.request("enroll", codec.encode(word), timeout=10) for word in words))
        return [codec.decode_to_worker(reply.data) for reply in replies]
    finally:
        await link.close()


def test_a_second_machine_joins_and_runs_jobs_until_its_key_is_taken_back(core, client, machine, tmp_path):
    made = client.call("POST", "/v1/workers", {"name": "second"})
    worker = machine(made, "--name", "second", "--label", "zone=eu")
    wait_until(lambda: liveness(client, "second") == "ready", 60)
    identity = tmp_path / "worker" / "identity-second.json"
    assert identity.stat().st_mode & 0o777 == 0o600
    assert made["token"] not in identity.read_text()
    job = client.submit({"image": "x", "command": ["true"], "constraints": ["worker.label.zone == eu"]})
    assert client.wait(job["id"], timeout_s=60)["worker"] == "second"

    worker.terminate()
    worker.wait(60)
    machine({**made, "token": ""}, "--name", "second")  # from now on the key is enough
    wait_until(lambda: liveness(client, "second") == "ready", 60)

    client.call("POST", "/v1/workers/second/revoke")
    log = core.data_dir / "logs" / "nats.log"
    wait_until(lambda: "Authorization Violation" in log.read_text() or "authentication error" in log.read_text(), 60)
    with pytest.raises(Conflict):
        client.call("POST", "/v1/workers/second/revoke")
    gone = client.get("/v1/workers/second")
    assert (gone["eligibility"], "key was taken back" in gone["note"]) == ("cordoned", True)
    job = client.submit({"image": "x", "command": ["true"]})["id"]
    assert client.wait(job, timeout_s=60)["worker"] == "home", "nothing goes to a worker that hears nothing"


def test_a_token_makes_one_worker_however_many_ask(client):
    made = client.call("POST", "/v1/workers", {})
    keys = [make_key() for _ in range(100)]
    words = [enroll_word(made["token"], f"rival-{n}", *key) for n, key in enumerate(keys)]
    answers = asyncio.run(ask(made["nats_url"], *words))
    assert [type(answer) for answer in answers].count(Enrolled) == 1
    assert sum(isinstance(answer, Refusal) for answer in answers) == 99


def test_what_does_not_prove_itself_is_refused(client):
    made = client.call("POST", "/v1/workers", {"name": "one"})
    seed, public = make_key()
    other_seed, _ = make_key()
    wrong = [
        enroll_word("ss_join_nonsense", "one", seed, public),
        enroll_word(made["token"], "another", seed, public),  # a token for another name
        enroll_word(made["token"], "one", other_seed, public),  # somebody else's key
        enroll_word(made["token"], "bad name", seed, public),
        Enroll(made["token"], "one", "U" + "A" * 55, b""),
        Enroll(made["token"], "one", "no key", b"x" * 64),
    ]
    answers = asyncio.run(ask(made["nats_url"], *wrong))
    assert all(isinstance(answer, Refusal) for answer in answers), answers
    assert asyncio.run(ask(made["nats_url"], enroll_word(made["token"], "one", seed, public))) == [Enrolled("one")]
    again = enroll_word(made["token"], "one", seed, public)  # the answer was lost: the same question again is fine
    assert asyncio.run(ask(made["nats_url"], again)) == [Enrolled("one")]


def test_a_name_is_taken_over_only_with_a_token_for_it(client):
    first, second = (client.call("POST", "/v1/workers", {}) for _ in range(2))
    url = first["nats_url"]
    assert asyncio.run(ask(url, enroll_word(first["token"], "taken", *make_key()))) == [Enrolled("taken")]
    (answer,) = asyncio.run(ask(url, enroll_word(second["token"], "taken", *make_key())))
    assert "another worker is named taken" in answer.message
    bound = client.call("POST", "/v1/workers", {"name": "taken"})
    assert asyncio.run(ask(url, enroll_word(bound["token"], "taken", *make_key()))) == [Enrolled("taken")]


def test_a_key_opens_none_of_the_others_subjects(client):
    made = client.call("POST", "/v1/workers", {"name": "spy"})
    seed, public = make_key()
    assert asyncio.run(ask(made["nats_url"], enroll_word(made["token"], "spy", seed, public))) == [Enrolled("spy")]
    address = "nats://" + made["nats_url"].rpartition("@")[2]
    subscriptions = [
        ">",
        "w.>",
        "w.home.down.orders",
        "w.home.up.*",
        "_INBOX.>",
        "_INBOX_home.>",
        "core.>",
        "$SYS.>",
        "enroll",
    ]
    publications = [
        "w.home.up.pulse",
        "w.home.down.orders",
        "core.changed",
        "enroll",
        "$SYS.REQ.SERVER.PING",
        "_INBOX_home.x",
    ]

    async def story():
        refused = []
        link = await nats.connect(address, nkeys_seed_str=seed, inbox_prefix="_INBOX_spy", error_cb=note(refused))
        heard = []
        for subject in subscriptions:
            await link.subscribe(subject, cb=note(heard))
        for subject in publications:
            await link.publish(subject, b"forged")
        await link.flush()
        deadline = time.monotonic() + 60
        while len(refused) < len(subscriptions) + len(publications) and time.monotonic() < deadline:
            await asyncio.wait_for(link.flush(), 5)
        await link.close()
        return refused, heard

    refused, heard = asyncio.run(story())
    text = json.dumps([str(problem).lower() for problem in refused])
    for subject in subscriptions:
        assert f'subscription to \\"{subject.lower()}\\"' in text, (subject, text)
    for subject in publications:
        assert f'publish to \\"{subject.lower()}\\"' in text, (subject, text)
    assert heard == []


def test_a_core_goes_on_without_its_own_worker(make_core):
    core = make_core(CONFIG)
    client = core.ready()
    client.call("POST", "/v1/workers/home/revoke")
    core.kill("worker")
    wait_until(lambda: "Core does not take this machine" in (core.data_dir / "logs" / "worker.log").read_text(), 60)
    assert core.process.poll() is None
    assert client.submit({"image": "x", "command": ["true"]})["state"] == "queued"


def note(into):
    async def keep(what):
        into.append(what)

    return keep


def test_labels_are_set_and_taken_back_and_a_worker_is_deleted(client):
    assert (
        client.call("PATCH", "/v1/workers/home", {"labels": {"rack": "7", "runtime": "mine"}})["labels"]["rack"] == "7"
    )
    job = client.submit({"image": "x", "command": ["true"], "constraints": ["worker.label.rack == 7"]})
    assert client.wait(job["id"], timeout_s=60)["state"] == "succeeded"
    labels = client.call("PATCH", "/v1/workers/home", {"labels": {"rack": None, "runtime": None}})["labels"]
    assert (labels.get("rack"), labels["runtime"]) == (None, "process")
    busy = client.submit({"image": "x", "command": ["sleep", "30"]})["id"]
    wait_running(client, busy)
    with pytest.raises(Conflict, match="has 1 jobs"):
        client.call("DELETE", "/v1/workers/home")
    client.cancel(busy)
    client.wait(busy, timeout_s=60)


def wait_running(client, job_id):
    deadline = time.monotonic() + 60
    while client.job(job_id)["state"] != "running":
        assert time.monotonic() < deadline


def test_a_worker_that_is_enrolled_anew_is_open_again(client):
    assert client.get("/v1/workers/second")["eligibility"] == "cordoned"
    made = client.call("POST", "/v1/workers", {"name": "second"})
    word = enroll_word(made["token"], "second", *make_key())
    assert asyncio.run(ask(made["nats_url"], word)) == [Enrolled("second")]
    shown = client.get("/v1/workers/second")
    assert (shown["eligibility"], shown["note"]) == ("open", "")
