"""The containers: build the image, bring everything up, drop a file, find the product."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.l0 import make_l0_file
from tests.support.servers import missing, program, wait_until

pytestmark = pytest.mark.compose

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
BASE_PARTS = [DOCKER / "make-base"]
BUILD_PARTS = [
    *BASE_PARTS,
    DOCKER / "make-build-base",
    DOCKER / "requirements.py",
    REPOSITORY / "pyproject.toml",
]
PATIENCE_S = 120.0
SERVICES = ["redis", "relay", "watcher", "worker-ingest", "web"]
BEATING = ["redis", "relay", "worker-ingest", "web"]
"""Services with a health check."""

FIRST = "acaf686000001N001_3_img0.fits.gz"
SECOND = "acaf686000103N001_3_img0.fits.gz"
FOLDER = "aca0/2019/270"
"""Where in the archive both belong: 686000001 s is 2019-09-27 19:32 UTC."""

LOCK = f"/acaflow/state/locks/{hashlib.sha256(b'aca0:3').hexdigest()}.lock"
"""What a job holds while it publishes level-0 files of slot 3."""

HOLD_LOCK = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def run(*argv: str, data: bytes | None = None, environment: dict[str, str] | None = None) -> bytes:
    """Run a program to its end and return its output; fail the test with what it said."""
    done = subprocess.run(
        argv,
        input=data,
        env={**os.environ, **(environment or {})},
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        what = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        pytest.fail(f"{' '.join(argv)} failed ({done.returncode}): {what}", pytrace=False)
    return done.stdout


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _compose_command() -> list[str]:
    """Return the command of Compose, the plugin or the program."""
    if not shutil.which("docker") or not _succeeds("docker", "info"):
        missing("docker: the program and a running engine")
    if _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    return [str(program("docker-compose"))]


def _image(name: str, parts: list[Path], *command: str) -> str:
    """Return an image of the engine; it is made only if these files have changed since."""
    key = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    image = f"{name}:{key}"
    if not _succeeds("docker", "image", "inspect", image):
        run(*command, image)
    return image


@dataclass
class Stack:
    """One Compose project with its own name, secrets and volumes."""

    command: list[str]
    environment: dict[str, str]
    name: str = field(default_factory=lambda: f"acaflow-test-{uuid.uuid4().hex[:8]}")

    def compose(self, *arguments: str) -> str:
        """Run Compose on this project."""
        argv = [*self.command, "-p", self.name, *arguments]
        return run(*argv, environment=self.environment).decode()

    def inside(self, service: str, *command: str, data: bytes | None = None) -> bytes:
        """Run a command in the container of a service and return its output."""
        argv = ["docker", "exec", "-i", self.container(service), *command]
        return run(*argv, data=data)

    def archived(self, path: str) -> bytes:
        """Return the content of a file of the archive."""
        return self.inside("watcher", "cat", f"/acaflow/archive/{path}")

    def container(self, service: str) -> str:
        """Return the id of the container of a service."""
        labels = {"project": self.name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{key}={labels[key]}" for key in labels]
        return run("docker", "ps", "--quiet", *filters).decode().strip()

    def state(self, service: str) -> Any:
        """Return what the engine knows of the container of a service."""
        return json.loads(run("docker", "inspect", self.container(service)))[0]

    def healthy(self, service: str) -> bool:
        """Tell whether the container has passed its health check."""
        return bool(self.state(service)["State"]["Health"]["Status"] == "healthy")

    @cached_property
    def address(self) -> str:
        """Host and port of the pages."""
        return self.compose("port", "web", "8765").strip()

    def get(self, path: str) -> Any:
        """Ask the JSON API."""
        with urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the level-0 file jobs, the newest first."""
        found = self.get("/api/v1/jobs")["jobs"]
        return [job for job in found if job["task"] == "ingest.aca_l0_file"]

    def drop(self, file: Path) -> None:
        """Put a file into the inbox as a sender should: write, then rename."""
        script = 'cat >"inbox/.$0.part" && mv "inbox/.$0.part" "inbox/$0"'
        self.inside("watcher", "sh", "-c", script, file.name, data=file.read_bytes())

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Wait for `ready`; if it never comes, show the end of every log."""
        try:
            wait_until(ready, what, PATIENCE_S)
        except pytest.fail.Exception:
            print(self.compose("logs", "--tail=20"))
            raise

    @contextmanager
    def locked(self, path: str) -> Iterator[None]:
        """Hold a lock file in the shared home, from the container of the watcher."""
        argv = ["docker", "exec", "-i", self.container("watcher"), "python3", "-c", HOLD_LOCK, path]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything up in containers, on images of Debian packages."""
    command = _compose_command()
    program("mmdebstrap")
    base = _image("acaflow-test-base", BASE_PARTS, str(DOCKER / "make-base"))
    build = _image("acaflow-test-build", BUILD_PARTS, str(DOCKER / "make-build-base"), base)
    secrets = tmp_path_factory.mktemp("secrets")
    run(str(DOCKER / "make-secrets"), environment={"SECRETS": str(secrets)})
    environment = {
        "BASE_IMAGE": base,
        "BUILD_IMAGE": build,
        "REDIS_IMAGE": base,
        "IMAGE": "acaflow-test",
        "SECRETS": str(secrets),
        "WEB_ADDRESS": "127.0.0.1:",
    }
    made = Stack(command, environment)
    try:
        made.compose("build")
        made.compose("up", "-d")
        yield made
    finally:
        made.compose("down", "-v", "--remove-orphans")


