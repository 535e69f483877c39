"""What is SSH's alone: who is trusted, who is let in, connections that die."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from paramiko import SFTPClient
from paramiko.sftp import CMD_EXTENDED, CMD_MKDIR, CMD_RENAME, CMD_STAT

from streamer.config import Config
from streamer.errors import (
    ConfigError,
    RepositoryError,
    RepositoryUnavailableError,
)
from streamer.sandbox import ssh_server
from streamer.sandbox.ssh_server import SshServer
from streamer.snapshot.fetch import fetch
from streamer.snapshot.opening import open_repository
from streamer.snapshot.remote.api import of_bytes
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.remote.ssh import SshBackend, link
from streamer.snapshot.remote.steady import SteadyBackend
from tests.unit.snapshot.places import ssh_access
from tests.unit.snapshot.rig import checkpoint, content, read, repository, shelf, snapshot

MIB = 1024 * 1024


@pytest.fixture
def own_server() -> Iterator[SshServer]:
    """A server that the test may stop."""
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    with SshServer() as server:
        yield server


def backend_of(server: SshServer, root: Path, **changes: object) -> SshBackend:
    access = replace(ssh_access(server), **changes)  # type: ignore[arg-type]
    return SshBackend(str(root), access)


def test_a_host_that_is_not_known_is_refused_with_the_command_that_adds_it(
    own_server: SshServer, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    backend = backend_of(own_server, tmp_path, known_hosts=known)
    with pytest.raises(RepositoryError, match=r"not in .*known_hosts; .*SHA256:") as raised:
        backend.stat("key")
    assert not isinstance(raised.value, RepositoryUnavailableError)
    command = raised.value.hint.partition("then: ")[2]
    assert command == f"ssh-keyscan -p {own_server.port} 127.0.0.1 >> {known}"
    assert not known.exists()

    subprocess.run(command, shell=True, check=True, capture_output=True)

    assert backend.stat("key") is None
    backend.close()


@pytest.mark.slow
@pytest.mark.parametrize("sftp_only", [False, True])
@pytest.mark.parametrize("size", [5_000, 2 * MIB])
def test_what_has_its_name_is_on_the_disk(
    sftp_only: bool, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    asked: list[int] = []
    request = SFTPClient._request

    def listening(self: SFTPClient, kind: int, *given: object) -> object:
        answer = request(self, kind, *given)
        asked.append(kind)
        return answer

    monkeypatch.setattr(SFTPClient, "_request", listening)
    with SshServer(sftp_only=sftp_only) as server:
        backend = backend_of(server, tmp_path / "repository")
        assert backend.put("key", of_bytes(b"x" * size), size=size)
        assert b"".join(backend.read("key")) == b"x" * size
        backend.close()
    # Larger ones go through `dd`, which syncs by itself.
    synced = [CMD_EXTENDED] * (sftp_only or size < MIB)
    assert [kind for kind in asked if kind in (CMD_EXTENDED, CMD_MKDIR, CMD_RENAME)] == [
        # Each directory's name is as durable as the names in it.
        *([CMD_MKDIR, CMD_EXTENDED] * 2),
        *synced,
        *(CMD_RENAME, CMD_EXTENDED),
    ]


def test_a_server_that_cannot_sync_a_directory_is_told_of_once(
    own_server: SshServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened = SFTPClient.open
    tried: list[str] = []

    def files_alone(self: SFTPClient, name: str, *given: object) -> object:
        if Path(name).is_dir():
            tried.append(name)
            raise OSError("Failure")
        return opened(self, name, *given)

    monkeypatch.setattr(SFTPClient, "open", files_alone)
    backend = backend_of(own_server, tmp_path / "repository")
    for key in ("one", "two"):
        assert backend.put(key, of_bytes(b"x"), size=1)
        assert b"".join(backend.read(key)) == b"x"
    backend.close()
    assert tried == [str(tmp_path)]
    [told] = [each.getMessage() for each in caplog.records if "cannot sync" in each.getMessage()]
    assert "a power cut there may take the last names away" in told


def test_known_hosts_that_cannot_be_read_are_named(own_server: SshServer, tmp_path: Path) -> None:
    backend = backend_of(own_server, tmp_path, known_hosts=tmp_path)
    with pytest.raises(RepositoryError, match="no connection") as raised:
        backend.stat("key")
    assert not isinstance(raised.value, RepositoryUnavailableError)
    assert str(tmp_path) in raised.value.hint


def test_a_host_whose_key_has_changed_is_refused(own_server: SshServer, tmp_path: Path) -> None:
    backend = backend_of(own_server, tmp_path)
    assert backend.stat("key") is None
    own_server.stop()
    own_server.renew_host_key(is_known=False)
    own_server.start()
    backend.close()
    with pytest.raises(RepositoryError, match="the host was changed, or it is another") as raised:
        backend.stat("key")
    assert "ssh-keygen -R" in raised.value.hint
    assert not isinstance(raised.value, RepositoryUnavailableError)


def test_only_the_key_that_is_set_is_tried(
    own_server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "stranger"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)]
    subprocess.run(command, check=True)
    # What an agent or ~/.ssh would offer is right, and must not be offered.
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_bytes(own_server.key_file.read_bytes())
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    (home / ".ssh" / "config").write_text(f"Host *\n  IdentityFile {own_server.key_file}\n")
    (home / ".fabric.json").write_text(
        '{"connect_kwargs": {"allow_agent": true}, "gateway": "127.0.0.2", "user": "nobody"}'
    )
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(RepositoryError, match="is not let in with") as raised:
        backend_of(own_server, tmp_path, key_file=stranger).stat("key")
    assert "authorized_keys" in raised.value.hint


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "cannot be read"),
        ("open to all", "only its owner can read"),
        ("with a passphrase", "has a passphrase"),
        ("no key", "no connection"),
    ],
)
def test_a_key_that_is_no_use_is_named(
    own_server: SshServer, tmp_path: Path, kind: str, said: str
) -> None:
    key = tmp_path / "key"
    if kind == "with a passphrase":
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)]
        subprocess.run(command, check=True)
    elif kind != "missing":
        key.write_bytes(b"no key" if kind == "no key" else own_server.key_file.read_bytes())
        key.chmod(0o644 if kind == "open to all" else 0o600)
    with pytest.raises(RepositoryError, match=said) as raised:
        backend_of(own_server, tmp_path, key_file=key).stat("key")
    assert raised.value.hint
    assert not isinstance(raised.value, RepositoryUnavailableError)


def test_a_host_that_is_away_may_come_back(own_server: SshServer, tmp_path: Path) -> None:
    backend = SteadyBackend(backend_of(own_server, tmp_path / "repository"), 30_000)
    backend.put("key", of_bytes(b"x" * 2 * MIB), size=2 * MIB)
    own_server.stop()
    threading.Timer(1.0, own_server.start).start()

    assert len(b"".join(backend.read("key"))) == 2 * MIB
    backend.close()


def sessions(server: SshServer) -> list[int]:
    """The processes that serve connections of this server."""
    assert server._process is not None
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = entry.read_text().rpartition(")")[2].split()[1]
            if int(parent) == server._process.pid:
                found.append(int(entry.parent.name))
    return found


@pytest.mark.parametrize("call", ["read", "put"])
def test_a_connection_that_is_cut_in_a_transfer_is_no_end_of_a_file(
    own_server: SshServer, tmp_path: Path, call: str
) -> None:
    backend = backend_of(own_server, tmp_path / "repository")
    size = 30 * MIB
    cut = threading.Event()

    def kill() -> None:
        if not cut.is_set():
            cut.set()
            for pid in sessions(own_server):
                os.kill(pid, signal.SIGKILL)

    def sent() -> Iterator[bytes]:
        for number in range(size // MIB):
            if number == 10:
                kill()
                time.sleep(0.1)
            yield b"x" * MIB

    if call == "put":
        with pytest.raises(RepositoryUnavailableError):
            backend.put("key", sent, size=size)
        assert backend.stat("key") is None
    else:
        backend.put("key", lambda: [b"x" * MIB] * 30, size=size)
        chunks = backend.read("key")
        next(chunks)
        kill()
        with pytest.raises(RepositoryUnavailableError):
            b"".join(chunks)
    steady = SteadyBackend(backend, 10_000)
    assert steady.put("after", of_bytes(b"x"), size=1), "the next request connects anew"
    backend.close()


def test_new_keys_in_the_middle_of_transfers_stop_them_for_a_moment_only(
    own_server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library may lose the connection over it, where a channel is closed meanwhile."""
    monkeypatch.setattr(link, "REKEY_BYTES", MIB)
    monkeypatch.setattr(link, "REKEY_S", 0.1)
    files = {f"file-{number:02}": content(MIB, number) for number in range(20)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    backend = SteadyBackend(backend_of(own_server, tmp_path), 60_000)
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda name: b"".join(backend.read(name)), files)
        assert list(found) == list(files.values())
    backend.close()


