"""The management commands as a user types them, against a real Core."""

import json

import pytest

from tests.e2e.conftest import CoreProcess

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]


def data(core: CoreProcess, *words: str):
    done = core.consumer(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_create_wait_logs_of_an_array(docker_core, image):
    script = "echo member $SWARMSYNC_ARRAY_INDEX of $SWARMSYNC_ARRAY_SIZE; exit $SWARMSYNC_ARRAY_INDEX"
    created = docker_core.consumer("submit", "--array", "0-3", "--cpus", "0.25", image, "sh", "-c", script)
    array = created.stdout.strip()
    assert docker_core.consumer("job", "wait", array, "--timeout", "2m").returncode == 1
    assert docker_core.consumer("job", "wait", array, "--exit-code").returncode == 3
    assert docker_core.consumer("job", "logs", f"{array}[2]").stdout == "member 2 of 4\n"
    members = data(docker_core, "job", "list", "--array", array)["items"]
    assert sorted(member["exit_code"] for member in members) == [0, 1, 2, 3]
    assert docker_core.consumer("job", "show", f"{array}[9]").returncode == 3


def test_files_validate_and_update(docker_core, image, tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text(f"image: {image}\nname: one\ndelay: 1h\n---\nimage: {image}\nname: two\ndelay: 1h\n")
    ids = docker_core.consumer("job", "create", "-f", str(file)).stdout.split()
    assert [data(docker_core, "job", "show", job_id)["name"] for job_id in ids] == ["one", "two"]
    assert data(docker_core, "job", "show", ids[0][:13])["state"] == "scheduled"
    assert docker_core.consumer("job", "update", ids[0], "--priority", "90", "-l", "team=ml").returncode == 0
    changed = data(docker_core, "job", "show", "@one")
    assert (changed["priority"], changed["labels"]) == (90, {"team": "ml"})
    assert data(docker_core, "job", "list", "-l", "team=ml", "--all")["items"][0]["id"] == ids[0]
    assert docker_core.consumer("job", "wait", "--timeout", "0s", ids[0]).returncode == 7
    assert docker_core.consumer("job", "hold", ids[0]).returncode == 0
    assert data(docker_core, "job", "show", ids[0])["state"] == "held"
    assert docker_core.consumer("job", "release", ids[0]).returncode == 0
    cancelled = docker_core.consumer("job", "cancel", "--wait", "--reason", "not wanted", *ids)
    assert (cancelled.returncode, cancelled.stdout.split()) == (0, ids)
    assert docker_core.consumer("job", "cancel", ids[0]).returncode == 5
    assert docker_core.consumer("job", "delete", ids[0]).returncode == 0
    assert docker_core.consumer("job", "show", ids[0]).returncode == 3
    file.write_text("imge: x\n")
    wrong = docker_core.consumer("job", "validate", "-f", str(file))
    assert (wrong.returncode, "did you mean image?" in wrong.stderr) == (2, True)
    full = data(docker_core, "job", "validate", "-m", "1g", image)
    assert (full["resources"]["memory"], full["queue"]) == ("1GiB", "default")


def test_rerun_and_kill(docker_core, image):
    docker_core.consumer("run", image, "true")
    first = data(docker_core, "job", "show", "last")["id"]
    again = docker_core.consumer("job", "rerun", "last").stdout.strip()
    assert data(docker_core, "job", "show", again)["rerun_of"] == first
    assert docker_core.consumer("job", "wait", again).returncode == 0
    sleeper = docker_core.consumer("run", "-d", image, "sleep", "600").stdout.strip()
    assert docker_core.consumer("job", "kill", sleeper).returncode == 0
    assert docker_core.consumer("job", "wait", sleeper).returncode == 1
    assert data(docker_core, "job", "why", sleeper)["state"] == "cancelled"


def test_lists_in_every_form(docker_core, image):
    docker_core.consumer("run", "--name", "forms", image, "true")
    lists = [["job", "list"], ["ps"], ["worker", "list"], ["log", "list"], ["queue", "list"]]
    for words in lists:
        page = data(docker_core, *words)
        lines = docker_core.consumer(*words, "-o", "jsonl").stdout.splitlines()
        assert len(lines) == len(page["items"]), words
        for form in (["-o", "wide"], ["-o", "yaml"], ["-o", "name"], ["-q"], ["--no-headers"], ["--limit", "1"]):
            done = docker_core.consumer(*words, *form)
            assert done.returncode == 0, done.stderr
            assert done.stdout, (words, form)
            assert "\x1b" not in done.stdout
    table = docker_core.consumer("ps", "--name", "forms", "--columns", "name,state,spec.image", "--no-headers").stdout
    assert table.split() == ["forms", "succeeded", image]
    wrong = docker_core.consumer("ps", "--state", "nonsense")
    assert (wrong.returncode, "known are" in wrong.stderr) == (2, True)


def test_workers_stats_and_events(docker_core, image):
    assert data(docker_core, "worker", "show", "e2e")["runtime"] == "docker"
    assert docker_core.consumer("worker", "cordon", "e2e").stdout == "e2e  cordoned\n"
    assert docker_core.consumer("worker", "uncordon", "e2e").stdout == "e2e  open\n"
    assert docker_core.consumer("worker", "show", "none").returncode == 3
    assert data(docker_core, "stats")["workers"] == {"ready": 1}
    job = docker_core.consumer("run", "-d", image, "true").stdout.strip()
    docker_core.consumer("job", "wait", job)
    lines = docker_core.consumer("events", "--job", job, "-o", "jsonl").stdout.splitlines()
    states = [json.loads(line)["state"] for line in lines]
    assert (states[0], states[-1]) == ("queued", "succeeded")


def test_log_records(docker_core):
    record = docker_core.consumer("log", "record", "replaced a disk", "--level", "warning").stdout.strip()
    assert data(docker_core, "log", "show", record)["message"] == "replaced a disk"
    assert docker_core.consumer("log", "search", "REPLACED", "-q").stdout.split() == [record]
    assert docker_core.consumer("log", "update", record, "--message", "replaced both").returncode == 0
    assert data(docker_core, "log", "show", record)["message"] == "replaced both"
    assert docker_core.consumer("log", "delete", record).returncode == 0
    assert docker_core.consumer("log", "show", record).returncode == 3


def test_login_and_logout(docker_core):
    password = (docker_core.data_dir / "admin-password").read_text()
    docker_core.environ["SWARMSYNC_PROFILE"] = "mine"
    try:
        address = f"http://127.0.0.1:{docker_core.port}"
        words = ["login", "--username", "admin", "--password-stdin", "--url", address]
        assert docker_core.consumer(*words, input="wrong\n").returncode == 4
        assert docker_core.consumer(*words, input=password).returncode == 0
        assert data(docker_core, "whoami")["username"] == "admin"
        assert docker_core.consumer("logout").returncode == 0
        assert docker_core.consumer("whoami").returncode == 4
    finally:
        del docker_core.environ["SWARMSYNC_PROFILE"]
