"""Core behind certificates of its own authority: everybody who trusts it gets in, and nobody else, on both links."""

import asyncio
import os
import ssl
import subprocess

import nats
import pytest

from swarmsync.client import Client
from swarmsync.errors import Unavailable
from tests.e2e.conftest import BIN, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]


def make_certificates(directory, *words):
    done = subprocess.run(
        [BIN / "swarmsyncd", "certs", "--out", directory, *words], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def core(make_module_core, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certs")
    told = make_certificates(directory, "--name", "core.example")
    core = make_module_core(f'{told}[worker]\nruntime = "process"\nname = "near"\n')
    core.certificates = directory
    core.ready()
    return core


def test_everything_works_behind_tls(core):
    assert core.said().count("https://127.0.0.1") == 1
    done = core.consumer("run", "x", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n"), done.stderr
    assert (core.certificates / "server.key").stat().st_mode & 0o777 == 0o600
    assert (core.certificates / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_worker_of_another_machine_joins_over_tls(core, tmp_path):
    client = core.client()
    made = client.call("POST", "/v1/workers", {"name": "far"})
    assert made["nats_url"].startswith("tls://join:")
    environ = {**os.environ, "SWARMSYNC_JOIN_TOKEN": made["token"], "SWARMSYNC_DATA_DIR": str(tmp_path)}
    command = [BIN / "swarmsyncd", "worker", "--nats", made["nats_url"], "--runtime", "process", "--name", "far"]
    far = subprocess.Popen([*command, "--ca", core.certificates / "ca.pem"], env=environ)
    try:
        wait_until(
            lambda: any(w["name"] == "far" and w["liveness"] == "ready" for w in client.items("/v1/workers")), 30
        )
    finally:
        far.terminate()
        far.wait(60)


@pytest.mark.parametrize("trust", ["plain", "another authority", "the system's"])
def test_the_api_speaks_to_nobody_else(core, tmp_path, trust):
    url = f"https://127.0.0.1:{core.port}"
    authority = ""
    if trust == "plain":
        url = f"http://127.0.0.1:{core.port}"
    elif trust == "another authority":
        make_certificates(tmp_path)
        authority = str(tmp_path / "ca.pem")
    with Client(url, patience_s=0, ca=authority) as client, pytest.raises(Unavailable):
        client.get("/healthz")


def test_a_name_that_is_not_on_the_certificate_is_refused(core):
    url = f"https://127.0.0.2:{core.port}"
    with Client(url, patience_s=0, ca=str(core.certificates / "ca.pem")) as client, pytest.raises(Unavailable):
        client.get("/healthz")


@pytest.mark.parametrize("trust", ["plain", "another authority"])
def test_nats_speaks_to_nobody_else(core, tmp_path, trust):
    port = (core.data_dir / "nats" / "port").read_text().strip()
    context = None
    if trust == "another authority":
        make_certificates(tmp_path)
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    async def attempt():
        scheme = "nats" if context is None else "tls"
        link = await nats.connect(
            f"{scheme}://join:x@127.0.0.1:{port}",
            tls=context,
            allow_reconnect=False,
            connect_timeout=2,
            max_reconnect_attempts=0,
        )
        await link.close()

    with pytest.raises((OSError, nats.errors.Error, TimeoutError)):
        asyncio.run(attempt())


def test_beyond_loopback_nothing_listens_in_plain_text(tmp_path):
    for section in ("[api]", "[nats]"):
        config = tmp_path / "core.toml"
        config.write_text(f'{section}\nbind = "0.0.0.0"\n')
        command = [BIN / "swarmsyncd", "--config", config, "--data-dir", tmp_path / "data"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 3
        assert "swarmsyncd certs" in done.stderr


def test_a_certificate_is_renewed_by_the_same_authority(tmp_path):
    make_certificates(tmp_path, "--name", "a.example")
    authority, first = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    make_certificates(tmp_path, "--name", "b.example", "--name", "10.0.0.7")
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() != first
    with pytest.raises(subprocess.CalledProcessError):
        make_certificates(tmp_path, "--name", "no name")
