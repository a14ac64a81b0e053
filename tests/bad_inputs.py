"""Every bad input that a person may give, as a table: what is spoilt, which command then meets it, what it must say."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from chains import ChainMaker
from rounds import SHAPES, default_terms, write_round

from fedcoin_cli.application.rounds.calling import make_call
from fedcoin_cli.application.workspace.keyring import make_key, reseal
from fedcoin_cli.application.workspace.peers import Peer, render_peers
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.weights import write_update
from ledger_store.base.canonical import encode
from ledger_store.genesis import Genesis
from ledger_store.identity.passphrase import Passphrase

Spoil = Callable[[Workspace], object]
CLIENTS, IMAGES = 3, 60
UPDATE = "client-002.safetensors"


@dataclass(frozen=True, slots=True)
class Bad:
    """One case: a good workspace is spoilt, a command is run, it ends with `code` and says `words`."""

    case: str
    spoil: Spoil
    command: tuple[str, ...]
    code: int
    words: str


def _nothing(_workspace: Workspace) -> None:
    """The command line alone is wrong."""


def _settings(text: str) -> Spoil:
    return lambda workspace: workspace.settings_file.write_text(text)


def _update(edit: Callable[[bytes], bytes | None]) -> Spoil:
    """Client 2's file is edited (None: removed) and signed as it then is, where it is there."""

    def spoil(workspace: Workspace) -> None:
        path = workspace.latest_round() / UPDATE
        content = edit(path.read_bytes())
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
            _sign(workspace)

    return spoil


def _weights(value: float, last: tuple[int, ...] = SHAPES[-1]) -> Spoil:
    """Client 2 signs weights that are all `value`, with a last tensor of this shape."""

    def spoil(workspace: Workspace) -> None:
        shapes = (*SHAPES[:-1], last)
        path = workspace.latest_round() / UPDATE
        write_update(path, [np.full(shape, value, np.float32) for shape in shapes])
        _sign(workspace)

    return spoil


def _copied(workspace: Workspace) -> None:
    """Client 2 signs client 1's weights."""
    folder = workspace.latest_round()
    (folder / UPDATE).write_bytes((folder / "client-001.safetensors").read_bytes())
    _sign(workspace)


def _sign(workspace: Workspace) -> None:
    keys = [workspace.key(client_name(number)) for number in range(1, CLIENTS + 1)]
    write_round(workspace.latest_round(), workspace, keys, IMAGES)


def _said(edit: Callable[[list[dict[str, Any]]], object]) -> Spoil:
    """What round.json says of the updates is edited."""

    def spoil(workspace: Workspace) -> None:
        path = workspace.latest_round() / "round.json"
        document = json.loads(path.read_text())
        edit(document["updates"])
        path.write_text(json.dumps(document))

    return spoil


def _promise(_content: bytes) -> bytes:
    """A header that promises 4 GiB, and nothing behind it."""
    header = json.dumps({"000": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}).encode()
    return len(header).to_bytes(8, "little") + header


def _unblocked(document: dict[str, Any]) -> None:
    """As it was written before there were blocks."""
    del document["block_images"]


def _old_round(workspace: Workspace) -> None:
    """A round with the field of a proxy."""
    path = workspace.latest_round() / "round.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"proxy": None}))


def _old_call(workspace: Workspace) -> None:
    """A call for updates, and weights to be signed for it."""
    _called(workspace, of=workspace.genesis())
    path = workspace.latest_round() / "call.json"
    document = json.loads(path.read_text())
    _unblocked(document["call"])
    path.write_text(json.dumps(document))


def _old_ledger(workspace: Workspace) -> None:
    """Line 0 of every ledger, and the genesis beside them."""
    line = workspace.genesis_file.read_bytes()
    document = json.loads(line)
    _unblocked(document["bounds"])
    document["bounds"]["proxy_logit"] = 2**20
    old = encode(document) + b"\n"
    workspace.genesis_file.write_bytes(old)
    for miner in workspace.miners:
        miner.chain.write_bytes(miner.chain.read_bytes().replace(line, old))


def _loose(name: str) -> Spoil:
    return lambda workspace: workspace.key_file(name).chmod(0o644)


def _sealed(name: str) -> Spoil:
    """The key needs a passphrase; another one stands in the file `words`."""

    def spoil(workspace: Workspace) -> None:
        reseal(workspace, [name], Passphrase(b"the right one"))
        _secret("words", "a wrong one", 0o600)(workspace)

    return spoil


def _secret(name: str, text: str, mode: int) -> Spoil:
    def spoil(workspace: Workspace) -> None:
        path = workspace.root / name
        path.write_text(text)
        path.chmod(mode)

    return spoil


def _stranger(workspace: Workspace) -> None:
    """Miner 1 has another key than the one on the roster."""
    workspace.key_file("miner-1").unlink()
    make_key(workspace, "miner-1")


def _roster(*miners: str) -> Spoil:
    """A roster file that lists these keys."""

    def spoil(workspace: Workspace) -> None:
        entries = [Peer(f"p{n}", workspace.address(name), "127.0.0.1", 7460) for n, name in enumerate(miners)]
        (workspace.root / "roster.toml").write_text(render_peers(entries))

    return spoil


