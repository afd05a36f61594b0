# ruff: noqa: N999  Gunicorn's usual name for this file
"""Gunicorn for the API: its native ASGI workers on uvloop. Read by `gunicorn -c`.

The supervisor writes the API's JSON file and names it in SWARMSYNC_API_CONFIG.

Workers die with the arbiter at once, so that a new one finds the port free; nothing that was answered is lost by that.
The arbiter imports what they run, once for all, and each makes its application after the fork: a worker that is started
again answers a few hundredths of a second later, and SIGHUP still has the configuration read anew.
"""

import os
import signal
import sys
from typing import Any

import api.app  # noqa: F401 for those who are forked
from api.config import load
from swarmsync.embedded import die_with_parent
from swarmsync.errors import ConfigError
from swarmsync.json_lines import logging_config

_path = os.environ["SWARMSYNC_API_CONFIG"]
try:
    _config = load(_path)
except ConfigError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(3)  # starting again will not help

wsgi_app = f"api.app:from_file({_path!r})"
bind = f"{_config.bind}:{_config.port}"
certfile = _config.tls_cert or None
keyfile = _config.tls_key or None
workers = _config.processes
worker_class = "asgi"
asgi_loop = "uvloop"
asgi_lifespan = "on"
#: How long a request goes on after its client is gone: a transaction ends, a stream is given up.
asgi_disconnect_grace_period = 1
timeout = 30
graceful_timeout = 5
#: A stop waits for idle connections to end, too.
keepalive = 3
backlog = 1024
limit_request_fields = 64
accesslog = None
errorlog = "-"
loglevel = "warning"
if _config.log_format == "json":
    logconfig_dict = logging_config("api")
preload_app = False


def post_fork(_server: Any, _worker: Any) -> None:
    die_with_parent(signal.SIGKILL)


def post_worker_init(worker: Any) -> None:
    worker.asgi.life_span.stopping = lambda: not worker.alive
