"""How long the command line takes before it does anything: whole processes, from fork to exit, the median of many.

`python -c pass` is the floor that no Python program gets under. Commands that speak to Core use one that idles.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.harness import core
from bench.plots import Chart
from bench.results import Say, spread

#: Quick or not: how often each.
_ROUNDS: Final = {True: 3, False: 25}


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    rounds = _ROUNDS[quick]
    consumer = [sys.executable, "-m", "cli.consumer"]
    with core("simulated") as there, tempfile.TemporaryDirectory(prefix="swarmsync-bench-") as name:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SWARMSYNC_")}
        environ |= {"XDG_CONFIG_HOME": name}
        home = Path(name) / "swarmsync"
        home.mkdir()
        profile = {"current": "local", "profiles": {"local": {"url": there.url, "token": there.token}}}
        (home / "profiles.json").write_text(json.dumps(profile))
        (home / "profiles.json").chmod(0o600)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "consumer --help": [*consumer, "--help"],
            "consumer run --help": [*consumer, "run", "--help"],
            "consumer job list": [*consumer, "job", "list"],
            "consumer run, detached": [*consumer, "run", "--detach", "simulated"],
            "bench --help": [sys.executable, "-m", "bench.bench", "--help"],
            "swarmsyncd --help": [sys.executable, "-m", "engine.swarmsyncd", "--help"],
        }
        figures = {}
        for label, command in commands.items():
            say(label)
            figures[label] = spread([_once(command, environ) for _ in range(rounds)])
    return {"unit": "ms", "commands": figures}


def _once(command: list[str], environ: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    took_ms = (time.perf_counter() - began) * 1_000
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-400:]}")
    return took_ms


def charts(figures: dict[str, Any]) -> list[Chart]:
    cells = [(name, figure["p50"]) for name, figure in figures["commands"].items()]
    return [Chart("From the prompt to the prompt", "ms", {"median": list(cells)})]
