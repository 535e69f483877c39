"""The schema registry: which schema an id means, and which id a schema has.

One connection per process and settings, made at the first record that needs it and never before.
An answer about a schema never changes, so each is asked for once. A registry that does not answer
raises RegistryUnavailableError, which is never the record's fault; an id that it does not know is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from streamer.config import Config
from streamer.config.names import nearest
from streamer.errors import ConfigError, RegistryUnavailableError, SerdeError, StreamerError
from streamer.kafka.registry.wire import Place
from streamer.kafka.secrets import without_credentials

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient

__all__ = ["NAMES", "Registry", "check", "refused", "registry_of"]

R = TypeVar("R")

# The client has no time limit of its own, and a record must not wait for ever.
_TIMEOUT_SECONDS = 10
_NUMBERS = frozenset(
    (
        "cache.capacity",
        "cache.latest.ttl.sec",
        "max.retries",
        "retries.max.wait.ms",
        "retries.wait.ms",
        "timeout",
    )
)
# The client has no list of what it takes; it asks for each name where it needs it.
NAMES = _NUMBERS | {
    "basic.auth.user.info",
    "bearer.auth.client.id",
    "bearer.auth.client.secret",
    "bearer.auth.credentials.source",
    "bearer.auth.custom.provider.config",
    "bearer.auth.custom.provider.function",
    "bearer.auth.identity.pool.id",
    "bearer.auth.issuer.endpoint.query",
    "bearer.auth.issuer.endpoint.url",
    "bearer.auth.logical.cluster",
    "bearer.auth.scope",
    "bearer.auth.token",
    "proxy",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "url",
}
_PREFIX = "schema.registry."


def check(config: Config) -> None:
    """Raise ConfigError for an entry of `schema_registry` that is unknown, whether a serde needs
    the registry or not. Values are checked by the client, which the first serde makes."""
    for name in config.schema_registry:
        if name not in NAMES:
            guess = nearest(name.lower().removeprefix(_PREFIX), NAMES)
            known = ", ".join(sorted(NAMES))
            raise ConfigError(
                f"{config.source(f'schema_registry.{name}')}: schema_registry has no setting"
                f" {name!r}",
                hint=f"did you mean {guess}?" if guess else f"it takes {known}",
            )


class Registry:
    """A client of one registry, with this project's errors."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if not settings.get("url"):
            raise ConfigError(
                "no schema registry is configured, but a serde needs one",
                hint="set schema_registry={'url': 'http://localhost:8081'}",
            )
        self.url = without_credentials(str(settings["url"]))
        self.client = _connect(settings)

    def schema(self, identity: int, place: Place, *, form: str | None = None) -> Schema:
        """The schema with this id; `form` asks for another text of it than the usual one."""
        found = self.ask(
            f"schema id {identity}, which a record of {place} names,",
            lambda: self.client.get_schema(identity, fmt=form),
        )
        if found.rule_set is not None and _has_rules(found.rule_set):
            raise SerdeError(
                f"{place}: schema id {identity} carries rules (encryption, migration or checks),"
                " which are not run here",
                hint="write a serde of your own around the client library's deserializer",
            )
        return found

    def version(self, subject: str, version: int) -> Schema:
        """A schema that another one refers to."""
        found = self.ask(
            f"version {version} of subject {subject!r}",
            lambda: self.client.get_version(subject, version),
        )
        return found.schema

    def newest(self, subject: str) -> RegisteredSchema:
        return self.ask(
            f"the newest schema of subject {subject!r}",
            lambda: self.client.get_latest_version(subject),
        )

    def enter(self, subject: str, schema: Schema, *, register: bool) -> int:
        """The id of a schema in its subject; registers it, or only looks it up.

        Raises:
            ConfigError: the registry refuses it, as incompatible with its predecessors for example.
        """
        client = self.client
        what = f"the application's schema in subject {subject!r}"
        try:
            if register:
                return self.ask(what, lambda: client.register_schema(subject, schema))
            return int(self.ask(what, lambda: client.lookup_schema(subject, schema)).schema_id or 0)
        except SerdeError as error:
            raise refused(error, subject, self.newest_id(subject)) from error

    def newest_id(self, subject: str) -> int | None:
        """For messages: None if there is none, or none can be had."""
        try:
            return self.newest(subject).schema_id
        except StreamerError:
            return None

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """For messages: the id of a schema that is in the subject already."""
        try:
            found = self.ask("the schema", lambda: self.client.lookup_schema(subject, schema))
        except StreamerError:
            return None
        return found.schema_id

    def ask(self, what: str, question: Callable[[], R]) -> R:
        """Run a question to the registry, its failures told apart.

        Raises:
            SerdeError: it has no such thing, or refuses it.
            ConfigError: it does not let this client in.
            RegistryUnavailableError: it did not answer, or not as a registry does.
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            return question()
        except SchemaRegistryError as error:
            status = error.http_status_code
            if status in (401, 403):
                raise ConfigError(
                    f"the schema registry {self.url} refused {what} with status {status}: {error}",
                    hint="set basic.auth.user.info, or the token, in schema_registry",
                ) from error
            if status in (404, 409, 422):
                verb = "does not know" if status == 404 else "refused"
                raise SerdeError(
                    f"the schema registry {self.url} {verb} {what}: {error}",
                    hint="look whether the records come from another registry",
                ) from error
            raise self._unavailable(what, error) from error
        except StreamerError:
            raise
        except Exception as error:  # the client raises whatever its HTTP library raises
            raise self._unavailable(what, error) from error

    def _unavailable(self, what: str, error: Exception) -> RegistryUnavailableError:
        return RegistryUnavailableError(
            f"the schema registry {self.url} was asked for {what}"
            f" but did not answer: {type(error).__name__}: {without_credentials(str(error))}",
            hint="start it, or correct schema_registry['url']; nothing is lost meanwhile",
        )


def refused(error: SerdeError, subject: str, newest: int | None) -> ConfigError:
    """A schema that cannot be written: the fault of the application, not of a record."""
    newest_text = "it has none yet" if newest is None else f"its newest schema has id {newest}"
    return ConfigError(
        f"{error} ({newest_text})",
        hint=f"make the schema compatible with that of {subject!r} (a new field needs a default),"
        " change the subject's compatibility, or register the schema first",
    )


def _has_rules(rules: Any) -> bool:
    kinds = ("domain_rules", "migration_rules", "encoding_rules")
    return any(getattr(rules, kind, None) for kind in kinds)


def _connect(settings: Mapping[str, Any]) -> SchemaRegistryClient:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    configured: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS}
    try:
        for name, value in settings.items():
            is_text = name in _NUMBERS and isinstance(value, str)
            configured[name] = float(value) if is_text else value
        # `mock://name` is a registry inside this process, for tests.
        return SchemaRegistryClient.new_client(configured)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"schema_registry is not usable: {without_credentials(str(error))}",
            hint="it takes the settings of the client's SchemaRegistryClient, such as url,"
            " basic.auth.user.info, ssl.ca.location",
        ) from error


_REGISTRIES: dict[str, Registry] = {}


def registry_of(settings: Mapping[str, Any]) -> Registry:
    """The registry with these settings; one per process, so that serdes share its answers."""
    key = repr(sorted((name, repr(value)) for name, value in settings.items()))
    if key not in _REGISTRIES:
        _REGISTRIES[key] = Registry(settings)
    return _REGISTRIES[key]
