import io
import os
import tarfile
from pathlib import Path

import pytest

from fedcoin_cli.runtime.container_spec import IMAGE_USER, ContainerSpec, hand_over, packed, user_of


def spec(folder: Path) -> ContainerSpec:
    files = {"genesis.json": b"{}\n", "keys/miner-1.key": b"secret"}
    return ContainerSpec(
        ["node", "1"], files, frozenset({"keys/miner-1.key"}), {"miners/1": folder}, "127.0.0.1", 7460
    )


def test_what_is_packed(tmp_path: Path) -> None:
    """The archive holds each file, secret ones for the miner alone, and all folders, also those to mount on."""
    with tarfile.open(fileobj=io.BytesIO(packed(spec(tmp_path), (7, 8)))) as tar:
        entries = {one.name: (one.isdir(), one.mode, one.uid, one.gid) for one in tar}
        key = tar.extractfile("keys/miner-1.key")
        assert key is not None
        assert key.read() == b"secret"
    folders = dict.fromkeys(("keys", "miners", "miners/1"), (True, 0o755, 7, 8))
    assert entries == folders | {
        "genesis.json": (False, 0o444, 7, 8),
        "keys/miner-1.key": (False, 0o400, 7, 8),
    }
    assert list(entries).index("miners") < list(entries).index("miners/1")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_root_is_never_who_runs(tmp_path: Path) -> None:
    """For root the image's user runs and is handed the folders; others' files and links' targets stay theirs."""
    folder, outside, others = tmp_path / "1", tmp_path / "outside", tmp_path / "1" / "others"
    folder.mkdir()
    for path in (folder / "chain.jsonl", outside, others):
        path.touch()
    os.chown(others, 77, 77)
    (folder / "link").symlink_to(outside)
    assert user_of(tmp_path) == (IMAGE_USER, IMAGE_USER)
    hand_over(folder, user_of(tmp_path))
    owners = {path.name: path.lstat().st_uid for path in (folder, *folder.iterdir(), outside)}
    mine = dict.fromkeys(("1", "chain.jsonl", "link"), IMAGE_USER)
    assert owners == mine | {"others": 77, "outside": 0}
    os.chown(tmp_path, 1234, 1235)
    assert user_of(tmp_path) == (1234, 1235)
