"""What helps people around jobs: conversions, the doctor, completion, and searches across logs, against a real Core."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import CoreProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    core = CoreProcess(tmp_path_factory.mktemp("core"), '[worker]\nruntime = "process"\nname = "w1"\n')
    core.start()
    core.ready()
    yield core
    core.let_go()


def test_a_docker_run_line_becomes_a_job_that_runs_the_same(core):
    line = "docker run --rm -e GREETING='hello there' --cpus 0.1 -m 64m -w / i sh -c 'echo $GREETING; pwd; exit 3'"
    spec = core.consumer("job", "from-docker", line)
    assert (spec.returncode, spec.stderr) == (0, "")
    job = core.consumer("job", "create", "-f", "-", input=spec.stdout).stdout.strip()
    assert core.consumer("job", "wait", "--exit-code", job).returncode == 3
    assert core.consumer("job", "logs", job).stdout == "hello there\n/\n"
    refused = core.consumer("job", "from-docker", "docker run -p 80:80 -v /srv:/srv i")
    assert refused.returncode == 1
    parts = [line.split(": ")[1] for line in refused.stderr.splitlines()]
    assert parts == ["cannot honour -p 80:80", "cannot honour -v /srv:/srv"]


def test_a_compose_service_becomes_a_job(core, tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text(
        "services: {report: {image: i, command: [sh, -c, 'echo $$WHO'], environment: {WHO: '${ME:-ann}'},"
        " deploy: {resources: {limits: {cpus: '0.1', memory: 64M}}}}}"
    )
    spec = core.consumer("job", "from-compose", str(file), "report")
    assert (spec.returncode, spec.stderr) == (0, "")
    job = core.consumer("job", "create", "-f", "-", input=spec.stdout).stdout.strip()
    assert core.consumer("job", "wait", job).returncode == 0
    assert core.consumer("job", "logs", "@report").stdout == "ann\n"


def test_logs_are_searched_across_jobs(core):
    for number in range(3):
        script = f"echo line of {number}; echo needle {number}"
        words = ["run", "--cpus", "0.1", "--name", "hay", "-l", "for=search", "i", "sh", "-c", script]
        assert core.consumer(*words).returncode == 0
    found = core.consumer("job", "logs", "--grep", "needle [02]", "-l", "for=search", "--stdout").stdout.splitlines()
    assert [line.partition(": ")[2] for line in found] == ["needle 0", "needle 2"]


def test_the_doctor_finds_a_healthy_core_well(core):
    done = core.consumer("doctor", "-o", "json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check["fine"] for check in json.loads(done.stdout)["items"]}
    assert checks["Docker"] is None
    assert {name for name, fine in checks.items() if fine} >= {
        "Core",
        "PostgreSQL",
        "NATS",
        "Redis",
        "engine",
        "workers",
    }


def test_the_shell_completes_what_core_knows(core):
    core.consumer("job", "create", "--name", "completed", "--delay", "1h", "i", "true")
    for words, offer in (("job show @compl", "@completed"), ("worker show w", "w1"), ("job list --queue d", "default")):
        line = f"consumer {words}"
        own = {"_CONSUMER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        core.environ.update(own)
        try:
            assert offer in core.consumer().stdout.split()
        finally:
            for name in own:
                del core.environ[name]
