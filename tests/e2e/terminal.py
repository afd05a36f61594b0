"""A terminal of its own for a program, in tmux: keys go in, the screen comes out."""

import shlex
import subprocess
import uuid
from pathlib import Path

from tests.e2e.conftest import wait_until


class Terminal:
    """Runs one command line; when it ends the terminal says `left=CODE` and whether its settings are as before."""

    def __init__(self, environ: dict[str, str], words: list[str], columns: int = 80, rows: int = 24) -> None:
        self._socket = f"swarmsync-{uuid.uuid4().hex[:12]}"
        line = f'was=$(stty -g); {shlex.join(words)}; code=$?; [ "$was" = "$(stty -g)" ] && same=yes; '
        line += "echo left=$code same=$same; read rest"
        size = ["-x", str(columns), "-y", str(rows)]
        environ = {**environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self._tmux("new-session", "-d", *size, line, environ=environ)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen().splitlines()]

    def send(self, *keys: str) -> None:
        """Press keys by their names in tmux: Enter, Escape, Up, F2, a."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def click(self, text: str) -> None:
        """Press and release the left button on the first line that contains `text`."""
        row, line = next((index, line) for index, line in enumerate(self.lines()) if text in line)
        place = f"{line.index(text) + 1};{row + 1}"
        self.type(f"\x1b[<0;{place}M\x1b[<0;{place}m")

    def until(self, *texts: str, timeout_s: float = 60) -> str:
        """Wait until all of these are on the screen; returns it."""
        seen = ""

        def there() -> bool:
            nonlocal seen
            seen = self.screen()
            return all(text in seen for text in texts)

        try:
            wait_until(there, timeout_s)
        except AssertionError:
            raise AssertionError(f"{texts} did not come within {timeout_s:g} s:\n{seen}") from None
        return seen

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *words: str, environ: dict[str, str] | None = None) -> str:
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=Path.home())
        assert done.returncode == 0, done.stderr
        return done.stdout
