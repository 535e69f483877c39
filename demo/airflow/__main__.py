"""`make airflow`: a local Airflow for an application whose Kafka runs already, until Ctrl-C.

The application is what the command line, the environment or streamer.toml say, as for every
command of `streamer`; on a terminal it is asked for what is missing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from types import FrameType

from demo.airflow.choosing import choices
from demo.airflow.connection import CONNECTION, body, check, store
from demo.airflow.local import LocalAirflow
from demo.airflow.rest import ApiError
from streamer.cli.options import APP_VARIABLE, add_application, application
from streamer.config import Config
from streamer.errors import StreamerError
from streamer.kafka.admin import Admin

__all__ = ["main"]

_HOME = ".streamer/airflow"
_PORT = 8080
_KAFKA_S = 10.0
_LOOK_S = 1.0
_INTERRUPTED = 130


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _ask(arguments)
        config = application(arguments)
        print(f"asking Kafka at {config.bootstrap_servers}", flush=True)
        Admin(config, timeout_s=_KAFKA_S).topics()
        return _run(arguments, config)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except StreamerError as error:
        print(f"airflow: {error.describe()}", file=sys.stderr)
        return error.exit_code
    except (ApiError, OSError) as error:
        print(f"airflow: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo.airflow",
        description="Airflow on this machine, for an application whose Kafka runs already.",
    )
    add_application(parser)
    parser.add_argument(
        "--port", type=int, default=_PORT, help=f"of Airflow, on loopback (default: {_PORT})"
    )
    parser.add_argument(
        "--home",
        metavar="DIRECTORY",
        default=_HOME,
        help=f"where its database, logs and passwords stay (default: {_HOME})",
    )
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ask(arguments: argparse.Namespace) -> None:
    """For what nobody has said, where somebody is there to answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not (arguments.app or os.environ.get(APP_VARIABLE)):
        arguments.app = _answer("application (its id, or MODULE:APP)")
        config = application(arguments)
        if "bootstrap_servers" not in config.origins:
            servers = _answer("Kafka (host:port)", config.bootstrap_servers)
            arguments.bootstrap_servers = servers
        if not config.snapshot_repository:
            where = _answer("repository of its snapshots, such as s3://bucket/prefix", "none")
            if where != "none":
                arguments.sets.append(f"snapshot_repository={where}")


def _answer(question: str, default: str = "") -> str:
    while True:
        given = input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        if given:
            return given


def _run(arguments: argparse.Namespace, config: Config) -> int:
    # What somebody has set is not asked for again.
    is_told = "AIRFLOW__STREAMER__CHOICES" in os.environ
    settings = {} if is_told else {"streamer.choices": choices(config)}
    airflow = LocalAirflow(arguments.home, port=arguments.port, settings=settings)
    try:
        print("starting Airflow; the first start makes its database", flush=True)
        airflow.start()
        if airflow.ended_leftovers:
            print(f"ended {airflow.ended_leftovers} processes of an Airflow that was killed")
        _connect(airflow, config)
        _print(airflow)
        stopped = threading.Event()
        while not stopped.wait(_LOOK_S):
            airflow.check()
        return 0
    except KeyboardInterrupt:
        print("\nstopping Airflow", flush=True)
        return _INTERRUPTED
    finally:
        # A second Ctrl-C would leave its processes to be ended by the keeper alone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        airflow.stop()


def _connect(airflow: LocalAirflow, config: Config) -> None:
    variable = f"AIRFLOW_CONN_{CONNECTION.upper()}"
    if variable in os.environ:
        print(f"the connection {CONNECTION} is the one of the variable {variable}")
        return
    wanted = body(config)
    api = airflow.api()
    if store(api, wanted):
        works, told = check(api, wanted)
        print(f"connection {CONNECTION}: {'' if works else 'it does not work: '}{told}")
    else:
        print(f"the connection {CONNECTION} is there, and stays as it is")


def _print(airflow: LocalAirflow) -> None:
    print(f"\n  Airflow   {airflow.url}")
    for name, password in airflow.passwords.items():
        print(f"  login     {name}  {password}")
    print(f"  files     {airflow.home}\n\nCtrl-C stops it.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
