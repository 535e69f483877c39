"""What is S3's alone: credentials, ignored conditions, rules that delete, broken uploads."""

from __future__ import annotations

import datetime
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from streamer.config import Config
from streamer.errors import ConfigError, RepositoryError, RepositoryUnavailableError
from streamer.sandbox import object_store
from streamer.sandbox.object_store import ObjectStore
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.opening import open_repository
from streamer.snapshot.orphans import sweep
from streamer.snapshot.remote.api import of_bytes
from streamer.snapshot.remote.s3 import S3Access, S3Backend
from streamer.snapshot.remote.s3.client import translated
from streamer.snapshot.remote.steady import SteadyBackend
from streamer.snapshot.transfer import Progress
from tests.unit.snapshot.places import BUCKET, BUILD_S, s3_access
from tests.unit.snapshot.rig import ABOUT, checkpoint, content, read, repository, shelf, snapshot

pytestmark = pytest.mark.timeout(BUILD_S)

MIB = 1024 * 1024


@pytest.fixture
def own_server() -> Iterator[ObjectStore]:
    """A server that the test may stop."""
    if reason := object_store.missing():
        pytest.skip(f"{reason}, so nothing was tried against a real S3 server")
    with ObjectStore() as store:
        store.make_bucket(BUCKET)
        yield store


def test_credentials_that_expire_half_way_cost_nothing_that_was_sent(
    own_server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number:06d}.sst": content(100_000, number) for number in range(6)}
    source = checkpoint(tmp_path / "one", files)
    backend = S3Backend(BUCKET, "", s3_access(own_server))
    place = repository(backend)
    old = own_server.secret_key

    def expire(progress: Progress) -> None:
        is_half_way = progress.phase == "send" and progress.files_done == 3
        if is_half_way and own_server.secret_key == old:
            own_server.stop()
            own_server.secret_key = "another"
            own_server.start()

    with pytest.raises(RepositoryError, match="SignatureDoesNotMatch") as raised:
        create(place, shelf(place), Checkpoint(source), about=ABOUT, report=expire)
    assert "is kept and not sent again" in raised.value.hint
    assert not isinstance(raised.value, RepositoryUnavailableError)

    renewed = repository(S3Backend(BUCKET, "", s3_access(own_server)))
    assert shelf(renewed).manifests() == []
    made = snapshot(renewed, source)
    assert made.sent_files == len(files) + 2 - 3


def test_a_server_that_dies_and_comes_back_is_waited_for(
    own_server: ObjectStore, tmp_path: Path
) -> None:
    files = {f"{number:06d}.sst": content(100_000, number) for number in range(6)}
    source = checkpoint(tmp_path / "one", files)
    place = repository(SteadyBackend(S3Backend(BUCKET, "", s3_access(own_server)), 60_000))
    died = threading.Event()

    def die(progress: Progress) -> None:
        if progress.phase == "send" and progress.files_done == 3 and not died.is_set():
            died.set()
            assert own_server._process is not None
            own_server._process.send(signal.SIGKILL)
            threading.Timer(1.0, own_server.start).start()

    made = create(place, shelf(place), Checkpoint(source), about=ABOUT, report=die)

    assert died.is_set()
    fetched = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert read(fetched.directory) == read(source)


def test_wrong_credentials_and_buckets_are_named(
    s3_server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = s3_access(s3_server)
    backend = S3Backend("no-such-bucket", "", access)
    with pytest.raises(RepositoryError, match="NoSuchBucket") as raised:
        backend.put("key", of_bytes(b"x"), size=1)
    assert "make the bucket first" in raised.value.hint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(RepositoryError, match="reading key") as raised:
        b"".join(S3Backend(BUCKET, "", access).read("key"))
    assert not isinstance(raised.value, RepositoryUnavailableError)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RepositoryError, match="no credentials") as raised:
        S3Backend(BUCKET, "", access).stat("key")
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint


