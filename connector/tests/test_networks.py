"""Folders of other machines are no allowed folders."""

from pathlib import Path

import pytest

from opscenter_connector.local import networks, refusals

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv/nfs rw - nfs4 host:/x rw
31 30 8:1 / /srv/nfs/disk rw - ext4 /dev/sdb rw
32 22 0:41 / /srv/a\\040b rw - cifs //host/x rw
33 22 0:42 / /srv/ssh rw - fuse.sshfs host: rw
34 22 8:2 / /srv/windows rw - fuseblk /dev/sdc rw
35 22 0:43 / /srv/twice rw - ext4 /dev/sdd rw
36 22 0:44 / /srv/twice rw - nfs host:/y rw
37 22 0:45 / /srv/overlay rw - overlay overlay rw
odd line
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS)
    return file


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs/a/b", "nfs4"),
        ("/srv/nfs/disk/a", ""),
        ("/srv/nfs2", ""),
        ("/srv/a b/c", "cifs"),
        ("/srv/ssh/x", "fuse.sshfs"),
        ("/srv/windows/x", ""),
        ("/srv/twice", "nfs"),
        ("/srv/overlay/x", ""),
        ("/home/me/src", ""),
    ],
)
def test_it_tells_other_machines_from_disks(mounts: Path, path: str, kind: str) -> None:
    assert networks.kind_of(Path(path), mounts) == kind


def test_where_nothing_is_told_nothing_is_refused(tmp_path: Path) -> None:
    assert networks.kind_of(tmp_path, tmp_path / "gone") == ""


def test_a_folder_of_another_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    assert refusals.refused(folder, []) == ""
    # No file server can be had here; how a mount is told from a disk is tested above.
    monkeypatch.setattr(networks, "kind_of", lambda _: "nfs4")
    assert "(nfs4)" in refusals.refused(folder, [])
