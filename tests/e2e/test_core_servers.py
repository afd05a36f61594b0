"""Servers of one's own, hung modules, and what `swarmsyncd check` says."""

import os
import signal
import subprocess

import pytest

from swarmsync import embedded
from tests.e2e.conftest import BIN, wait_until

pytestmark = pytest.mark.e2e

SIMULATED = '[worker]\nruntime = "simulated"\nname = "sim"\nsimulated_count = 50\n'


def test_a_thousand_jobs_in_one_batch_on_fifty_workers_end_once(make_core):
    core = make_core(SIMULATED)
    client = core.ready(50)
    ids = client.submit_many([{"image": "simulated", "environment": {"SIM_EXIT": n % 7}} for n in range(1_000)])
    states = {}
    wait_until(lambda: client.get("/v1/stats")["jobs"].get("failed", 0) == 857, 60)
    for job in client.jobs({"limit": 1000}, limit=1_000):
        states[job["id"]] = (job["state"], job["exit_code"], job["attempt"])
    assert states == {job_id: ("succeeded" if n % 7 == 0 else "failed", n % 7, 1) for n, job_id in enumerate(ids)}


def test_a_hung_module_is_replaced_and_the_old_one_changes_nothing(make_core):
    core = make_core(SIMULATED)
    client = core.ready(50)
    hung = core.pid("scheduler")
    os.kill(hung, signal.SIGSTOP)
    ids = client.submit_many([{"image": "simulated"}] * 100)
    for job_id in ids:
        assert client.wait(job_id, timeout_s=60)["state"] == "succeeded"
    assert core.pid("scheduler") != hung
    assert "scheduler hangs" in core.said()
    assert "Fatal Python error: Aborted" in (core.data_dir / "logs" / "scheduler.log").read_text()


def test_core_on_foreign_servers(tmp_path, make_core):
    with embedded.running(tmp_path / "servers") as plans:
        config = f"""
[database]
url = "{plans["postgres"].url}"
[nats]
url = "{plans["nats"].url}"
[redis]
url = "{plans["valkey"].url}"
{SIMULATED}"""
        core = make_core(config)
        client = core.ready(50)
        assert not any("postgres" in " ".join(child.cmdline()) for child in core.children())
        job = client.submit({"image": "simulated"})
        assert client.wait(job["id"], timeout_s=60)["state"] == "succeeded"
        checked = subprocess.run(
            [BIN / "swarmsyncd", "check", "--data-dir", core.data_dir, "--config", core.directory / "core.toml"],
            capture_output=True, text=True, check=False, timeout=60, env=core.environ,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout
        assert "fsync on" in checked.stdout
        core.stop()


def test_check_says_what_to_do(tmp_path):
    config = tmp_path / "core.toml"
    config.write_text('[database]\nurl = "postgresql://nobody@127.0.0.1:1/x"\n')
    checked = subprocess.run(
        [BIN / "swarmsyncd", "check", "--data-dir", tmp_path / "data", "--config", config],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 3
    assert "SWARMSYNC_DATABASE_URL" in checked.stdout


@pytest.mark.parametrize(
    ("text", "named"), [("[api]\nprot = 1\n", "prot"), ("[api]\nport = 'x'\n", "port"), ("not toml", "TOML")]
)
def test_a_wrong_setting_is_named_and_ends_with_3(tmp_path, text, named):
    config = tmp_path / "core.toml"
    config.write_text(text)
    done = subprocess.run(
        [BIN / "swarmsyncd", "--data-dir", tmp_path / "data", "--config", config],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert named in done.stderr
