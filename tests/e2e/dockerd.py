"""A Docker engine of a test's own: it may be killed and started again without anybody else's containers in the way."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil

from tests.e2e.conftest import wait_until


class Dockerd:
    """As root. Its bridge is made here: with none it would delete that of the machine's own engine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.address = f"unix://{directory}/docker.sock"
        self._bridge = f"sst{os.getpid()}"
        self._process: subprocess.Popen | None = None
        self._containerd: subprocess.Popen | None = None
        (directory / "daemon.json").write_text("{}")
        (directory / "containerd.toml").write_text("version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n")
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", "10.213.77.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def _begin(self, *command: str) -> subprocess.Popen:
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def start(self, *, live_restore: bool) -> None:
        """A containerd of its own, as a machine has it, outlives the engine."""
        at = self._directory
        if self._containerd is None:
            at_containerd = [f"--root={at}/c/root", f"--state={at}/c/state", f"--address={at}/c.sock"]
            self._containerd = self._begin("containerd", f"--config={at}/containerd.toml", *at_containerd)
            wait_until((at / "c.sock").exists, 60)
        (at / "docker.pid").unlink(missing_ok=True)  # of one that was killed
        command = [
            "dockerd", f"--data-root={at}/root", f"--exec-root={at}/exec", f"--host={self.address}",
            f"--pidfile={at}/docker.pid", f"--config-file={at}/daemon.json", f"--bridge={self._bridge}",
            f"--containerd={at}/c.sock", "--iptables=false", "--ip-forward=false", "--shutdown-timeout=2",
        ] + ["--live-restore"] * live_restore  # fmt: skip
        self._process = self._begin(*command)
        wait_until(self._answers, 60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "log").read_text()[-2000:]
        return self._docker("version").returncode == 0

    def _docker(self, *words: str) -> subprocess.CompletedProcess:
        command = ["docker", f"--host={self.address}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def containers(self) -> list[str]:
        return self._docker("ps", "--all", "--quiet").stdout.split()

    def end(self, number: int) -> None:
        self._process.send_signal(number)
        self._process.wait(60)

    def clean(self) -> None:
        """Leave nothing: no container, no process, no mount, no bridge."""
        if self._process is not None and self._process.poll() is None:
            if there := self.containers():
                self._docker("rm", "--force", *there)
            self.end(signal.SIGTERM)
        if self._containerd is not None:
            self._containerd.kill()
            self._containerd.wait(60)
            for process in psutil.process_iter(["cmdline"]):  # shims of containers that are left
                if any(f"{self._directory}/c.sock" in word for word in process.info["cmdline"] or ()):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(str(self._directory))]):
            subprocess.run(["umount", "--lazy", mount], check=False)
        _ip("link", "delete", self._bridge)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
