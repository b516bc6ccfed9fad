from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.file_systems import file_system_of, reject_network_file_system

MOUNTS = r"""
disk / ext4 rw 0 0
server:/x /shared nfs4 rw 0 0
disk /shared/local ext4 rw 0 0
host /with\040space fuse.juicefs rw 0 0
host /tab\011and\134backslash fuse.s3fs rw 0 0
disk /twice ext4 rw 0 0
host /twice virtiofs rw 0 0
automount /late autofs rw 0 0
host /late fuse.rclone rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/study.db", "ext4"),
        ("/shared/runs/study.db", "nfs4"),
        ("/shared", "nfs4"),
        ("/sharedness/study.db", "ext4"),
        ("/shared/local/study.db", "ext4"),
        ("/with space/study.db", "fuse.juicefs"),
        ("/tab\tand\\backslash/study.db", "fuse.s3fs"),
        ("/twice/study.db", "virtiofs"),
        ("/late/study.db", "fuse.rclone"),
    ],
)
def test_file_system_is_that_of_the_longest_and_last_mount(
    tmp_path: Path, path: str, kind: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert file_system_of(Path(path), mounts) == kind
    assert file_system_of(Path(path), tmp_path / "missing") == "unknown"


@pytest.mark.parametrize(
    "kind",
    ["nfs4", "cifs", "9p", "virtiofs", "vboxsf", "wekafs", "panfs", "ocfs2", "gfs2", "fuse.sshfs"]
    + ["fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.ceph-fuse", "fuse.vmhgfs-fuse", "prl_fs"],
)
def test_sqlite_on_a_network_file_system_is_rejected_through_symbolic_links_too(
    tmp_path: Path, kind: str
) -> None:
    mounts, shared, local = (tmp_path / name for name in ("mounts", "shared", "local"))
    mounts.write_text(f"disk / ext4 rw 0 0\nserver {shared} {kind} rw 0 0\n")
    local.mkdir()
    (local / "folder").symlink_to(shared)
    (local / "study.db").symlink_to(shared / "new" / "study.db")
    (local / "loop").symlink_to(local / "loop")
    for path in (shared / "study.db", local / "folder" / "new" / "x.db", local / "study.db"):
        with pytest.raises(StorageError, match=f"must lie on a local disk, .* is on {kind}"):
            reject_network_file_system(path, mounts)
    for path in (local / "x.db", local / "loop" / "x.db"):
        reject_network_file_system(path, mounts)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk"])
def test_sqlite_on_a_local_file_system_is_accepted(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / {kind} rw 0 0\n")
    reject_network_file_system(tmp_path / "study.db", mounts)