def test_an_answer_that_makes_no_sense_is_asked_for_once_more(
    own_server: SshServer, tmp_path: Path
) -> None:
    """Where one was not read to its end, the next begins in the middle of it."""
    backend = backend_of(own_server, tmp_path)
    assert backend.put("key", of_bytes(b"x"), size=1)
    for _ in range(2):
        with backend._link.files() as sftp:
            sftp._async_request(type(None), CMD_STAT, str(tmp_path).encode())
            sftp.sock.recv(3)
        with pytest.raises(RepositoryUnavailableError, match="Garbage packet"):
            backend.stat("key")
        assert backend.stat("key") is not None
    backend.close()


def test_a_standby_pulls_what_another_host_keeps_as_files(
    own_server: SshServer, tmp_path: Path
) -> None:
    files = {f"{number:06d}.sst": content(400_000, number) for number in range(5)}
    source = checkpoint(tmp_path / "one", files)
    root = tmp_path / "repository"
    made = snapshot(repository(DirectoryBackend(root)), source)

    config = Config(
        application_id="spend",
        snapshot_repository=f"ssh://{own_server.user}@127.0.0.1:{own_server.port}{root}",
        snapshot_ssh_key=own_server.key_file,
        snapshot_ssh_known_hosts=own_server.known_hosts,
        snapshot_patience_ms=2_000,
    )
    with open_repository(config) as place:
        fetched = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert read(fetched.directory) == read(source)


