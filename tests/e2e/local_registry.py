"""A real image registry (package docker-registry) on loopback, with a password; images are copied into it by Docker."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from bench.harness import free_port
from tests.e2e.conftest import wait_until

USER, PASSWORD = "user", "right"
#: bcrypt of PASSWORD, cheap on purpose.
HTPASSWD = "user:$2b$05$abcdefghijklmnopqrstuu8xaCxxL82bnl.UY74PMksDxIJShppPC\n"
CONFIG = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
AUTH = "auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n"


class LocalRegistry:
    def __init__(self, directory: Path, *, private: bool = True) -> None:
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None
        (directory / "htpasswd").write_text(HTPASSWD)
        self._config = directory / "registry.yml"
        text = (CONFIG + AUTH if private else CONFIG).format(
            root=directory / "images", port=self.port, htpasswd=directory / "htpasswd"
        )
        self._config.write_text(text)
        self._login = directory / "docker"
        self._login.mkdir()
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (self._login / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))

    def start(self) -> None:
        program = shutil.which("docker-registry")
        assert program is not None, "these tests need a registry: install the package docker-registry"
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([program, "serve", self._config], stdout=log, stderr=log)
        wait_until(self._answers, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.address}/v2/", timeout=2)
        except urllib.error.HTTPError as answer:
            return answer.code == 401  # a private one
        except OSError:
            return False
        return True

    def push(self, image: str, name: str) -> str:
        """Copy a local image to `name` here, drop it locally, and return its digest."""
        there = f"{self.address}/{name}"
        docker("tag", image, there)
        docker("--config", str(self._login), "push", "-q", there)
        shown = json.loads(docker("image", "inspect", there))[0]["RepoDigests"]
        digest = next(entry for entry in shown if entry.startswith(self.address))
        self.drop(there)
        return digest

    def drop(self, *images: str) -> None:
        """Let the engine forget these names."""
        subprocess.run(["docker", "rmi", "-f", *images], check=False, capture_output=True)


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
