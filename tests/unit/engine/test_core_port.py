"""The port of the API, before anything is started."""

import socket

import pytest

from conf.settings import load
from engine.swarmsyncd import with_port
from swarmsync.errors import ConfigError

HOME = {"HOME": "/home/someone"}


def test_port_0_is_any_free_one_and_everybody_is_told_the_same():
    settings = with_port(load(None, HOME, api__port=0))
    assert settings.api.port > 0
    assert with_port(settings) == settings


def test_a_port_that_is_taken_is_named_with_the_ways_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be used .* --port"):
            with_port(load(None, HOME, api__port=port))
