"""Key files, in the clear and sealed; passphrases; the armored block."""

import json
import os
from pathlib import Path

import pytest
from chains import key
from nacl.exceptions import CryptoError

from ledger_store.base.errors import ExitCode, KeyFailure, Malformed, StorageFailure
from ledger_store.identity.armor import armored, dearmored
from ledger_store.identity.keyfile import KeyRecord, load_key, read_key, save_key, save_record
from ledger_store.identity.passphrase import MOST_BYTES, Passphrase, Sealed

WORDS = Passphrase(b"correct horse")


def test_a_key_file_is_private_and_reads_back(tmp_path: Path) -> None:
    """Mode 0600, and the same key again."""
    path = tmp_path / "miner-1.key"
    save_key(path, key("a"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).seed == key("a").seed


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second key under the same name is refused and the first stays."""
    path = tmp_path / "it.key"
    save_key(path, key("a"))
    with pytest.raises(KeyFailure, match="exists already"):
        save_key(path, key("b"))
    assert load_key(path).address == key("a").address


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The hint is the command that mends it [P-2.6]."""
    path = tmp_path / "it.key"
    save_key(path, key("a"))
    path.chmod(0o640)
    with pytest.raises(KeyFailure) as refused:
        load_key(path)
    assert refused.value.hint == f"chmod 600 {path}"
    assert refused.value.exit_code == ExitCode.KEY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key\n",
        b'{"address":"00","format":1,"seed":"00"}\n',
        b'{"address":"%s","format":2,"seed":"%s"}\n' % (b"0" * 64, b"0" * 64),
        b'{"address":"%s","format":1,"seed":"%s"}\n' % (b"0" * 64, b"0" * 64),
    ],
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """Garbage, an unknown format, or an address that is not the key's."""
    path = tmp_path / "it.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFailure) as refused:
        load_key(path)
    assert refused.value.where == str(path)


def test_missing_places_are_named(tmp_path: Path) -> None:
    """A missing key, a folder in its place and a missing folder each say where."""
    with pytest.raises(KeyFailure, match="no such key"):
        load_key(tmp_path / "nobody.key")
    with pytest.raises(KeyFailure, match="cannot read"):
        load_key(tmp_path)
    with pytest.raises(StorageFailure) as refused:
        save_key(tmp_path / "nowhere" / "it.key", key("a"))
    assert refused.value.where.endswith("it.key")


def test_a_sealed_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    """Its address is readable without one; the seed's bytes are nowhere in the file [P-2.6]."""
    path = tmp_path / "it.key"
    save_key(path, key("a"), WORDS)
    assert read_key(path).sealed
    assert read_key(path).address == key("a").address
    assert key("a").seed.hex().encode() not in path.read_bytes()
    assert load_key(path, lambda: Passphrase(b"correct horse")).seed == key("a").seed
    with pytest.raises(KeyFailure, match="does not open") as refused:
        load_key(path, lambda: Passphrase(b"Correct horse"))
    assert b"orrect horse" not in str(vars(refused.value)).encode()
    with pytest.raises(KeyFailure, match="needs its passphrase"):
        load_key(path)


def test_nobody_is_asked_for_the_passphrase_of_a_clear_key(tmp_path: Path) -> None:
    """A key that needs no passphrase never prompts."""
    save_key(tmp_path / "it.key", key("a"))

    def ask() -> Passphrase:
        raise AssertionError("asked")

    assert load_key(tmp_path / "it.key", ask).address == key("a").address


def test_the_box_is_what_libsodium_says() -> None:
    """Argon2id (3 passes, 64 MiB) and XSalsa20-Poly1305, computed here by hand, open the same box."""
    from nacl.bindings import crypto_pwhash_alg, crypto_secretbox_open

    sealed = WORDS.seal(b"s" * 32)
    box = bytes.fromhex(sealed.box)
    derived = crypto_pwhash_alg(32, b"correct horse", bytes.fromhex(sealed.salt), 3, 64 * 2**20, 2)
    assert crypto_secretbox_open(box[24:], box[:24], derived) == b"s" * 32
    with pytest.raises(CryptoError):
        crypto_secretbox_open(box[24:], box[:24], b"0" * 32)


