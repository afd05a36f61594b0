"""`logs.format = "json"`: what every process writes is one object a line."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

ALWAYS = {"at", "source", "level", "message"}


def test_every_process_writes_objects(make_core: Callable[..., CoreProcess]) -> None:
    core = make_core('[logs]\nformat = "json"\n[worker]\nruntime = "process"\nname = "w1"\n')
    client = core.ready()
    logs = core.data_dir / "logs"
    core.kill("scheduler")
    wait_until(lambda: "scheduler ended" in core.said(), 60)
    assert client.wait(client.submit({"image": "i", "command": ["true"]})["id"], timeout_s=60)["state"] == "succeeded"
    wait_until(lambda: (logs / "logger.log").read_text().count('"source": "scheduler"') >= 2, 60)
    core.stop()
    texts = {
        "swarmsyncd": core.said(),
        **{name: (logs / f"{name}.log").read_text() for name in ("worker", "logger", "api")},
    }
    sources = {}
    for name, text in texts.items():
        for line in text.splitlines():
            told = json.loads(line)
            assert told.keys() >= ALWAYS, line
            assert told["at"].endswith("Z")
            sources.setdefault(name, set()).add(told["source"])
    assert sources["swarmsyncd"] == {"swarmsyncd"}
    assert sources["worker"] == {"worker"}
    assert sources["logger"] >= {"logger", "harvester", "scheduler", "dispatcher", "hibernator"}
