"""`SshServer`: a real sshd on loopback as a child process, for development and tests.

    with SshServer() as server:
        server.port, server.user, server.key_file, server.known_hosts

It has keys of its own, lets in the user that started it and nobody else, and dies with this
process. With `sftp_only` it runs no commands. The login's home is an empty directory, so that no
start-up file of a shell delays or speaks.
"""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail, wait_until_it_answers

__all__ = ["SshServer", "missing"]

START_S = 20.0
STOP_S = 5.0
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin")

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
AllowUsers {user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxStartups 50
LogLevel INFO
SetEnv HOME={directory}/home
Subsystem sftp internal-sftp
{more}
"""


class SshServer:
    """One sshd. `port` 0 means a free one, which stays for the next start, as the keys do."""

    def __init__(self, *, port: int = 0, sftp_only: bool = False) -> None:
        self._port = port
        self._sftp_only = sftp_only
        self._directory: Path | None = None
        self._process: ServerProcess | None = None
        self.user = getpass.getuser()

    @property
    def port(self) -> int:
        """Known from the first start on."""
        if not self._port:
            raise OperationRefusedError("sshd has no port yet", hint="call start()")
        return self._port

    @property
    def key_file(self) -> Path:
        """The private key that is let in."""
        return self.directory / "user_key"

    @property
    def known_hosts(self) -> Path:
        """A file that knows this server's key."""
        return self.directory / "known_hosts"

    @property
    def directory(self) -> Path:
        assert self._directory is not None, "not started"
        return self._directory

    def start(self, *, timeout: float = START_S) -> Self:
        """Returns when it answers. Raises SandboxError, with the end of its log."""
        if self._process is not None and self._process.exit_status is None:
            raise OperationRefusedError("sshd runs already", hint="call stop() first")
        if reason := missing():
            raise SandboxError(reason, hint="on Debian and Ubuntu: apt-get install openssh-server")
        self._port = self._port or free_ports(1)[0]
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="streamer-sshd-"))
            atexit.register(self.remove)
            (self._directory / "home").mkdir()
            _make_key(self.key_file)
            self.renew_host_key()
            public = self.key_file.with_suffix(".pub").read_text()
            (self._directory / "authorized_keys").write_text(public)
        if os.geteuid() == 0:
            # sshd of Debian refuses to start without it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self._directory / "sshd_config"
        config.write_text(
            _CONFIG.format(
                port=self._port,
                directory=self._directory,
                user=self.user,
                more="ForceCommand internal-sftp" if self._sftp_only else "",
            )
        )
        log = self._directory / "sshd.log"
        self._process = ServerProcess(
            [str(_sshd()), "-D", "-e", "-f", str(config)],
            log=log,
            dies_with_parent=signal.SIGKILL,
        )
        self._process.start()
        problem = wait_until_it_answers(self._process, self._answers, timeout=timeout)
        if problem:
            end_of_log = tail(log)
            self.stop()
            raise SandboxError(f"sshd did not start: {problem}. Its log:\n{end_of_log}")
        return self

    def renew_host_key(self, *, is_known: bool = True) -> None:
        """Make another host key, for the next start; `known_hosts` learns of it if asked to."""
        key = self.directory / "host_key"
        for path in (key, key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        _make_key(key)
        if is_known:
            kind, public = key.with_suffix(".pub").read_text().split()[:2]
            self.known_hosts.write_text(f"[127.0.0.1]:{self._port} {kind} {public}\n")

    def log(self) -> str:
        """The end of what it logged."""
        return tail(self.directory / "sshd.log", lines=50)

    def stop(self) -> None:
        """Stop it; connections end. Keys and port stay for the next start."""
        if self._process is not None and self._process.exit_status is None:
            self._process.stop(STOP_S)
        self._process = None

    def remove(self) -> None:
        """Stop it and remove its keys."""
        self.stop()
        atexit.unregister(self.remove)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), 2) as connection:
            connection.settimeout(2)
            return connection.recv(64).startswith(b"SSH-")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.remove()


def missing() -> str:
    """Why no sshd can be started here; empty where one can."""
    if _sshd() is None:
        return "sshd is not installed"
    if shutil.which("ssh-keygen") is None:
        return "ssh-keygen is not installed"
    return ""


def _sshd() -> Path | None:
    found = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), *_PLACES)))
    return Path(found).absolute() if found else None


def _make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
