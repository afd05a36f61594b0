"""Compiled, the Scheduler decides as its source says: mypyc takes from types what Python does not look at."""

import os
import subprocess
import sys
from pathlib import Path

WORLDS = 400
PROGRAM = Path(__file__).with_name("random_worlds.py")
ROOT = Path(__file__).parents[4]


def said(compiled: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWARMSYNC_COMPILED": compiled}
    arguments = [sys.executable, str(PROGRAM), str(WORLDS)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [*done.stdout.splitlines()[-1:], done.stderr]
    return done.stdout.splitlines()


def test_compiled_and_interpreted_decide_alike_in_random_worlds():
    interpreted = said("no")
    assert said(os.environ.get("SWARMSYNC_COMPILED", "")) == interpreted
    assert sum(int(line.split()[2]) for line in interpreted) > WORLDS  # much was placed