def _called(workspace: Workspace, of: Genesis | None = None) -> None:
    """A call for updates by another network (or `of` one), and weights to be signed for it."""
    first, folder = workspace.round(1), workspace.new_round()
    maker = ChainMaker(1)
    files = first / "model.json", first / "test.safetensors"
    make_call(folder, of or maker.genesis, files, default_terms(maker), maker.requester.address, (2, 20))
    (workspace.root / "mine.safetensors").write_bytes((first / UPDATE).read_bytes())


def _edit(line: bytes) -> Spoil:
    """Line 2 of every ledger is replaced."""

    def spoil(workspace: Workspace) -> None:
        for miner in workspace.miners:
            lines = miner.chain.read_bytes().splitlines(keepends=True)
            miner.chain.write_bytes(b"".join([*lines[:2], line, *lines[3:]]))

    return spoil


def _lost_peers(workspace: Workspace) -> None:
    workspace.peers_file.unlink()


def _odd_peer(workspace: Workspace) -> None:
    """A stranger's peers file: a name that a spreadsheet would compute, and one that a terminal would obey."""
    with workspace.peers_file.open("a") as file:
        for name in ("=1+1", r"\u001b[2Jminer-1\nproven: all"):
            file.write(f'\n["{name}"]\naddress = "{"ab" * 32}"\n')


PUBLISH, INSPECT = ("publish",), ("inspect",)
PAY = ("pay", "server", "1")
WORDS = ("--passphrase-file", "words")
SIGN = ("update", "sign", "mine.safetensors", "--key", "requester")
FIVE = ("--examples", "5")
ROSTER = ("init", "new", "--roster", "roster.toml")
_TWICE = "clients 1 and 2 have one address"
_DAMAGED = b'{"not":"a block"}\n'

