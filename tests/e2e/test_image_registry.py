"""Images from a registry: a tag means one image for all attempts of a job, and each failure is told apart."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import CoreProcess
from tests.e2e.local_registry import PASSWORD, USER, LocalRegistry, docker

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[LocalRegistry]:
    made = LocalRegistry(tmp_path_factory.mktemp("registry"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def logged_in(docker_core, registry) -> Iterator[None]:
    words = ["registry", "add", registry.address, "-u", USER, "--password-stdin"]
    done = docker_core.consumer(*words, input=PASSWORD + "\n")
    assert (done.returncode, done.stdout) == (0, f"{registry.address}\n"), done.stderr
    yield
    docker_core.consumer("registry", "remove", registry.address)


def job_of(core: CoreProcess, image: str, *flags: str) -> dict:
    job = core.consumer("run", "-d", *flags, image, "cat", "/version").stdout.strip()
    core.consumer("job", "wait", job)
    return json.loads(core.consumer("job", "show", job, "-o", "json").stdout)


def build(image: str, version: str, directory: Path) -> str:
    """An image whose file /version says which one it is."""
    name = f"swarmsync-test-{version}:latest"
    (directory / "Dockerfile").write_text(f"FROM {image}\nRUN echo {version} > /version\n")
    made = subprocess.run(["docker", "build", "-q", "-t", name, directory], check=False, capture_output=True, text=True)
    if made.returncode:  # an engine without a builder
        container = docker("create", image, "sh", "-c", f"echo {version} > /version").strip()
        docker("start", "-a", container)
        docker("commit", container, name)
        docker("rm", container)
    return name


def test_a_tag_is_pinned_at_the_first_attempt_and_kept_for_retries(docker_core, image, registry, logged_in, tmp_path):
    one, two = (build(image, version, tmp_path) for version in ("one", "two"))
    tag = f"{registry.address}/app:1"
    first = registry.push(one, "app:1")
    script = "cat /version; test $SWARMSYNC_ATTEMPT = 2 || sleep 4; exit 3"
    retry = {"attempts": 2, "delay": "1s"}
    job = docker_core.client().submit({"image": tag, "command": ["sh", "-c", script], "retry": retry})["id"]
    assert b"one" in next(docker_core.client().lines(f"/v1/jobs/{job}/logs", {"stream": "stdout", "follow": "1"}))
    moved = registry.push(two, "app:1")  # while the first attempt runs the tag gets another meaning
    assert moved != first
    docker_core.consumer("job", "wait", job)
    shown = json.loads(docker_core.consumer("job", "show", job, "-o", "json").stdout)
    assert (shown["attempt"], shown["image"]) == (2, first), shown
    assert docker_core.consumer("job", "logs", job, "--attempt", "2").stdout == "one\n"
    fresh = job_of(docker_core, tag)
    assert fresh["image"] == moved
    assert docker_core.consumer("job", "logs", fresh["id"]).stdout == "two\n"
    registry.drop(tag, first, moved, one, two)


def test_what_is_not_there_fails_at_once(docker_core, registry, logged_in):
    job = job_of(docker_core, f"{registry.address}/none:1", "--retries", "3")
    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "ImageNotFound", 1), job


def test_without_the_right_password_it_fails_at_once_and_nobody_learns_the_password(docker_core, image, registry):
    registry.push(image, "closed:1")
    job = job_of(docker_core, f"{registry.address}/closed:1", "--retries", "3")
    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "ImageUnauthorized", 1), job
    words = ["registry", "add", registry.address, "-u", USER, "--password-stdin"]
    docker_core.consumer(*words, input="wrong-and-secret\n")
    job = job_of(docker_core, f"{registry.address}/closed:1")
    assert (job["state"], job["reason"]) == ("failed", "ImageUnauthorized"), job
    docker_core.consumer(*words, input=PASSWORD + "\n")
    listed = docker_core.consumer("registry", "list", "-o", "json").stdout
    assert [entry["username"] for entry in json.loads(listed)["items"]] == [USER]
    job = job_of(docker_core, f"{registry.address}/closed:1")
    assert (job["exit_code"], job["reason"]) == (1, "ExitCode"), job  # it ran: there is no such file in it
    assert docker_core.consumer("registry", "remove", registry.address).returncode == 0
    assert docker_core.consumer("registry", "remove", registry.address).returncode == 3
    registry.drop(f"{registry.address}/closed:1")
    everything = docker_core.said() + "".join(
        path.read_text(errors="replace") for path in docker_core.data_dir.rglob("*.log")
    )
    assert "wrong-and-secret" not in everything + job["message"] + listed


@pytest.mark.timeout(300)
def test_a_registry_that_is_away_is_asked_again_for_a_while(make_core, image, registry):
    core = make_core('[worker]\nruntime = "docker"\nname = "away"\n[workers]\ncrash_limit = 1\n')
    core.ready()
    registry.stop()
    try:
        job = job_of(core, f"{registry.address}/app:1")
    finally:
        registry.start()
    assert (job["state"], job["reason"]) == ("failed", "ImagePullFailed"), job
    assert [entry["reason"] for entry in job["assignments"]] == ["ImagePullFailed"]
