"""Who may log in to the embedded NATS: the running server is told what is new, and only that."""

import os
import signal
from pathlib import Path

import pytest

from swarmsync.nats_config import NatsConfig

NAMES = ("engine", "api", "join", "worker")


@pytest.fixture
def config(tmp_path):
    return NatsConfig(str(tmp_path), 4222, {f"nats_{name}": "secret" for name in NAMES})


def test_a_running_server_is_told_to_read_its_file_again(config):
    heard = []  # by this process: a child would ignore the signal wherever the tests run under nohup
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append("again"))
    try:
        (Path(config.home) / "nats.pid").write_text(str(os.getpid()))
        config.tell({"w1": "UKEY"})
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == ["again"]
    assert config.known_keys() == {"w1": "UKEY"}
    assert "UKEY" in config.path.read_text()


@pytest.mark.parametrize("pid", [None, "", "0x", "2147483647"])
def test_what_no_server_was_told_is_not_known(config, pid):
    if pid is not None:
        (Path(config.home) / "nats.pid").write_text(pid)
    config.tell({"w1": "UKEY"})
    assert config.known_keys() == {}
    assert "UKEY" in config.path.read_text()
