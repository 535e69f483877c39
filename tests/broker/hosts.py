"""Hosts of a scenario on this machine: each has a network of its own, a disk of its own at the same
path, and an sshd. Between them there is one cable; the broker is reached on each one's loopback.

Linux lets root alone make them: where that is not so, `missing` says why.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from streamer.sandbox import ssh_server
from tests.broker.workers import ROOT

__all__ = ["Host", "Hosts", "missing"]

SSH_PORT = 22_022
START_S = 20.0
_TOOLS = ("unshare", "nsenter", "ip", "mount")
_HOLD = 'mount --bind "$0" "$1" && ip link set lo up && echo ready && exec sleep infinity'
_ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
_SSHD = """\
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/user_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
LogLevel INFO
SetEnv HOME={directory}
Subsystem sftp internal-sftp
"""


def missing() -> str:
    """Why no hosts can be made here; empty where they can."""
    if os.geteuid() != 0:
        return "this user is not root, who alone may make network namespaces"
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if reason := ssh_server.missing():
        return reason
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", "ip link add name one type veth peer name two"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"the kernel makes no host: {tried.stderr.strip()}"


class Host:
    """`disk` is what lies at the shared path on this host, as seen from outside."""

    def __init__(self, address: str, disk: Path, process: subprocess.Popen[str]) -> None:
        self.address = address
        self.disk = disk
        self.process = process

    @property
    def inside(self) -> list[str]:
        """Before a command that is to run there; it keeps its process id."""
        place = f"/proc/{self.process.pid}/ns"
        enter = ["nsenter", f"--net={place}/net", f"--mount={place}/mnt"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(ROOT)]

    def run(self, *command: str) -> str:
        done = subprocess.run([*self.inside, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def ask(self, url: str) -> Any:
        """The answer of a server on this host's loopback."""
        return json.loads(self.run(sys.executable, "-c", _ASK, url))


class Hosts:
    """Two of them, `with Hosts(port, path)`: the broker's port, and where each has its disk."""

    def __init__(self, broker_port: int, path: Path) -> None:
        self.path = path
        self.hosts: list[Host] = []
        self._broker_port = broker_port
        self._directory = Path(tempfile.mkdtemp(prefix="streamer-hosts-"))
        self._processes: list[subprocess.Popen[str]] = []
        self.user = getpass.getuser()
        self.key_file = self._directory / "user_key"
        self.known_hosts = self._directory / "known_hosts"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(40)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _make(self) -> None:
        self.path.mkdir(parents=True)
        for key in (self.key_file, self._directory / "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(command, check=True, capture_output=True)
        # What sshd of Debian wants to be there.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        socket = self._directory / "broker"
        self._relay(f"unix:{socket}", f"tcp:{self._broker_port}")
        for number in (1, 2):
            disk = self.path.parent / f"disk-{number}"
            disk.mkdir()
            hold = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _HOLD]
            process = self._start([*hold, str(disk), str(self.path)], "ready")
            self.hosts.append(Host(f"10.77.0.{number}", disk, process))
        first, second = self.hosts
        peer = ["peer", "name", "cable", "netns", str(second.process.pid)]
        first.run("ip", "link", "add", "name", "cable", "type", "veth", *peer)
        public = (self._directory / "host_key.pub").read_text().split()[:2]
        known = [f"[{host.address}]:{SSH_PORT} {' '.join(public)}\n" for host in self.hosts]
        self.known_hosts.write_text("".join(known))
        for host in self.hosts:
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "cable")
            host.run("ip", "link", "set", "cable", "up")
            self._relay(f"tcp:{self._broker_port}", f"unix:{socket}", host.inside)
        for host in self.hosts:
            self._sshd(host)

    def _relay(self, source: str, target: str, inside: Sequence[str] = ()) -> None:
        relay = [sys.executable, "-m", "tests.broker.relay", source, target]
        self._start([*inside, *relay], "listening")

    def _sshd(self, host: Host) -> None:
        config = self._directory / f"sshd-{host.address}"
        config.write_text(
            _SSHD.format(port=SSH_PORT, address=host.address, directory=self._directory)
        )
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        assert sshd is not None
        self._start([*host.inside, sshd, "-D", "-e", "-f", str(config)], "Server listening on")

    def _start(self, command: Sequence[str], says: str) -> subprocess.Popen[str]:
        """Start a process, and wait until it says something."""
        log = self._directory / f"log-{len(self._processes)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True
            )
        self._processes.append(process)
        deadline = time.monotonic() + START_S
        while says not in (said := log.read_text()):
            assert process.poll() is None, f"{command} has ended: {said}"
            assert time.monotonic() < deadline, f"{command}: {said}"
            time.sleep(0.02)
        return process
