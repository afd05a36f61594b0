"""Makes docs/screens.md: the full-screen programs as they looked when this really ran them.

`python -m tests.e2e.pictures` starts a Core of its own, gives it work, and takes the text off the terminals.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.e2e.conftest import BIN, CoreProcess, wait_until
from tests.e2e.terminal import Terminal

PROJECT = Path(__file__).parent.parent.parent
CONFIG = '[worker]\nruntime = "process"\nname = "ada-laptop"\n'
INTRO = """\
# Screens

Text taken off a terminal of 80 columns by `python -m tests.e2e.pictures`, which starts a Core, gives it work and drives
the programs as a user does. Every screen shows the command that does the same; keys are explained on the last line, the
mouse selects and opens.
"""
#: From here on the page is written by hand, and stays.
BY_HAND = "## In a browser"
TRAIN = "i=0; while true; do i=$((i+1)); echo epoch $i: loss 0.$((99-i%90)); sleep 0.3; done"


def submit(core: CoreProcess, name: str, command: str, cpus: float, state: str) -> str:
    client = core.client()
    resources = {"cpus": cpus, "memory": "64MiB"}
    spec = {"image": "python:3.12", "name": name, "command": ["sh", "-c", command], "resources": resources}
    job = client.submit(spec)["id"]
    wait_until(lambda: client.job(job)["state"] == state, 60)
    return job


def pictures(core: CoreProcess) -> list[tuple[str, str]]:
    """Yield (what it is, the text of the screen)."""
    taken: list[tuple[str, str]] = []

    def look(what: str, terminal: Terminal, *texts: str) -> None:
        text = terminal.until(*texts)
        taken.append((what, "\n".join(line.rstrip() for line in text.splitlines()).rstrip()))

    def opened(*words: str) -> Terminal:
        return Terminal(core.environ, [str(BIN / "consumer"), *words])

    submit(core, "prepare", "true", 0.1, "succeeded")
    train = submit(core, "train", TRAIN, 0.5, "running")
    submit(core, "evaluate", "sleep 300", 0.5, "running")
    submit(core, "too-large", "true", 500, "queued")
    terminal = opened("main-menu")
    look("`consumer main-menu`", terminal, "connected", "jobs: ")
    terminal.send("n")
    terminal.type("alpine:3.20")
    terminal.send("Down")
    terminal.type("date -u")
    terminal.send("Down", "Down")
    terminal.type("lots")
    look("A form is checked by Core while one types", terminal, "Expected `float`")
    terminal.close()
    terminal = opened("inspect", "jobs")
    terminal.until("LIVE", "waiting for: Unsatisfiable", "ready")
    terminal.send("/")
    terminal.type("train")
    terminal.send("Enter", "Enter", "Tab", "Tab")
    look("`consumer inspect jobs`: a job is open, its output follows", terminal, train, "epoch 4")
    terminal.close()
    then = json.loads(core.consumer("inspect", "jobs", "--snapshot", "-o", "json").stdout)["at"]
    core.consumer("job", "kill", "@evaluate")
    terminal = opened("inspect", "jobs", "--at", then)
    look("`consumer inspect jobs --at TIME`: back in time, before a job was killed", terminal, "PAST", "evaluate")
    terminal.close()
    core.client().submit({"image": "python:3.12", "name": "sweep", "array": {"range": "0-3"}, "delay": "1h"})
    terminal = opened("main-menu")
    terminal.until("connected")
    terminal.send("j")
    terminal.until("sweep")
    terminal.send("Enter")
    look("A job that was opened from its list, here an array", terminal, "4 scheduled", "members")
    terminal.close()
    terminal = opened("inspect", "core")
    terminal.until("No bottleneck")
    os.kill(core.pid("harvester"), signal.SIGSTOP)
    look("`consumer inspect core`: a module was stopped with SIGSTOP", terminal, "is the bottleneck")
    terminal.close()
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        core = CoreProcess(Path(directory), CONFIG)
        core.start()
        try:
            core.ready()
            taken = pictures(core)
        finally:
            core.stop()
    parts = [f"## {what}\n\n```text\n{text}\n```\n" for what, text in taken]
    page = PROJECT / "docs" / "screens.md"
    _, written_by_hand, rest = page.read_text().partition(BY_HAND)
    page.write_text("\n".join([INTRO, *parts, written_by_hand + rest]))
    sys.stdout.write(f"{len(taken)} screens are in docs/screens.md\n")


if __name__ == "__main__":
    main()
