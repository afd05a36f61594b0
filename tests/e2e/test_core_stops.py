"""A clean stop leaves nothing behind; a second Core on the same data is refused; data survive."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

DOCKER = '[worker]\nruntime = "docker"\nname = "stops"\n'


def segments(family: list[psutil.Process]) -> set[Path]:
    """The segments that these processes have mapped; beside them are those of other tests' Cores."""
    mapped = {Path(entry.path) for child in family for entry in child.memory_maps()}
    return {path for path in mapped if path.is_relative_to("/dev/shm") and path.name.startswith("swarmsync-")}


def test_sigterm_under_load_leaves_no_process_segment_or_container(make_core, image, our_containers):
    core = make_core(DOCKER)
    client = core.ready()
    spec = {"image": image, "command": ["sleep", "60"], "resources": {"cpus": 0.25}}
    ids = client.submit_many([spec] * 4)
    for job_id in ids:
        while client.job(job_id)["state"] != "running":
            pass
    family = core.children()
    mapped = segments(family)
    assert len(mapped) > 4
    began = time.monotonic()
    assert core.stop() == 0
    assert time.monotonic() - began < 15
    assert [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert our_containers("stops") == []
    assert [path for path in mapped if path.exists()] == []
    core.start()
    client = core.ready()
    for job_id in ids:  # nothing accepted is lost: they go on after the restart, at nobody's expense
        job = client.job(job_id)
        assert job["state"] in ("queued", "scheduled", "starting", "running"), job
        client.act(job_id, "kill")
    for job_id in ids:
        assert client.wait(job_id, timeout_s=60)["state"] == "cancelled"


def test_a_second_core_on_the_same_data_is_refused(make_core):
    core = make_core('[worker]\nruntime = "simulated"\n')
    done = subprocess.run(
        [Path(core.process.args[0]), "--data-dir", core.data_dir, "--port", "1"],
        env=core.environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"process {core.process.pid}" in done.stderr
    assert "--data-dir" in done.stderr
    client = core.client()
    assert client.session()["username"] == "admin"
