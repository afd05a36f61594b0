"""A Core on servers of somebody else: PostgreSQL, NATS and Valkey with passwords, and TLS that is verified."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from msgspec import Struct

from swarmsync import embedded
from tests.e2e.conftest import BIN, CoreProcess
from tests.e2e.tls_front import tls_fronts

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

WORKER = '[worker]\nruntime = "simulated"\nname = "sim"\n'


class Foreign(Struct, frozen=True):
    """Where the servers are; `{ca}` in a URL stands for the authority's file."""

    certificates: Path
    database: str
    nats: str
    redis: str

    def settings(self, authority: Path) -> str:
        ca = quote(str(authority), safe="/")
        return (
            f'[database]\nurl = "{self.database.format(ca=ca)}"\n[nats]\nurl = "{self.nats.format(ca=ca)}"\n'
            f'[redis]\nurl = "{self.redis.format(ca=ca)}"\n{WORKER}'
        )


def make_certificates(directory: Path) -> Path:
    subprocess.run([BIN / "swarmsyncd", "certs", "--out", directory], capture_output=True, check=True)
    return directory


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    directory = tmp_path_factory.mktemp("foreign")
    certificates = make_certificates(directory / "certs")
    with embedded.running(directory / "servers", ("postgres", "valkey")) as plans:
        home = directory / "nats"
        embedded.make_directories(home)
        passwords = embedded.load_secrets(directory / "servers")
        files = {"tls_cert": str(certificates / "server.pem"), "tls_key": str(certificates / "server.key")}
        nats = embedded.plan_nats(home, passwords, embedded.nats_config(home, passwords, shared_worker=True, **files))
        server = embedded.start(nats)
        embedded.wait_ready(nats, server)
        run = Path(urlsplit(plans["valkey"].url).path).parent
        owner = urlsplit(plans["postgres"].url).netloc.rpartition("@")[0]
        with tls_fronts(certificates, run / ".s.PGSQL.5432", run / "valkey.sock") as (postgres_port, valkey_port):
            yield Foreign(
                certificates,
                f"postgresql://{owner}@127.0.0.1:{postgres_port}/postgres?sslmode=verify-full&sslrootcert={{ca}}",
                f"{nats.url}?ca={{ca}}",
                f"rediss://:{passwords['redis']}@127.0.0.1:{valkey_port}/0?ssl_ca_certs={{ca}}",
            )
        server.terminate()
        server.wait(60)


def test_core_works_on_them_and_says_how_durable_they_are(
    foreign: Foreign, make_core: Callable[..., CoreProcess]
) -> None:
    core = make_core(foreign.settings(foreign.certificates / "ca.pem"))
    client = core.ready()
    names = {" ".join(child.cmdline()).split()[0] for child in core.children()}
    assert not any(server in name for name in names for server in ("postgres", "nats-server", "valkey"))
    job = client.submit({"image": "simulated", "environment": {"SIM_STDOUT": "hello"}})
    assert client.wait(job["id"], timeout_s=60)["state"] == "succeeded"
    assert client.get("/readyz") == {"status": "ready", "postgresql": "ok", "redis": "ok", "nats": "ok"}
    modules = {module["name"]: module["state"] for module in client.get("/v1/modules")["items"]}
    assert modules["scheduler"] == "running", "the modules' figures travel over Redis"
    password = (core.data_dir / "admin-password").read_text().strip()
    assert client.call("POST", "/v1/auth/login", {"username": "admin", "password": password})["token"]
    assert client.get("/v1/durability")["durability"] == "machine"
    told = core.consumer("doctor").stdout
    assert "durability  machine: fsync on, synchronous_commit on, no synchronous standby" in told
    assert "synchronous_standby_names" in told
    assert checked(foreign.settings(foreign.certificates / "ca.pem"), core.directory).returncode == 0


@pytest.mark.parametrize("server", ["database", "nats", "redis"])
def test_a_server_of_another_authority_is_not_spoken_to(foreign: Foreign, tmp_path: Path, server: str) -> None:
    other = make_certificates(tmp_path / "other") / "ca.pem"
    ours = foreign.settings(foreign.certificates / "ca.pem").splitlines()
    theirs = foreign.settings(other).splitlines()
    place = ours.index(f"[{server}]") + 1
    done = checked("\n".join([*ours[:place], theirs[place], *ours[place + 1 :]]), tmp_path)
    assert done.returncode == 3
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    name = {"database": "PostgreSQL", "nats": "NATS", "redis": "Redis"}[server]
    assert [line.split()[1] for line in failed] == [name], done.stdout
    assert f"SWARMSYNC_{server.upper()}_URL" in failed[0]


def checked(settings: str, directory: Path) -> subprocess.CompletedProcess[str]:
    config = directory / "checked.toml"
    config.write_text(settings)
    command = [BIN / "swarmsyncd", "check", "--data-dir", directory / "checked", "--config", config]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
