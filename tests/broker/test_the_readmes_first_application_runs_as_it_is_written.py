"""The commands of the README's first application, one after the other, on the session's broker.

Names of the application and its topics are made unique; what installs and starts Kafka is left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.broker.conftest import Names, wait_until

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"^## A first application\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_LEFT_OUT = ("python3 -m venv", "pip install", "streamer sandbox up")


class Shell:
    """Runs commands of the page in a directory that has the page's application."""

    def __init__(self, directory: Path, broker: str, names: Names) -> None:
        self.directory = directory
        self._broker = broker
        self._topics = {name: names.topic(name) for name in ("purchases", "customer-totals")}
        environment = {**os.environ, "STREAMER_BOOTSTRAP_SERVERS": broker}
        self._environment = environment | {"STREAMER_STATE_DIR": str(directory / "state")}
        (app,) = re.findall(r"```python\n# shop.py\n(.*?)```", README, re.DOTALL)
        for name, unique in self._topics.items():
            app = app.replace(f'"{name}"', f'"{unique}"')
        app = app.replace('App("spend")', f'App("{names.application}")')
        (directory / "shop.py").write_text(app)

    def start(self, command: str) -> subprocess.Popen[str]:
        text = command.partition("   #")[0]
        for name, unique in self._topics.items():
            text = re.sub(rf"(?<= ){name}(?= |$)", unique, text)
        if "streamer sandbox" in text:
            text += f" --bootstrap-servers {self._broker}"
        text = text.replace("streamer ", f"{shlex.quote(sys.executable)} -m streamer.cli.main ")
        return subprocess.Popen(
            ["sh", "-c", f"exec {text}" if "|" not in text else text],
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        process = self.start(command)
        out, _ = process.communicate(timeout=360)
        return process.returncode, out


def test_the_readmes_first_application_runs(broker: str, names: Names, tmp_path: Path) -> None:
    section = _SECTION.findall(README)[0]
    lines = [
        line
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    commands = [one for one in commands if not one.startswith(_LEFT_OUT)]
    topic, produce, run, query, read, tasks, topology = commands
    shown = lines[lines.index(f"$ {query}") + 1]
    shell = Shell(tmp_path, broker, names)

    assert shell.run(topic)[1].count("created ") == 2
    assert "wrote 3 records" in shell.run(produce)[1]
    workers = shell.start(run)
    try:
        wait_until(lambda: shell.run(query) == (0, f"{shown}\n"), what=f"the answer {shown}")
        code, records = shell.run(read)
        assert (code, len(records.splitlines())) == (0, 2)
        code, table = shell.run(tasks)
        assert (code, table.count("0_")) == (0, 4)
        code, picture = shell.run(topology)
        assert code == 0
        assert picture.startswith("flowchart TD\n")
    finally:
        workers.terminate()
        said, _ = workers.communicate(timeout=360)
    assert workers.returncode == 0, said
