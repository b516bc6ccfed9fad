"""What single table files hold: parquet, and the arrow files of `save_to_disk`.

Reads schemas, single columns and counts; imports pyarrow only, so that a fingerprint is cheap.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import DataError

BUFFER_BYTES = 2**20
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class TableFile:
    """One parquet or arrow file.

    `features` describes the columns of a file that `datasets` did not write.
    """

    def __init__(self, path: Path, features: Mapping[str, object] | None = None) -> None:
        self.path = path
        self._features = features
        self._is_arrow = path.suffix == ".arrow"

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, and what `datasets` says of them.

        Raises:
            DataError: the file is not whole.
        """
        if not self.is_described_elsewhere:
            return self._own_schema
        described = {"huggingface": json.dumps({"info": {"features": self._features}})}
        return self._own_schema.with_metadata(described)

    @property
    def is_described_elsewhere(self) -> bool:
        """Whether `features` tells the columns, because the file itself does not."""
        return bool(self._features) and b"huggingface" not in (self._own_schema.metadata or {})

    @cached_property
    def _own_schema(self) -> pa.Schema:
        with reading(self.path):
            return self._read_arrow().schema if self._is_arrow else pq.read_schema(self.path)

    @property
    def n_rows(self) -> int:
        """Number of rows of a parquet file.

        Raises:
            DataError: the file is not whole.
        """
        with reading(self.path):
            return int(pq.read_metadata(self.path).num_rows)

    def read_column(self, column: str) -> pa.ChunkedArray:
        """Reads one column.

        Raises:
            DataError: the file is not whole.
        """
        with reading(self.path):
            table = (
                self._read_arrow()
                if self._is_arrow
                else pq.ParquetFile(self.path).read(columns=[column])
            )
            return table.column(column)

    def read_in_parts(self, column: str, *, n_rows: int) -> Iterator[pa.Array]:
        """Reads a column of a parquet file, so many rows at a time.

        Raises:
            DataError: the file is not whole.
        """
        with reading(self.path):
            # Buffered, and in one thread: else whole groups of rows, which may hold gigabytes.
            file = pq.ParquetFile(self.path, pre_buffer=False, buffer_size=BUFFER_BYTES)
            for batch in file.iter_batches(n_rows, columns=[column], use_threads=False):
                yield batch.column(0)

    def count_rows(self) -> int:
        """Counts the rows, without reading them.

        Raises:
            DataError: the file is not whole.
        """
        with reading(self.path):
            table = self._read_arrow() if self._is_arrow else pq.read_metadata(self.path)
            return int(table.num_rows)

    def named_files(self, column: str) -> list[str]:
        """Names the files that rows name instead of holding the bytes of an image.

        Args:
            column: of the images, in the schema.

        Raises:
            DataError: the file is not whole.
        """
        kind = self.schema.field(column).type
        with reading(self.path):
            if pa.types.is_struct(kind):
                return self._named_by_structs(column, kind)
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                return _present(self.read_column(column))
            return []

    def _named_by_structs(self, column: str, kind: pa.StructType) -> list[str]:
        if kind.get_field_index("path") < 0:
            return []
        if self._is_arrow:
            images = self._read_arrow().column(column).combine_chunks()
            if kind.get_field_index("bytes") >= 0:
                images = images.filter(images.field("bytes").is_null())
            return _present(images.field("path"))
        if self._holds_all_bytes(column):
            return []
        paths = pq.ParquetFile(self.path).read(columns=[f"{column}.path"])
        return _present(pc.struct_field(paths.column(column), "path"))

    def _holds_all_bytes(self, column: str) -> bool:
        """Whether the statistics of the file say that no row lacks the bytes of its image."""
        metadata = pq.read_metadata(self.path)
        leaves = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
        if (name := f"{column}.bytes") not in leaves:
            return False
        groups = (
            metadata.row_group(group).column(leaves.index(name)).statistics
            for group in range(metadata.num_row_groups)
        )
        return all(group and group.has_null_count and group.null_count == 0 for group in groups)

    def _read_arrow(self) -> pa.Table:
        """Maps the file: nothing is read before it is used."""
        return pa.ipc.open_stream(pa.memory_map(str(self.path))).read_all()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file of a folder is read into one line.

    Raises:
        DataError: the file cannot be read, is not whole, or is a pointer of git-lfs.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # errors of pyarrow, tarfile and the system alike
        raise DataError(_explain(path, error)) from error


def _explain(path: Path, error: Exception) -> str:
    if _is_lfs_pointer(path):
        return (
            f"data.source: '{path}' must hold its content, it is a pointer of git-lfs; run "
            "`git lfs pull` in its folder"
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"data.source: '{path}' must be a whole {path.suffix[1:]} file, it cannot be read "
        f"({reason}); download or write it again, or move it away"
    )


def _is_lfs_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def _present(names: pa.Array | pa.ChunkedArray) -> list[str]:
    return [name for name in names.drop_null().to_pylist() if name]