CASES = [
    Bad("a setting out of range", _settings("[task]\nclients = 1\n"), PUBLISH, 3, "task.clients"),
    Bad("a flag out of range", _nothing, ("publish", "--runtime", "3601"), 2, "task.runtime"),
    Bad("blocks of no images", _nothing, ("publish", "--block-images", "0"), 2, "task.block-images"),
    Bad("blocks of many images", _nothing, ("publish", "--block-images", "256"), 2, "task.block-images"),
    Bad("blocks in the file", _settings("[task]\nblock-images = 256\n"), PUBLISH, 3, "task.block-images"),
    Bad("an old round", _old_round, PUBLISH, 13, "knows no proxy"),
    Bad("an old call", _old_call, (*SIGN, *FIVE, "--call", "rounds/2/call.json"), 13, "lacks block_images"),
    Bad("an old ledger", _old_ledger, ("audit",), 5, "lacks block_images; knows no proxy_logit"),
    Bad("its copy", _old_ledger, ("audit", "miners/1/chain.jsonl"), 5, "height 0: E100"),
    Bad("its payments", _old_ledger, ("balance",), 5, "lacks block_images; knows no proxy_logit"),
    Bad("its next miner", _old_ledger, ("node", "1"), 5, "lacks block_images; knows no proxy_logit"),
    Bad("parts that sum to 1.1", _settings('[payment]\ntrain = "0.8"\n'), PUBLISH, 3, "must sum to 1"),
    Bad("parts by flag", _nothing, ("publish", "--set", "payment.train=0.8"), 2, "must sum to 1"),
    Bad("an unknown key", _settings("[task]\nprize = 5\n"), PUBLISH, 3, "task.price"),
    Bad("an unknown key by flag", _nothing, ("publish", "--set", "task.prize=5"), 2, "task.price"),
    Bad("settings that are not TOML", _settings("[task\n"), PUBLISH, 3, "not a settings file"),
    Bad("a missing file", _update(lambda _: None), PUBLISH, 13, UPDATE),
    Bad("a truncated file", _update(lambda content: content[:-5]), PUBLISH, 13, UPDATE),
    Bad("an oversized file", _update(_promise), PUBLISH, 13, UPDATE),
    Bad("a mis-shaped file", _weights(0.5, (99,)), PUBLISH, 13, "client 2"),
    Bad("a NaN", _weights(np.nan), PUBLISH, 13, "client 2"),
    Bad("a pickle", _update(lambda _: pickle.dumps([np.zeros(3)])), PUBLISH, 13, "client 2"),
    Bad("one address", _said(lambda them: them[1].update(client=them[0]["client"])), PUBLISH, 13, _TWICE),
    Bad(
        "zero examples",
        _said(lambda them: them[2].update(examples=0)),
        PUBLISH,
        13,
        "client 3: zero examples",
    ),
    Bad(
        "a price above the balance",
        _nothing,
        ("publish", "--price", "2000000"),
        14,
        "the balance of 999997.0",
    ),
    Bad("the same update twice", _copied, PUBLISH, 13, "clients 1 and 2 send the very same update"),
    Bad("a lone client", _said(lambda them: them.__delitem__(slice(1, None))), INSPECT, 13, "updates"),
    Bad("a client twice", _said(lambda them: them.append(them[0])), INSPECT, 13, "have one address"),
    Bad("an inspected shape", _weights(0.5, (99,)), INSPECT, 13, "client 2"),
    Bad("an inspected pickle", _update(lambda _: pickle.dumps([np.zeros(3)])), INSPECT, 13, "client 2"),
    Bad("a start that is none", _nothing, (*INSPECT, "--start", "genesis.json"), 13, "the initial weights"),
    Bad("values of an unknown task", _nothing, ("values", "0123456789"), 11, "no task begins with"),
    Bad("a negative price", _nothing, ("publish", "--price", "-1"), 2, "task.price"),
    Bad("a price in the file", _settings('[task]\nprice = "-1"\n'), PUBLISH, 3, "task.price"),
    Bad("seven decimals", _nothing, ("publish", "--price", "1.2345678"), 2, "6 decimals"),
    Bad("paying a negative amount", _nothing, ("pay", "server", "--", "-1"), 2, "-1"),
    Bad("paying seven decimals", _nothing, ("pay", "server", "1.2345678"), 2, "six decimals"),
    Bad("a requester's loose key", _loose("requester"), PUBLISH, 9, "chmod 600"),
    Bad("a payer's loose key", _loose("requester"), ("pay", "server", "1"), 9, "chmod 600"),
    Bad("a miner's loose key", _loose("miner-1"), ("node", "1"), 9, "chmod 600"),
    Bad("no miner", _nothing, PUBLISH, 7, "0 of 4 miners reachable, 3 are needed"),
    Bad("an edited ledger", _edit(_DAMAGED), ("audit",), 5, "height 2"),
    Bad("its balances", _edit(_DAMAGED), ("balance",), 5, "height 2"),
    Bad("its miner", _edit(_DAMAGED), ("node", "1"), 5, "height 2"),
    Bad("its repair", _edit(_DAMAGED), ("repair",), 5, "height 2"),
    Bad("its successor", _edit(_DAMAGED), ("init", "new", "--from", "."), 5, "height 2"),
    Bad("another network's successor", _nothing, ("audit", "--previous", "."), 5, "E207"),
    Bad("a lost key", lambda workspace: workspace.key_file("requester").unlink(), PAY, 9, "no such key"),
    Bad("a sealed key and nobody to ask", _sealed("requester"), PAY, 9, "--passphrase-file"),
    Bad("a wrong passphrase", _sealed("requester"), (*PAY, *WORDS), 9, "does not open"),
    Bad("a miner's wrong passphrase", _sealed("miner-2"), ("mine", *WORDS), 9, "miner-2.key"),
    Bad(
        "a passphrase for all to read",
        _secret("words", "a", 0o644),
        ("key", "new", "a", *WORDS),
        9,
        "chmod 600",
    ),
    Bad(
        "an empty passphrase", _secret("words", "\n", 0o600), ("key", "new", "a", *WORDS), 9, "no passphrase"
    ),
    Bad("a key not on the roster", _stranger, ("node", "1"), 9, "not on the roster"),
    Bad("one key twice on a roster", _roster("miner-1", "server", "miner-1"), ROSTER, 9, "'p0' and 'p2'"),
    Bad("an empty roster", _roster(), ROSTER, 3, "no miner in this roster"),
    Bad("no roster", _nothing, ROSTER, 3, "cannot read the peers"),
    Bad("a roster and a number", _nothing, (*ROSTER, "--miners", "3"), 2, "leave out --miners"),
    Bad(
        "simulated clients of strangers' miners",
        _nothing,
        (*ROSTER, "--clients", "5"),
        2,
        "--clients makes keys of simulated clients of local miners",
    ),
    Bad(
        "simulated clients in a network that is joined",
        _nothing,
        ("init", "new", "--join", "genesis.json", "--clients", "5"),
        2,
        "--clients makes keys",
    ),
    Bad("joining nothing", _nothing, ("init", "new", "--join", "nowhere"), 11, "no such genesis"),
    Bad(
        "joining a settings file",
        _settings("[task]\n"),
        ("init", "new", "--join", "settings.toml"),
        5,
        "not a genesis",
    ),
    Bad(
        "joining without peers",
        _lost_peers,
        ("init", "new", "--join", "genesis.json"),
        3,
        "cannot read the peers",
    ),
    Bad(
        "joining peers with odd names",
        _odd_peer,
        ("init", "new", "--join", "genesis.json"),
        3,
        "is not a peer's name",
    ),
    Bad("an example too few", _called, (*SIGN, "--examples", "0"), 2, "--examples"),
    Bad(
        "another network's call",
        _called,
        (*SIGN, "--examples", "5", "--call", "rounds/2/call.json"),
        13,
        "another network",
    ),
    Bad("no call", _called, (*SIGN, *FIVE), 13, "call.json"),
    Bad("nothing to gather", _called, ("round", "gather", "rounds/2"), 11, "no signed update"),
]
