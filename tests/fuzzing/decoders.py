"""Every reader of bytes from elsewhere: what it reads, good samples of it, and what it may say of bad ones.

A reader either returns a value or raises its one documented refusal; any other exception is a bug. Readers of files
are given one in a folder of the caller's.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from chains import ChainMaker, build_chain
from graphs import MODELS, low_rank, tagger
from places import place
from rounds import SHAPES, make_round, model_json

from fedcoin_cli.application.books.equivocations import read_evidence
from fedcoin_cli.application.books.forks import read_proof
from fedcoin_cli.application.founding.plans import read_roster
from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.application.rounds.calling import read_call_file, read_signed, sign_weights
from fedcoin_cli.application.rounds.files import SCHEMA, read_round
from fedcoin_cli.application.workspace.configuration import load
from fedcoin_cli.application.workspace.keyring import read_armor
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.consensus.attempt import Frozen, Opening, Stage, Started
from fedcoin_cli.learning.exchange.low_rank import with_products
from fedcoin_cli.learning.graph.reader import read_graph
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.tensorfile import write_tensors
from fedcoin_cli.learning.model.truth import IGNORED
from fedcoin_cli.learning.model.weights import TestSet, read_labels, read_test, read_update, write_test
from fedcoin_cli.learning.shapley.table import Claim, TableTerms, derive, encode_exact
from fedcoin_cli.network.files import pieces
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Certified
from fedcoin_cli.replica.records import from_bytes as read_record
from fedcoin_cli.replica.records import to_bytes as write_record
from ledger_store.audit.inclusion import prove, read_inclusion
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import (
    FedCoinError,
    KeyFailure,
    LedgerInvalid,
    Malformed,
    RoundFilesInvalid,
    SettingsError,
)
from ledger_store.base.names import Address, Digest
from ledger_store.base.words import TaskState, VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.file.chain_file import CHAIN_NAME, ChainReader, TipRecord
from ledger_store.file.snapshot import SNAPSHOT_NAME, Seal, Snapshot, read_snapshot
from ledger_store.genesis import Genesis
from ledger_store.identity.armor import armored
from ledger_store.identity.keyfile import KeyRecord, load_key, save_key
from ledger_store.identity.keys import KeyPair
from ledger_store.identity.passphrase import Sealed
from ledger_store.transaction import parse_transaction

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "golden"
CLIENTS = 5
IMAGES = 60


@dataclass(frozen=True, slots=True)
class Decoder:
    """`read` takes bytes and gives a value or raises `refusal`; `samples` are what it accepts."""

    name: str
    read: Callable[[bytes], Any]
    samples: tuple[bytes, ...]
    refusal: type[FedCoinError]


@cache
def decoders(folder: Path) -> dict[str, Decoder]:
    """All of them by name; `folder` is where those that read files write theirs."""
    found = [*_ledger(), *_network(), *_tables(), *_files(folder), *_workspace(folder), *_papers(folder)]
    return {decoder.name: decoder for decoder in found}


def _golden(*names: str) -> tuple[bytes, ...]:
    return tuple((GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n") for name in names)


def _ledger() -> Iterable[Decoder]:
    """What stands in a chain."""
    blocks = tuple(block.line for block in build_chain(4, 4).blocks)
    kinds = _golden("transfer", "task", "cancel", "close", "close-failed", "result")
    yield Decoder("canonical", decode, (*kinds, *blocks), Malformed)
    yield Decoder("transaction", lambda data: parse_transaction(decode(data)), kinds, Malformed)
    yield Decoder("block", Block.from_line, (*blocks, *_golden("block-1", "block-4")), Malformed)
    yield Decoder(
        "certificate", lambda data: Certificate.from_json(decode(data)), _golden("certificate"), Malformed
    )
    yield Decoder("genesis", Genesis.from_line, _golden("genesis"), Malformed)
    yield Decoder("tip", TipRecord.from_bytes, _golden("tip"), Malformed)


def _network() -> Iterable[Decoder]:
    """What comes over sockets, and what a miner keeps of it."""
    frames = json.loads((GOLDEN / "messages.json").read_bytes())
    samples = tuple(text.encode("ascii") for text in frames.values())
    yield Decoder("message", from_frame, samples, Malformed)
    kept = ('"proposal"', '"notar"', '"skip"', '"final"', '"certified"', '"commit"', '"reveal"')
    records = (text for text in samples if text.rstrip(b"}").endswith(tuple(map(str.encode, kept))))
    yield Decoder("record", read_record, (*_records(), *records), Malformed)
    some: list[pieces.Piece] = [
        pieces.Offer(Digest("ab" * 32), 2**20),
        pieces.Want(Digest("ab" * 32), 2**16),
        pieces.Chunk(Digest("cd" * 32), 2**16, 2**16 + 9, b"123456789"),
        pieces.Lack(Digest("cd" * 32)),
        pieces.Have(Digest("ef" * 32)),
    ]
    yield Decoder("piece", pieces.from_bytes, tuple(map(pieces.to_bytes, some)), Malformed)


def _records() -> Iterable[bytes]:
    maker = ChainMaker(4)
    task = maker.task()
    yield write_record(Opening(task.id, 1, maker.reveal(task, 1, maker.miners[0])))
    yield write_record(Frozen(task.id, 1, Stage.COMMITS, (Address("ab" * 32),)))
    yield write_record(Started(task.id, 1, TaskState.OPEN, 1_700_000_000_000))


def _tables() -> Iterable[Decoder]:
    """Tables of both kinds, derived as a miner derives them."""
    terms = TableTerms(CLIENTS, np.array([16, 16, 15]), 3, baseline=True)
    exact = encode_exact(np.arange(1, 2**CLIENTS) % terms.whole)
    sampled = bytes(count % 16 for count in range(3 * (2 + 4 * (CLIENTS - 1))))
    for name, data, is_exact in (("table", sampled, False), ("exact table", exact, True)):
        claim = Claim(bytes(32), bytes(range(32)), 4, is_exact)

        def read(data: bytes, claim: Claim = claim) -> object:
            return derive(data, claim, terms)

        # One that lacks a few records: a walk that is not whole.
        yield Decoder(name, read, (data, data[: len(data) // 5 * 4]), Malformed)


def _at(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Read bytes that lie in a file."""

    def reading(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return reading


def _files(folder: Path) -> Iterable[Decoder]:
    """A round's files."""
    model = json.dumps(model_json()).encode()
    spec = parse_model(model)
    yield Decoder("model", parse_model, (model, *_more_models()), RoundFilesInvalid)
    made = [*(make() for make in MODELS.values()), tagger(), with_products(low_rank(), where="sample")]
    graphs = tuple(graph_text(graph).encode() for graph in made)
    yield Decoder("graph", read_graph, graphs, RoundFilesInvalid)
    rng = np.random.default_rng(1)
    path = folder / "sample.safetensors"
    weights = {f"{n:03d}": rng.standard_normal(s).astype(np.float32) for n, s in enumerate(SHAPES)}
    write_tensors(path, weights)
    update = path.read_bytes()
    yield Decoder("update", _at(path, lambda at: read_update(at, spec)), (update,), RoundFilesInvalid)
    images, labels = rng.random((9, *spec.input_shape), np.float32), np.arange(9, dtype=np.int32) % 3
    write_test(path, TestSet(images, labels))
    test = path.read_bytes()
    write_test(path, TestSet((images * 255).astype(np.uint8), labels))
    tests = [test, path.read_bytes()]
    write_test(path, TestSet(images, rng.random((9, spec.classes), np.float32)))
    tests.append(path.read_bytes())
    yield Decoder("test set", _at(path, lambda at: read_test(at, spec)), tuple(tests), RoundFilesInvalid)
    tokens, ids = GraphModel.of(tagger()), np.arange(45, dtype=np.int32).reshape(9, 5) % 12
    write_test(path, TestSet(ids, np.where(ids % 4, ids, IGNORED).astype(np.int32)), ["ids"])
    judged = (path.read_bytes(),)
    yield Decoder("tokens", _at(path, lambda at: read_test(at, tokens)), judged, RoundFilesInvalid)
    yield Decoder("labels", _at(path, read_labels), (*tests, *judged), RoundFilesInvalid)
    yield _round(folder)


def _more_models() -> Iterable[bytes]:
    """Models whose layers are of other kinds, so that their readers are reached."""
    conv = {"filters": 2, "kernel_size": [3, 3], "strides": 1, "padding": "same", "activation": "relu"}
    pool = {"pool_size": [2, 2], "padding": "valid", "strides": [2, 2]}
    for middle in ("Flatten", "GlobalAveragePooling2D"):
        entries = [
            ("InputLayer", {"batch_shape": [None, 8, 8, 1]}),
            ("Conv2D", conv),
            ("MaxPooling2D", pool),
            (middle, {}),
            ("Dense", {"units": 4, "activation": "linear"}),
            ("ReLU", {}),
            ("Dense", {"units": 3, "activation": "softmax"}),
        ]
        layers = [
            {"module": "keras.layers", "class_name": name, "config": config} for name, config in entries
        ]
        yield json.dumps(
            {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
        ).encode()


def _round(folder: Path) -> Decoder:
    maker = ChainMaker(1)
    workspace = place(folder / "round", maker)
    signed = make_round(workspace, images=IMAGES) / "round.json"
    sample = signed.read_bytes()
    return Decoder(
        "round",
        _at(signed, lambda at: read_round(at.parent, maker.genesis)),
        (sample,),
        RoundFilesInvalid,
    )


def _workspace(folder: Path) -> Iterable[Decoder]:
    """What a person may have edited."""
    maker = build_chain(2, 3)
    made = place(folder / "workspace", maker)
    peers, settings = folder / "peers.toml", folder / "settings.toml"
    every = (ROOT.parent / "settings.toml").read_bytes()
    yield Decoder("peers", _at(peers, read_peers), (made.peers_file.read_bytes(),), SettingsError)
    yield Decoder(
        "settings",
        _at(settings, lambda at: load(at, {}, {})),
        (b'[task]\nclients = 3\nprice = "5"\nruntime = 15\n[payment]\ntrain = "0.7"\n', every),
        SettingsError,
    )
    yield Decoder("key", _key(folder), (made.key_file("server").read_bytes(),), KeyFailure)
    yield _chain(folder, maker)
    log = made.miner_folder(1).path / "node.log"
    event = b'{"time": 1.5, "event": "task", "task": "ab", "state": "OPEN", "attempt": 1}\n'
    yield Decoder("events", _at(log, read_events), (event * 3,), Malformed)


def _key(folder: Path) -> Callable[[bytes], KeyPair]:
    path = folder / "fuzzed.key"
    save_key(path, KeyPair(bytes(32)))  # with the mode that a key has
    return _at(path, load_key)


def _chain(folder: Path, maker: ChainMaker) -> Decoder:
    home = folder / "chain"
    maker.write(home)
    good = (home / CHAIN_NAME).read_bytes()

    def read(data: bytes) -> int:
        (home / CHAIN_NAME).write_bytes(data)
        with ChainReader(home) as chain:
            return chain.height

    return Decoder("chain", read, (good,), LedgerInvalid)


def _papers(folder: Path) -> Iterable[Decoder]:
    """What people hand to each other: evidence, proofs, exported keys, rosters, calls and signed updates."""
    maker = build_chain(4, 4)
    block, certificate = maker.blocks[3], maker.certificates[3]
    proof = prove(maker.genesis, block, certificate, 0, None).to_bytes()
    yield Decoder("inclusion", read_inclusion, (proof,), Malformed)
    rivals = [maker.propose(time_ms=maker.genesis.time_ms + later) for later in (10_000, 20_000)]
    finals = [Certified(VoteKind.FINAL, each.height, each.id, maker.certify(each), None) for each in rivals]
    said = b"".join(to_frame(one) + b"\n" for one in finals)
    home = folder / "evidence"
    home.mkdir(exist_ok=True)
    height = rivals[0].height
    evidence = _at(home / f"{height}.jsonl", lambda _: read_evidence(home, height))
    yield Decoder("evidence", evidence, (said,), LedgerInvalid)
    fork = encode(maker.genesis.to_json()) + b"\n" + said
    yield Decoder("fork proof", lambda data: read_proof(data, "here"), (fork,), LedgerInvalid)
    yield _snapshot(folder, maker)
    armor = armored("requester", KeyRecord.of(maker.requester)).encode()
    sealed = armored("sealed", KeyRecord(maker.server.address, Sealed("ab" * 16, 3, 2**26, "cd" * 72)))
    samples = (armor, sealed.encode())
    yield Decoder("exported key", lambda data: read_armor(data, "here"), samples, KeyFailure)
    roster = (place(folder / "roster", maker).peers_file.read_bytes(),)
    yield Decoder("roster", _at(folder / "roster.toml", read_roster), roster, FedCoinError)
    yield from _called(folder, maker)


def _snapshot(folder: Path, maker: ChainMaker) -> Decoder:
    """A snapshot whose seal is right, whatever is in it: who can write it can seal it."""
    home = folder / "snapshot"
    home.mkdir(exist_ok=True)
    (home / CHAIN_NAME).write_bytes(b"")
    seal = Seal(maker.server, maker.genesis)
    Snapshot("ab" * 32, maker.tip.state).save(home, seal)
    body = (home / SNAPSHOT_NAME).read_bytes().partition(b"\n")[2].removesuffix(b"\n")

    def read(data: bytes) -> object:
        (home / SNAPSHOT_NAME).write_bytes(seal.of(data) + b"\n" + data + b"\n")
        return read_snapshot(home, maker.genesis, seal)

    return Decoder("snapshot", read, (body,), Malformed)


def _called(folder: Path, maker: ChainMaker) -> Iterable[Decoder]:
    weights = folder / "weights.safetensors"
    write_tensors(weights, {"000": np.zeros((2, 2), np.float32)})
    call = replace(maker.task(), updates=())
    path = folder / "call.json"
    path.write_text(json.dumps({"schema": SCHEMA, "genesis": maker.genesis.id, "call": call.called}))
    calls = (path.read_bytes(),)
    yield Decoder("call", _at(path, lambda at: read_call_file(at, maker.genesis)), calls, RoundFilesInvalid)
    path.write_bytes(calls[0])
    signed, _ = sign_weights(weights, path, maker.genesis, maker.server, 10)
    updates = (signed.read_bytes(),)
    read = _at(signed, lambda at: read_signed(at, call, maker.genesis))
    yield Decoder("signed update", read, updates, RoundFilesInvalid)
