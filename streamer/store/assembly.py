"""A new database of sorted files that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rocksdict import WriteBatch

from streamer.store.families import Families
from streamer.store.faults import fault
from streamer.store.options import OptionSet

__all__ = ["assemble"]


def assemble(
    directory: Path,
    families: Mapping[str, Sequence[Sequence[Path]]],
    records: Mapping[bytes, bytes],
    *,
    options: OptionSet,
    after_family: Callable[[], None],
) -> None:
    """Make a database in a new directory: `families` with their files, then the metadata `records`.

    The files of one inner sequence do not overlap each other; those of two may lie between each
    other, as long as no key is in both, and are then merged into one level, which takes their size
    once more on the disk. Files are moved into the database, so they are to be links or copies.
    All is on the disk when this returns. Raises StateDirectoryError where the disk
    refuses, TaskCorruptedError for a file that RocksDB cannot read.
    """
    opened: Families | None = None
    try:
        directory.mkdir(mode=0o700)
        opened = Families(directory, families, options)
        opened.compact_by_hand()
        for name, groups in families.items():
            for group in groups:
                opened.ingest_files(name, group)
            # What lies between other files stays in level 0, and RocksDB writes to no database that
            # has 36 files there: four parents with states of some GB have as many.
            if len(groups) > 1:
                opened.compact(name)
            after_family()
        batch = WriteBatch(raw_mode=True)
        for key, value in records.items():
            batch.put(key, value)
        opened.write(batch)
        opened.flush(wait=True)
    except Exception as error:
        raise fault(error, "putting sorted files together", directory) from None
    finally:
        if opened is not None:
            opened.close()
