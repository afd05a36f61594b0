"""Outputs through a whole Core: collected, limited, checked, downloaded, and safe from what kills a worker."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]


def finished(core: CoreProcess, tmp_path: Path, image: str, script: str, outputs: list, **fields) -> dict:
    """Run a script to its end; return the job."""
    spec = {"image": image, "entrypoint": ["sh", "-c"], "command": [script], "outputs": outputs, **fields}
    file = tmp_path / "job.json"
    file.write_text(json.dumps(spec))
    done = core.consumer("job", "create", "-f", str(file))
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.strip()
    core.consumer("job", "wait", job_id)
    return data(core, "job", "show", job_id)


def data(core: CoreProcess, *words: str):
    done = core.consumer(*words, "-o", "json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_what_matches_comes_back_with_its_checksum(docker_core, image, tmp_path):
    script = (
        "mkdir -p /out/sub /var/more; echo one > /out/a.txt; head -c 300000 /dev/urandom > /out/sub/b.bin;"
        " sha256sum /out/sub/b.bin; ln -s a.txt /out/link; echo no > /var/more/x.log; echo yes > /var/more/y.csv;"
        " chmod 755 /out/a.txt"
    )
    outputs = [{"path": "/out/**", "name": "out"}, {"path": "/var/more/*.csv", "name": "tables", "max": "1KiB"}]
    job = finished(docker_core, tmp_path, image, script, outputs)
    assert (job["state"], job["message"]) == ("succeeded", "exit code 0")
    result = data(docker_core, "job", "result", job["id"])
    assert [(o["name"], o["files"]) for o in result["outputs"]] == [("out", 3), ("tables", 1)]
    got = docker_core.consumer("job", "get", job["id"], "-o", str(tmp_path / "got"))
    assert got.returncode == 0, got.stderr
    digest = hashlib.sha256((tmp_path / "got" / "out" / "sub" / "b.bin").read_bytes()).hexdigest()
    assert docker_core.consumer("job", "logs", job["id"]).stdout.split()[0] == digest
    assert (tmp_path / "got" / "out" / "link").read_text() == "one\n"
    assert (tmp_path / "got" / "out" / "a.txt").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "got" / "tables").iterdir()] == ["y.csv"]
    tar = docker_core.consumer("job", "get", job["id"], "out", "--tar", text=False).stdout
    assert hashlib.sha256(tar).hexdigest() == result["outputs"][0]["sha256"]
    checked = docker_core.consumer("job", "verify", job["id"])
    assert (checked.returncode, checked.stdout.count(" same ")) == (0, 5), checked.stdout
    assert docker_core.consumer("job", "get", job["id"], "other").returncode == 3


def test_over_the_limit_a_good_job_fails_and_nothing_is_kept(docker_core, image, tmp_path):
    script = "mkdir /out; head -c 2000000 /dev/zero > /out/large; exit $CODE"
    outputs = [{"path": "/out/*", "name": "out", "max": "1MiB"}]
    job = finished(docker_core, tmp_path, image, script, outputs, environment={"CODE": "0"})
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "OutputTooLarge", 0)
    assert "1048576" in job["message"]
    assert docker_core.consumer("job", "get", job["id"]).returncode == 3
    job = finished(docker_core, tmp_path, image, script, outputs, environment={"CODE": "3"})
    assert (job["reason"], job["exit_code"]) == ("ExitCode", 3)
    assert "outputs are not kept" in job["message"]


def test_a_failed_job_leaves_its_files_too_and_deleting_the_job_deletes_them(docker_core, image, tmp_path):
    outputs = [{"path": "/core.txt", "name": "core"}]
    refused = docker_core.consumer("job", "validate", "-f", "-", input=json.dumps({"image": "a", "outputs": outputs}))
    assert refused.returncode == 0, refused.stderr
    job = finished(docker_core, tmp_path, image, "echo why > /core.txt; exit 7", outputs)
    assert job["exit_code"] == 7
    assert docker_core.consumer("job", "get", job["id"], "-o", str(tmp_path)).returncode == 0
    assert (tmp_path / "core" / "core.txt").read_text() == "why\n"
    assert docker_core.consumer("job", "delete", job["id"]).returncode == 0
    assert docker_core.consumer("job", "get", job["id"]).returncode == 3


def test_a_worker_killed_while_it_collects_is_no_loss(make_core, image, tmp_path):
    core = make_core('[worker]\nruntime = "docker"\nname = "collects"\n')
    core.ready()
    script = "mkdir /out; head -c 60000000 /dev/urandom > /out/b; sha256sum /out/b"
    spec = {"image": image, "entrypoint": ["sh", "-c"], "command": [script]}
    spec["outputs"] = [{"path": "/out/b", "name": "b"}]
    file = tmp_path / "job.json"
    file.write_text(json.dumps(spec))
    job_id = core.consumer("job", "create", "-f", str(file)).stdout.strip()
    client = core.client()

    def state() -> str:
        assignments = client.job(job_id)["assignments"]
        return assignments[-1]["state"] if assignments else ""

    wait_until(lambda: state() in ("collecting", "ended"), 60)
    os.kill(core.pid("worker"), signal.SIGKILL)
    assert client.wait(job_id, timeout_s=60)["state"] == "succeeded"
    shown = client.job(job_id)
    assert (shown["fence"], shown["reason"]) == (1, "Completed")
    assert core.consumer("job", "get", job_id, "-o", str(tmp_path)).returncode == 0
    digest = hashlib.sha256((tmp_path / "b" / "b").read_bytes()).hexdigest()
    assert core.consumer("job", "logs", job_id).stdout.split()[0] == digest
    assert core.consumer("job", "verify", job_id).returncode == 0


def test_truncated_output_is_flagged_wherever_it_shows(docker_core, image, tmp_path):
    script = "head -c 200000 /dev/zero | tr '\\0' x; echo"
    job = finished(docker_core, tmp_path, image, script, [], logs={"max": "64KiB"})
    assert (job["state"], job["output_truncated"]) == ("succeeded", ["stdout"])
    listed = docker_core.consumer("job", "list", "-o", "wide")
    result = data(docker_core, "job", "result", job["id"])
    assert (result["stdout"]["truncated"], result["stdout"]["size"], result["stdout"]["kept"]) == (
        True,
        200_001,
        65_536,
    )
    assert result["stdout"]["kept_sha256"] == hashlib.sha256(b"x" * 65_536).hexdigest()
    logs = docker_core.consumer("job", "logs", job["id"])
    assert (len(logs.stdout), "truncated" in logs.stderr) == (65_536, True)
    assert "truncated" in docker_core.consumer("job", "show", job["id"]).stdout
    assert "truncated" in listed.stdout
    assert docker_core.consumer("job", "verify", job["id"]).returncode == 0
    failed = finished(docker_core, tmp_path, image, script, [], logs={"max": "64KiB", "on_limit": "fail"})
    assert (failed["state"], failed["reason"]) == ("failed", "LogLimit")