def test_equal_secrets_do_not_look_equal() -> None:
    """Two passphrase objects have two salts, two boxes of one have two nonces."""
    one, two, other = (
        WORDS.seal(b"s" * 32),
        WORDS.seal(b"s" * 32),
        Passphrase(b"correct horse").seal(b"s" * 32),
    )
    assert one.salt == two.salt != other.salt
    assert len({one.box, two.box, other.box}) == 3


@pytest.mark.parametrize("field", ["address", "box", "salt", "passes"])
def test_an_altered_sealed_key_is_refused(tmp_path: Path, field: str) -> None:
    """Every field of the file is covered: an edit of any is a key failure, never another key."""
    path = tmp_path / "it.key"
    save_key(path, key("a"), WORDS)
    document = json.loads(path.read_bytes())
    inner = document if field == "address" else document["sealed"]
    inner[field] = (
        inner[field] + 1
        if field == "passes"
        else key("b").address[: len(inner[field])].ljust(len(inner[field]), "0")
    )
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n")
    with pytest.raises(KeyFailure):
        load_key(path, lambda: Passphrase(b"correct horse"))


@pytest.mark.parametrize(
    "changes", [{"passes": 17}, {"memory_bytes": 2**30 + 1}, {"salt": "00"}, {"box": "00"}]
)
def test_a_key_file_cannot_ask_for_everything(changes: dict[str, object]) -> None:
    """Work and memory beyond the bounds, and parts of a wrong length, are malformed."""
    good = Sealed("00" * 16, 1, 8192, "00" * 72)
    assert Sealed.from_json(good.to_json()) == good
    with pytest.raises(Malformed):
        Sealed.from_json(good.to_json() | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"abc", b"abc"), (b"abc\n", b"abc"), (b"abc\r\nrest", b"abc"), (b" a b \n", b" a b ")],
)
def test_the_first_line_is_the_passphrase(text: bytes, words: bytes) -> None:
    """Without its end, spaces included."""
    assert Passphrase.of(text, "x").words == words


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\nabc", b"x" * (MOST_BYTES + 1)])
def test_no_passphrase(text: bytes) -> None:
    """An empty or endless first line is refused, naming the place."""
    with pytest.raises(KeyFailure) as refused:
        Passphrase.of(text, "the place")
    assert refused.value.where == "the place"


def test_replacing_is_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement leaves the old key whole when the disk refuses, and no other file in any case."""
    path = tmp_path / "it.key"
    save_key(path, key("a"))
    save_record(path, KeyRecord.of(key("a"), WORDS), replace=True)
    assert read_key(path).sealed
    assert path.stat().st_mode & 0o777 == 0o600

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailure):
        save_record(path, KeyRecord.of(key("b")), replace=True)
    with pytest.raises(StorageFailure):
        save_key(tmp_path / "other.key", key("b"))
    assert read_key(path).address == key("a").address
    assert [one.name for one in tmp_path.iterdir()] == ["it.key"]


@pytest.mark.parametrize("passphrase", [None, WORDS])
def test_an_armored_key_reads_back(passphrase: Passphrase | None) -> None:
    """Also quoted, with other text around it, other line ends and blank lines."""
    record = KeyRecord.of(key("a"), passphrase)
    text = armored("requester", record)
    mailed = "hello\r\n" + "".join(f"> {line}\r\n\r\n" for line in text.splitlines()) + "bye"
    assert dearmored(text) == dearmored(mailed) == ("requester", record)
    assert max(map(len, text.splitlines())) <= 73


def test_a_mistyped_block_is_refused() -> None:
    """Every character of name and key is covered by the checksum, and a cut block is no block."""
    text = armored("requester", KeyRecord.of(key("a")))
    lines = text.splitlines()
    places = [(1, 8), (2, 12), *((row, column) for row in range(4, len(lines) - 1) for column in (0, 5, -1))]
    for row, column in places:
        line = lines[row]
        at = column % len(line)
        swapped = "B" if line[at] != "B" else "C"
        wrong = [*lines[:row], line[:at] + swapped + line[at + 1 :], *lines[row + 1 :]]
        with pytest.raises(Malformed):
            dearmored("\n".join(wrong))
    for cut in [row for row, line in enumerate(lines) if line]:
        with pytest.raises(Malformed):
            dearmored("\n".join([*lines[:cut], *lines[cut + 1 :]]))
    with pytest.raises(Malformed, match="several"):
        dearmored(text * 2)
