"""The commands about schedules as a user types them, against a real Core."""

import json

import pytest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]


def data(core: CoreProcess, *words: str):
    done = core.consumer(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def outcomes(core: CoreProcess, name: str) -> list[str]:
    return [entry["outcome"] for entry in data(core, "schedule", "history", name)["items"]]


def test_the_life_of_a_schedule(docker_core, image):
    words = ["--cron", "H 2 * * *", "--tz", "Europe/Berlin", "--name", "nightly", "--cpus", "0.25"]
    made = docker_core.consumer("schedule", "create", *words, image, "echo", "hello")
    assert made.returncode == 0, made.stderr
    schedule = made.stdout.strip()
    shown = data(docker_core, "schedule", "show", "nightly")
    assert (shown["id"], shown["timezone"], shown["paused"]) == (schedule, "Europe/Berlin", False)
    assert data(docker_core, "cron", "show", "last")["id"] == schedule
    row = docker_core.consumer("schedule", "list", "--no-headers", "--columns", "name,state,next").stdout
    assert row.startswith("nightly  active  in ")
    assert docker_core.consumer("schedule", "pause", "nightly").stdout.strip() == schedule
    assert [item["id"] for item in data(docker_core, "schedule", "list", "--paused")["items"]] == [schedule]
    job = docker_core.consumer("schedule", "trigger", "nightly").stdout.strip()
    assert docker_core.consumer("job", "wait", job).returncode == 0
    assert docker_core.consumer("job", "logs", job).stdout == "hello\n"
    assert data(docker_core, "job", "list", "--all", "--schedule", schedule)["items"][0]["id"] == job
    line = docker_core.consumer("schedule", "history", "nightly", "--no-headers").stdout
    assert line.split()[1] == "triggered"
    assert job in line
    assert docker_core.consumer("schedule", "update", "nightly", "--cron", "@hourly").returncode == 0
    assert docker_core.consumer("schedule", "resume", "nightly").returncode == 0
    assert data(docker_core, "schedule", "show", schedule[:12])["cron"] == "@hourly"
    assert docker_core.consumer("schedule", "delete", "nightly").returncode == 0
    assert docker_core.consumer("schedule", "show", "nightly").returncode == 3


def test_a_delay_fires_once(docker_core, image):
    docker_core.consumer("schedule", "create", "--delay", "1s", "--name", "soon", image, "true")
    wait_until(lambda: outcomes(docker_core, "soon") == ["fired"], 60)
    (entry,) = data(docker_core, "schedule", "history", "soon")["items"]
    assert docker_core.consumer("job", "wait", entry["job_id"]).returncode == 0
    assert data(docker_core, "schedule", "show", "soon")["next_fire_at"] is None


def test_every_second_fires_until_deleted(docker_core, image, tmp_path):
    file = tmp_path / "schedule.yaml"
    file.write_text(f'name: ticks\ncron: "* * * * * *"\noverlap: allow\njob:\n  image: {image}\n  command: "true"\n')
    assert docker_core.consumer("schedule", "create", "-f", str(file)).returncode == 0
    wait_until(lambda: outcomes(docker_core, "ticks").count("fired") >= 2, 60)
    assert docker_core.consumer("schedule", "delete", "ticks").returncode == 0
    jobs = data(docker_core, "job", "list", "--all", "--name", "ticks*")["items"]
    assert all(job["schedule_id"] for job in jobs)


def test_preview_and_refusals(docker_core, image):
    words = ["--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "2027-03-27T00:00:00Z", "--count", "2"]
    lines = docker_core.consumer("schedule", "preview", *words).stdout.splitlines()
    assert lines[2].startswith("2027-03-28T03:00:00+02:00  2027-03-28T01:00:00.000000Z")
    assert "moved to 03:00" in lines[2]
    wrong = docker_core.consumer("schedule", "create", "--cron", "99 * * * *", image)
    assert (wrong.returncode, "$.cron" in wrong.stderr) == (2, True)
    assert docker_core.consumer("schedule", "create", "--cron", "@daily", "--name", "twice", image).returncode == 0
    assert docker_core.consumer("schedule", "create", "--cron", "@daily", "--name", "twice", image).returncode == 5