def test_stack(stack: Stack, tmp_path: Path) -> None:
    for service in BEATING:
        stack.wait(partial(stack.healthy, service), f"{service} healthy")

    file = make_l0_file(tmp_path, slot=3)
    assert file.name == FIRST
    stack.drop(file)
    stack.wait(lambda: [job["state"] for job in stack.jobs()] == ["done"], "the first job done")
    job = stack.get(f"/api/v1/jobs/{stack.jobs()[0]['id']}")
    assert [(item["role"], item["path"]) for item in job["products"]] == [
        ("out", f"{FOLDER}/{FIRST}")
    ]
    assert stack.archived(f"{FOLDER}/{FIRST}") == file.read_bytes()

    # The worker is killed while it waits to publish: container and job start again by themselves.
    file = make_l0_file(tmp_path, slot=3, frame=400)
    assert file.name == SECOND
    with stack.locked(LOCK):
        stack.drop(file)
        stack.wait(lambda: stack.jobs()[0]["state"] == "running", "the second job running")
        stack.inside("worker-ingest", "sh", "-c", "kill -9 $(cat /proc/1/task/1/children) || true")
        stack.wait(lambda: stack.jobs()[0]["try"] == 2, "the second job tried again")
    stack.wait(lambda: stack.jobs()[0]["state"] == "done", "the second job done")
    assert stack.archived(f"{FOLDER}/{SECOND}") == file.read_bytes()
    assert stack.state("worker-ingest")["RestartCount"] == 1


@pytest.mark.parametrize("service", SERVICES)
def test_container_may_do_little(stack: Stack, service: str) -> None:
    state = stack.state(service)
    host = state["HostConfig"]
    assert state["Config"]["User"] == ("999:999" if service == "redis" else "10001:10001")
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Init"]
    assert host["Memory"] > 0
    bindings = host["PortBindings"] or {}
    assert list(bindings) == (["8765/tcp"] if service == "web" else [])
    assert all(item["HostIp"] == "127.0.0.1" for ports in bindings.values() for item in ports)


def test_secrets_are_not_in_the_environment(stack: Stack) -> None:
    url = Path(stack.environment["SECRETS"], "acaflow_redis_url").read_text(encoding="ascii")
    password = url.removeprefix("redis://:").partition("@")[0]
    assert len(password) == 48
    for service in SERVICES:
        assert password not in json.dumps(stack.state(service))


def test_redis_asks_for_the_password(stack: Stack) -> None:
    assert b"NOAUTH" in stack.inside("redis", "redis-cli", "ping")