def test_keys_of_the_settings_win_over_the_chain(
    own_server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of that")
    given = {
        "application_id": "app",
        "snapshot_repository": f"s3://{BUCKET}/own",
        "snapshot_s3_endpoint": own_server.endpoint,
    }
    config = Config(
        **given,  # type: ignore[arg-type]
        snapshot_s3_access_key=own_server.access_key,
        snapshot_s3_secret_key=own_server.secret_key,
    )
    with open_repository(config) as place:
        assert place.shelves("app") == []
    with pytest.raises(ConfigError, match="only one is set"):
        open_repository(Config(**given, snapshot_s3_access_key="AK"))  # type: ignore[arg-type]


def test_a_secret_key_is_not_shown() -> None:
    assert "hunter2" not in repr(S3Access(access_key="AK", secret_key="hunter2"))


def test_a_server_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    backend = S3Backend(BUCKET, "", S3Access(endpoint="http://127.0.0.1:1", region="us-east-1"))
    with pytest.raises(RepositoryUnavailableError):
        backend.stat("key")


def test_settings_reach_a_real_server(
    s3_server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_access(s3_server)
    config = Config(
        application_id="spend",
        snapshot_repository=f"s3://{BUCKET}/of/settings",
        snapshot_s3_endpoint=s3_server.endpoint,
        snapshot_patience_ms=1_000,
    )
    with open_repository(config) as place:
        made = snapshot(place, checkpoint(tmp_path / "one", {"000001.sst": b"x" * 10}))
        assert [found.id for found in shelf(place).manifests()] == [made.manifest.id]
    assert (s3_server.data / BUCKET / "of" / "settings" / "streamer-repository").exists()


def test_an_upload_that_was_killed_is_found_and_removed(
    s3_server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = S3Backend(BUCKET, "killed/", s3_access(s3_server))
    place = repository(backend)
    where = {"Bucket": BUCKET, "Key": "killed/applications/x"}
    upload = backend._client.create_multipart_upload(**where)
    part = {**where, "UploadId": upload["UploadId"]}
    backend._client.upload_part(**part, PartNumber=1, Body=b"x" * 100)
    place.make_fit()
    assert sweep(place).unfinished == [], "it may still be on its way"
    monkeypatch.setattr("streamer.snapshot.orphans.UNFINISHED_MS", -1)

    shown = sweep(place)
    assert [found.key.partition("?")[0] for found in shown.unfinished] == ["applications/x"]
    assert sweep(place, dry_run=False).removed == 1
    assert [*backend.unfinished()] == []


class Ignorant:
    """A server that takes `If-None-Match` for noise, as some do."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, *, IfNoneMatch: str, **wanted: Any) -> Any:  # noqa: N803
        assert IfNoneMatch == "*"
        return self._client.put_object(**wanted)


def test_a_server_without_conditional_writes_is_refused_at_the_first_write(
    s3_server: ObjectStore, tmp_path: Path
) -> None:
    backend = S3Backend(BUCKET, "ignorant/", s3_access(s3_server))
    backend._client = Ignorant(backend._client)
    place = repository(backend)
    with pytest.raises(RepositoryError, match="both were told that they were first") as raised:
        snapshot(place, checkpoint(tmp_path / "one", {}))
    assert "If-None-Match" in raised.value.hint
    assert [*backend.list("")] == []


def rules(*rule: dict[str, Any]) -> Callable[[Stubber], None]:
    def add(stubber: Stubber) -> None:
        answer = {"Rules": [{"ID": "clean-up", "Status": "Enabled", **each} for each in rule]}
        stubber.add_response("get_bucket_lifecycle_configuration", answer)

    return add


def refused(code: str, status: int) -> Callable[[Stubber], None]:
    def add(stubber: Stubber) -> None:
        stubber.add_client_error("get_bucket_lifecycle_configuration", code, "", status)

    return add


EXPIRES = {"Expiration": {"Days": 30}}
TAGS = [{"Key": "a", "Value": "b"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "is_refused"),
    [
        (rules({**EXPIRES, "Filter": {"Prefix": ""}}), True),
        (rules({**EXPIRES, "Filter": {"Prefix": "team/snapshots/applications/"}}), True),
        (rules({**EXPIRES, "Filter": {"Prefix": "team/"}}), True),
        (rules({**EXPIRES, "Prefix": "team/snap"}), True),
        (
            rules(
                {
                    **EXPIRES,
                    "Filter": {"And": {"Prefix": "team/", "Tags": [{"Key": "a", "Value": "b"}]}},
                }
            ),
            True,
        ),
        (rules({"Expiration": {"Date": datetime.datetime(2030, 1, 1)}, "Filter": {}}), True),
        (rules({**EXPIRES, "Filter": {"Prefix": "logs/"}}), False),
        (rules({**EXPIRES, "Filter": {"Prefix": ""}, "Status": "Disabled"}), False),
        (rules({"Expiration": {"ExpiredObjectDeleteMarker": True}, "Filter": {}}), False),
        (
            rules({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}, "Filter": {}}),
            False,
        ),
        (refused("NoSuchLifecycleConfiguration", 404), False),
        (refused("NotImplemented", 501), False),
        (refused("AccessDenied", 403), False),
    ],
)
def test_a_bucket_whose_rules_delete_by_age_is_refused(
    answer: Callable[[Stubber], None], is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = stubbed(monkeypatch)
    with Stubber(backend._client) as stubber:
        answer(stubber)
        if not is_refused:
            backend.check_writable()
            return
        with pytest.raises(RepositoryError, match="lifecycle rule 'clean-up'") as raised:
            backend.check_writable()
    assert "remove the rule" in raised.value.hint


def stubbed(
    monkeypatch: pytest.MonkeyPatch, *, encryption: str = "", kms_key: str = ""
) -> S3Backend:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    access = S3Access(region="eu-west-1", encryption=encryption, kms_key=kms_key)
    return S3Backend("bucket", "team/snapshots/", access)


def test_the_server_is_asked_to_encrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = stubbed(monkeypatch, encryption="aws:kms", kms_key="key-1")
    asked = {
        "Bucket": "bucket",
        "Key": "team/snapshots/key",
        "Body": b"x",
        "IfNoneMatch": "*",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key-1",
    }
    with Stubber(backend._client) as stubber:
        stubber.add_response("put_object", {}, asked)
        assert backend.put("key", of_bytes(b"x"), size=1)


def answered(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "passes", "hint"),
    [
        (answered("SlowDown", 503), True, ""),
        (answered("InternalError", 500), True, ""),
        (answered("ConditionalRequestConflict", 409), True, ""),
        (EndpointConnectionError(endpoint_url="http://x"), True, ""),
        (answered("ExpiredToken", 400), False, "renew the credentials"),
        (answered("AccessDenied", 403), False, "PutObject"),
        (answered("RequestTimeTooSkewed", 403), False, "this host's clock is off"),
        (answered("NotImplemented", 501), False, "server's log"),
        (answered("QuotaExceeded", 403), False, "raise the quota"),
    ],
)
def test_failures_say_whether_they_may_pass(error: Exception, passes: bool, hint: str) -> None:
    found = translated(error, "writing key")
    assert isinstance(found, RepositoryUnavailableError) == passes
    assert hint in found.hint
    assert found.message.startswith("writing key: ")
