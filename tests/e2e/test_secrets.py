"""Secrets through a whole Core: they reach the container, and are found nowhere else afterwards."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import asyncpg
import docker
import psutil
import pytest

from swarmsync import embedded
from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]

COUNT = 32


def submit(core: CoreProcess, tmp_path: Path, spec: dict) -> str:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(spec))
    done = core.consumer("job", "create", "-f", str(file))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def set_secret(core: CoreProcess, name: str, value: bytes) -> None:
    done = core.consumer("secret", "set", name, input=value, text=False)
    assert done.returncode == 0, done.stderr


async def _dump(core: CoreProcess) -> str:
    """Every row of every table, as text; bytes as they are stored and as hex."""
    plan = embedded.plan_postgres(core.data_dir, embedded.load_secrets(core.data_dir))
    connection = await asyncpg.connect(plan.url, server_settings={"search_path": "swarmsync", "bytea_output": "escape"})
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'swarmsync'")
    rows = [
        str(row[0])
        for table in tables
        for row in await connection.fetch(f"SELECT t::text FROM {table['tablename']} AS t")
    ]
    await connection.close()
    return "\n".join(rows)


def _arguments_and_variables() -> str:
    """What /proc shows of every process: arguments, and variables of those that are no container's."""
    seen = []
    for process in psutil.process_iter():
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
            if name == "cmdline" or b"SWARMSYNC_JOB_ID=" not in content:
                seen.append(content.decode(errors="replace"))
    return "\n".join(seen)


def _files(directory: Path) -> str:
    """Every file that Core keeps but PostgreSQL's, whose rows are looked at by themselves."""
    paths = [path for path in directory.rglob("*") if path.is_file() and "postgres" not in path.parts]
    return "\n".join(path.read_bytes().decode(errors="replace") for path in paths)


def test_planted_secrets_are_found_in_their_container_and_nowhere_else(docker_core, image, tmp_path):
    canaries = [f"canary{number:02d}x{os.urandom(9).hex()}" for number in range(COUNT)]
    for number, canary in enumerate(canaries):
        set_secret(docker_core, f"canary-{number}", canary.encode())
    names = [f"canary-{number}" for number in range(COUNT)]
    script = "cat /run/secrets/* | wc -c; ls /run/secrets | wc -l; test ! -w /run/secrets; read line; sleep 60"
    spec = {
        "image": image,
        "secrets": names,
        "entrypoint": ["sh", "-c"],
        "command": [script.replace("read line; ", "")],
    }
    job_id = submit(docker_core, tmp_path, spec)
    wait_until(lambda: docker_core.consumer("job", "logs", job_id).stdout.count("\n") == 2, 60)
    assert docker_core.consumer("job", "logs", job_id).stdout.split() == [str(len("".join(canaries))), str(COUNT)]
    (container,) = [
        c for c in docker.from_env().containers.list(ignore_removed=True) if c.labels.get("swarmsync.job") == job_id
    ]
    places = {
        "docker inspect": json.dumps(container.attrs),
        "rows": asyncio.run(_dump(docker_core)),
        "processes": _arguments_and_variables(),
        "files": _files(docker_core.directory),
        "commands": "".join(
            docker_core.consumer(*words, "-o", "json").stdout
            for words in (
                ("job", "show", job_id), ("job", "list"), ("secret", "list"), ("log", "list"), ("job", "why", job_id),
            )
        ),
    }  # fmt: skip
    docker_core.consumer("job", "kill", job_id)
    docker_core.consumer("job", "wait", job_id)
    places["rows afterwards"] = asyncio.run(_dump(docker_core))
    places["files afterwards"] = _files(docker_core.directory)
    assert all(len(text) > 100 for text in places.values())
    found = {place: re.findall(r"canary\d\dx[0-9a-f]+", text) for place, text in places.items()}
    assert {place: names for place, names in found.items() if names} == {}
    hexes = [canary.encode().hex() for canary in canaries]
    assert [place for place, text in places.items() for canary in hexes if canary in text] == []
    wait_until(lambda: not list(Path("/dev/shm/swarmsync-secrets").glob(f"*/swarmsync-{job_id}-*")), 60)


def test_a_secret_as_a_variable_and_as_a_file_of_its_user(docker_core, image, tmp_path):
    set_secret(docker_core, "pw", b"hush \xc3\xa4\n\n")
    script = 'printf %s "$PW"; printf "|"; cat /run/secrets/pw; stat -c "%a %u" /run/secrets/pw'
    uses = ["pw", {"name": "pw", "env": "PW"}]
    spec = {"image": image, "secrets": uses, "entrypoint": ["sh", "-c"], "command": [script], "user": "1234"}
    job_id = submit(docker_core, tmp_path, spec)
    docker_core.consumer("job", "wait", job_id)
    owned = "400 1234" if os.geteuid() == 0 else f"444 {os.geteuid()}"
    said = docker_core.consumer("job", "logs", job_id)
    assert said.stdout == f"hush ä\n|hush ä\n{owned}\n", said.stderr


def test_a_secret_that_is_gone_ends_the_job_with_its_name(docker_core, image, tmp_path):
    refused = subprocess.run(
        [*_consumer(docker_core), "job", "create", "-f", "-"],
        input=json.dumps({"image": image, "secrets": ["never-set"]}), capture_output=True, text=True, check=False,
        env=docker_core.environ,
    )  # fmt: skip
    assert (refused.returncode, "$.secrets[0]" in refused.stderr) == (2, True)
    set_secret(docker_core, "short-lived", b"x")
    job_id = submit(docker_core, tmp_path, {"image": image, "secrets": ["short-lived"], "delay": "1h"})
    assert docker_core.consumer("job", "hold", job_id).returncode == 0
    assert docker_core.consumer("secret", "delete", "short-lived").returncode == 0
    second = submit(docker_core, tmp_path, {"image": image, "command": ["true"], "delay": "1h"})
    docker_core.consumer("job", "cancel", second)
    set_secret(docker_core, "short-lived", b"x")
    soon = submit(docker_core, tmp_path, {"image": image, "secrets": ["short-lived"], "delay": "2s"})
    docker_core.consumer("secret", "delete", "short-lived")
    docker_core.consumer("job", "wait", soon)
    shown = json.loads(docker_core.consumer("job", "show", soon, "-o", "json").stdout)
    assert (shown["state"], shown["reason"]) == ("failed", "InputMissing")
    assert "short-lived" in shown["message"]
    docker_core.consumer("job", "cancel", job_id)


def _consumer(core: CoreProcess) -> list[str]:
    from tests.e2e.conftest import BIN

    return [str(BIN / "consumer")]