def test_what_a_login_prints_is_not_taken_for_contents(
    own_server: SshServer, tmp_path: Path
) -> None:
    """As a start-up file of a shell would: every command begins with a greeting."""
    backend = backend_of(own_server, tmp_path / "repository")
    real = backend._link.command

    def greeting(words: list[str]) -> object:
        return real(["sh", "-c", 'echo welcome; exec "$@"', "sh", *words])

    backend._link.command = greeting  # type: ignore[method-assign, assignment]
    sent = content(2 * MIB, 5)
    assert backend.put("key", of_bytes(sent), size=len(sent))
    assert b"".join(backend.read("key")) == sent
    assert backend._has_shell is False
    backend.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_named(
    own_server: SshServer, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RepositoryError, match="Permission denied"):
        backend_of(own_server, tmp_path / "repository").put("key", of_bytes(b"x"), size=1)


def test_a_path_that_is_a_file_is_named(own_server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    backend = backend_of(own_server, tmp_path / "file")
    with pytest.raises(RepositoryError, match="writing key") as raised:
        backend.put("key", of_bytes(b"x"), size=1)
    assert not isinstance(raised.value, RepositoryUnavailableError)
    backend.close()


def test_an_address_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="snapshot_ssh_key is not set"):
        Config(application_id="spend", snapshot_repository="ssh://me@host/srv/snapshots")


def test_a_cipher_that_needs_one_pass_is_chosen(own_server: SshServer, tmp_path: Path) -> None:
    backend = backend_of(own_server, tmp_path)
    assert "gcm" in backend._link._transport().remote_cipher
    backend.close()


def test_words_of_a_command_are_quoted(own_server: SshServer, tmp_path: Path) -> None:
    """Keys and paths are plain by their own checks; this is the second lock on the same door."""
    backend = backend_of(own_server, tmp_path)
    marker = tmp_path / "run"
    with backend._link.command(["echo", f"$(touch {marker}); touch {marker} 'x"]) as channel:
        said = channel.recv(1000).decode()
    assert said == f"$(touch {marker}); touch {marker} 'x\n"
    assert not marker.exists()
    backend.close()
