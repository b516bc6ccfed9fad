"""File systems on which SQLite's locks, or the memory that its processes share, do not work."""

import os
import re
from pathlib import Path

from storage.errors import StorageError

# As /proc/mounts names them, those of FUSE without `fuse.` before.
_NETWORK_KINDS = """
    nfs nfs3 nfs4 cifs smb2 smb3 smbfs ncpfs afs coda 9p virtiofs vboxsf prl_fs vmhgfs vmhgfs-fuse
    lustre gpfs beegfs ceph ceph-fuse panfs wekafs weka ocfs2 gfs gfs2 orangefs pvfs2 davfs davfs2
    hdfs quobyte moosefs mfs lizardfs saunafs glusterfs sshfs juicefs rclone s3fs s3ql gcsfuse
    goofys blobfuse blobfuse2 mountpoint-s3 curlftpfs smbnetfs seaweedfs dfuse alluxio-fuse
"""
NETWORK_FILE_SYSTEMS = frozenset(_NETWORK_KINDS.split())


def reject_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Reject a database file that lies on a network file system, or will.

    Args:
        path: The file, which need not exist; symbolic links are followed.
        mounts: What is mounted where, in the form of /proc/mounts.

    Raises:
        StorageError: If it does.
    """
    resolved = Path(os.path.realpath(path))
    kind = file_system_of(resolved, mounts)
    if kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS:
        raise StorageError(
            f"storage.url must lie on a local disk, {resolved} is on {kind}, where SQLite's locks "
            "fail: use a local folder, or postgresql+psycopg://USER@HOST/NAME for several nodes"
        )


def file_system_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the file system type that holds `path`, `unknown` where the system does not tell."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"
    # Of two mounts on one folder the later hides the earlier.
    kinds = {_unescaped(fields[1]): fields[2] for line in lines if (fields := line.split())[2:]}
    for folder in (path, *path.parents):
        if str(folder) in kinds:
            return kinds[str(folder)]
    return "unknown"


def _unescaped(mount_point: str) -> str:
    """Return a folder whose spaces, tabs and backslashes are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount_point)
