"""What people see: the program on a pseudo-terminal."""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from fake_core import ID, Stream, chunk, end, job

pytestmark = pytest.mark.process


class Screen:
    """A program with a terminal of its own."""

    def __init__(self, url, tmp_path, *arguments, **more):
        self._ours, theirs = pty.openpty()
        environ = {**os.environ, "SWARMSYNC_URL": url, "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm", **more}
        if "NO_COLOR" not in more:
            environ.pop("NO_COLOR", None)
        self.program = subprocess.Popen(
            [sys.executable, "-m", "cli.consumer", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environ
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, wanted):
        while wanted not in self.text and self._more():
            pass
        assert wanted in self.text, self.text

    def end(self):
        while self._more():
            pass
        os.close(self._ours)
        return self.program.wait(20)

    def _more(self):
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def test_a_waiting_job_says_why_on_one_line_that_goes_away(core, tmp_path):
    shown = threading.Event()

    def stream(_request):
        def lines():
            assert shown.wait(20)
            yield chunk(b"output\n")
            yield end()

        return Stream(lines())

    core.on("POST", "/v1/jobs", (201, job()))
    core.on("GET", f"/v1/jobs/{ID}", job(reason="Resources", message="3 workers lack 2 cpus"))
    core.on("GET", f"/v1/jobs/{ID}/logs", stream)
    screen = Screen(core.url, tmp_path, "run", "alpine")
    screen.read_until(f"job {ID} is queued: Resources: 3 workers lack 2 cpus")
    shown.set()
    assert screen.end() == 0
    assert screen.text.endswith("\r\x1b[Koutput\r\n")


def test_the_second_ctrl_c_leaves_at_once_while_core_does_not_answer(core, tmp_path):
    stuck, asked = threading.Event(), threading.Event()

    def cancel(_request):
        asked.set()
        stuck.wait(20)
        return (202, job())

    def stream(_request):
        def lines():
            yield chunk(b"begun\n")
            stuck.wait(20)

        return Stream(lines(), broken=True)

    core.on("POST", "/v1/jobs", (201, job()))
    core.on("GET", f"/v1/jobs/{ID}", job(state="running"))
    core.on("GET", f"/v1/jobs/{ID}/logs", stream)
    core.on("POST", f"/v1/jobs/{ID}/cancel", cancel)
    screen = Screen(core.url, tmp_path, "run", "alpine")
    screen.read_until("begun")
    screen.program.send_signal(signal.SIGINT)
    assert asked.wait(20)
    screen.program.send_signal(signal.SIGINT)
    assert screen.end() == 130
    stuck.set()


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}])
def test_colours_only_where_they_are_wanted(core, tmp_path, more):
    core.on("GET", "/v1/jobs", {"items": [job(state="failed", reason="x" * 300)], "next_cursor": None})
    screen = Screen(core.url, tmp_path, "job", "list", "--all", COLUMNS="80", **more)
    assert screen.end() == 0
    assert ("\x1b[31mfailed\x1b[0m" in screen.text) == (not more)
    assert "…" in screen.text
