"""A Superset of the test's own: installed from PyPI, configured, started on loopback, driven over its REST API."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

#: Superset 6.1 runs with these; it does not name them all itself.
PACKAGES = (
    "apache-superset", "pymysql", "rich", "cachetools", "cachelib<0.14", "flask-caching<2.4", "playwright",
)  # fmt: skip
#: An environment in which they are installed already.
ENVIRONMENT = "SUPERSET_ENVIRONMENT"
USER, PASSWORD = "admin", "admin"
_PATIENCE_S = 300.0
_CONFIG = """
import pymysql

pymysql.install_as_MySQLdb()
TIME_GRAIN_ADDON_EXPRESSIONS = {{
    "mysql": {{
        "PT1S": "CAST(DATE_FORMAT({{col}}, '%Y-%m-%d %H:%i:%S') AS DATETIME)",
        "PT1M": "CAST(DATE_FORMAT({{col}}, '%Y-%m-%d %H:%i:00') AS DATETIME)",
        "PT1H": "CAST(DATE_FORMAT({{col}}, '%Y-%m-%d %H:00:00') AS DATETIME)",
    }}
}}
SECRET_KEY = {key!r}
SQLALCHEMY_DATABASE_URI = "sqlite:///{directory}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
SQLLAB_TIMEOUT = 300
"""


def install(directory: Path) -> Path:
    """The python of an environment that has Superset: the one that is named, or a new one in `directory`."""
    known = os.environ.get(ENVIRONMENT)
    if known:
        return Path(known) / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    python = directory / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


class Superset:
    """A running Superset with an administrator, whose REST API `call` uses."""

    def __init__(self, python: Path, directory: Path) -> None:
        directory.mkdir()
        (directory / "superset_config.py").write_text(_CONFIG.format(key=secrets.token_hex(32), directory=directory))
        self._python, self._directory = python, directory
        self._environment = {
            **os.environ, "PYTHONPATH": str(directory), "FLASK_APP": "superset.app:create_app()",
            "SUPERSET_HOME": str(directory), "SUPERSET_CONFIG_PATH": str(directory / "superset_config.py"),
        }  # fmt: skip
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Superset:
        self._run("db", "upgrade")
        name = ("--username", USER, "--firstname", "Ada", "--lastname", "L", "--email", "ada@example.org")
        self._run("fab", "create-admin", *name, "--password", PASSWORD)
        self._run("init")
        command = [*self._command(), "run", "-p", self.url.rpartition(":")[2], "--with-threads"]
        with (self._directory / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, cwd=self._directory, start_new_session=True
            )
        self._wait()
        body = {"username": USER, "password": PASSWORD, "provider": "db", "refresh": False}
        self._token = str(self.call("POST", "security/login", body)["access_token"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(30)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers; an AssertionError with its text where it refuses."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:2000]}") from error

    def _command(self) -> list[str]:
        return [str(self._python.parent / "superset")]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*self._command(), *arguments], env=self._environment, cwd=self._directory, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "server.log").read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("Superset did not start")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
