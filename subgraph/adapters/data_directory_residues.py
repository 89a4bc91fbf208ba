"""Owns searching the files of the data directory for traces of an owner, except the stores' own files."""

import asyncio
from collections import Counter
from pathlib import Path

from subgraph.adapters.data_directory import DATABASE_NAME, VALKEY_NAME
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.operations.transfer.owner_records import Residues

FILES_MAX = 100_000
CHUNK_BYTES = 1_048_576
OVERLAP_BYTES = 8_192
"""What two neighbouring chunks share: longer than any trace."""
PERSISTENCE = frozenset({".aof", ".rdb"})
"""The suffixes of what the embedded Valkey writes down; it is asked itself."""


class DataDirectoryResidues:
    """The port ResidueScan on a directory; one that is not there holds nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def residues(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """How many files bear traces."""
        return await asyncio.to_thread(self._scan, traces)

    def _scan(self, traces: Traces) -> Residues:
        found: Counter[str] = Counter()
        try:
            for count, path in enumerate(self._directory.rglob("*")):
                if count >= FILES_MAX:
                    raise Unavailable(f"the data directory holds more than {FILES_MAX:,} files: too many to scan")
                if path.is_file() and not path.is_symlink() and not self._is_asked(path) and _bears(path, traces):
                    found["files"] += 1
        except OSError as error:
            raise Unavailable(f"the data directory cannot be read: {error.strerror}") from error
        return found

    def _is_asked(self, path: Path) -> bool:
        inside = path.relative_to(self._directory)
        is_database = len(inside.parts) == 1 and inside.name.startswith(DATABASE_NAME)
        return is_database or (inside.parts[0] == VALKEY_NAME and path.suffix in PERSISTENCE)


def _bears(path: Path, traces: Traces) -> bool:
    try:
        with path.open("rb") as file:
            kept = b""
            while chunk := file.read(CHUNK_BYTES):
                read = kept + chunk
                # Files are of no tenant: somebody of another one may be called the same.
                if traces.of_sessions(read.decode("latin-1")):
                    return True
                kept = read[-OVERLAP_BYTES:]
    except FileNotFoundError:
        # Files come and go while a server runs.
        pass
    return False
