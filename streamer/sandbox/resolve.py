"""Make a lock file of jars: `python -m streamer.sandbox.resolve GROUP:ARTIFACT:VERSION...`.

For who changes the version of the broker; running the sandbox needs only the result.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from streamer.sandbox.jars import Jar, digest, maven

__all__ = ["resolve"]


def resolve(coordinates: list[str]) -> list[Jar]:
    """All jars that the coordinates need at run time, downloaded once to learn their hashes.

    Each is resolved alone and an artifact that came first stays: resolved together, the versions
    that one of them manages would be forced upon the others.
    """
    from jgo.maven import Dependency

    jars: dict[str, Jar] = {}
    with tempfile.TemporaryDirectory() as temporary:
        context = maven(Path(temporary))
        for coordinate in coordinates:
            group, name, version = coordinate.split(":")
            wanted = Dependency(context.project(group, name).at_version(version).artifact())
            inputs, transitive = context.resolver.resolve([wanted])
            for dependency in [*inputs, *transitive]:
                if dependency.scope not in (None, "compile", "runtime"):
                    continue
                artifact = dependency.artifact
                if (name := f"{artifact.groupId}:{artifact.artifactId}") not in jars:
                    path = Path(artifact.resolve())
                    full_name = f"{name}:{artifact.version}"
                    jars[name] = Jar(full_name, path.stat().st_size, digest(path))
    return list(jars.values())


if __name__ == "__main__":
    for jar in resolve(sys.argv[1:]):
        print(jar.coordinate, jar.size_bytes, jar.sha256)
