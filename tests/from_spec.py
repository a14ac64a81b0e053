"""A second reader, written from SPEC.md alone: hashes, signatures, rankings, sums and settlements of JSON values.

It imports nothing of the product, so that it can contradict it. Slow and obvious: whoever writes a third one may begin
here.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

Json = dict[str, Any]


def encode(value: Any) -> bytes:
    """Canonical bytes, section 1."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("ascii")


def decode(line: bytes) -> Any:
    """The value of canonical bytes."""
    value = json.loads(line)
    assert encode(value) == line
    return value


def tagged(tag: str, data: bytes) -> str:
    """The hash of a value."""
    return hashlib.sha256(b"fedcoin/v1/" + tag.encode() + b"\0" + data).hexdigest()


def signed(address: str, kind: str, genesis: str, fields: Json, signature: str) -> bool:
    """Whether a signature covers these fields, section 2."""
    message = b"fedcoin/v1/" + kind.encode() + b"\0" + bytes.fromhex(genesis) + encode(fields)
    try:
        VerifyKey(bytes.fromhex(address)).verify(message, bytes.fromhex(signature))
    except BadSignatureError:
        return False
    return True


def without(value: Json, *names: str) -> Json:
    return {name: part for name, part in value.items() if name not in names}


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\1" + root(leaves[:middle]) + root(leaves[middle:])).digest()


# Blocks, sections 10 and 13 ----------------------------------------------------------------------------------------


def quorum(genesis: Json) -> int:
    return 2 * len(genesis["roster"]) // 3 + 1


def certifies(genesis: Json, genesis_id: str, certificate: Json, height: int, block: str) -> bool:
    """Whether a certificate holds exactly q FINAL votes for a block."""
    pairs = certificate["signatures"]
    indices = [index for index, _ in pairs]
    fields = {"block": block, "height": height, "view": certificate["view"]}
    return (
        len(indices) == quorum(genesis)
        and indices == sorted(set(indices))
        and all(signed(genesis["roster"][i], "final", genesis_id, fields, one) for i, one in pairs)
    )


def block_id(block: Json) -> str:
    return tagged("block", encode(block["header"]))


def covers(genesis: Json, block: Json) -> bool:
    """Whether a header names its body, and its proposer is whose turn it was."""
    header, certificate = block["header"], block["certificate"]
    covered = (
        root([encode(one) for one in block["transactions"]]).hex(),
        certificate and tagged("certificate", encode(certificate)),
        (header["height"] + header["view"]) % len(genesis["roster"]),
    )
    return covered == (header["transactions"], header["certificate"], header["proposer"])


# Tasks, section 5 --------------------------------------------------------------------------------------------------


def transaction_id(transaction: Json) -> str:
    return tagged("transaction", encode(without(transaction, "signature")))


def authorised(transaction: Json, genesis_id: str) -> bool:
    """Whether its sender signed it."""
    body, kind = without(transaction, "signature"), transaction["type"]
    return signed(transaction["sender"], kind, genesis_id, body, transaction["signature"])


def call(task: Json) -> str:
    """What the clients signed: a call has no `type`, it is not yet a transaction."""
    return tagged("call", encode(without(task, "updates", "sequence", "signature", "type")))


def held(requester: str, files: Iterable[bytes]) -> str:
    """What shows that the requester has the files that the call names."""
    return tagged("held", bytes.fromhex(requester) + b"".join(files))


def owners(task: Json) -> list[str]:
    """Who is paid, section 5: the first of a group for all its clients."""
    first = {one: group[0] for group in task["groups"] for one in group}
    return list(dict.fromkeys(first.get(one["client"], one["client"]) for one in task["updates"]))


def answered(task: Json, genesis_id: str) -> bool:
    """Whether every client signed its update for this call."""
    return all(
        signed(
            one["client"],
            "update",
            genesis_id,
            {"call": call(task), "examples": one["examples"], "update": one["digest"]},
            one["signature"],
        )
        for one in task["updates"]
    )


def seed(task_id: str, parent: str) -> bytes:
    return bytes.fromhex(tagged("seed", bytes.fromhex(task_id) + bytes.fromhex(parent)))


# Rankings and estimates, section 7 ---------------------------------------------------------------------------------


def _draws(material: bytes) -> Iterator[int]:
    stream = hashlib.shake_256(material).digest(100_000)
    yield from (int.from_bytes(stream[at : at + 2], "big") for at in range(0, len(stream), 2))


def _shuffle(items: Sequence[int], draws: Iterator[int]) -> list[int]:
    places = list(items)
    for last in range(len(places) - 1, 0, -1):
        bound = last + 1
        chosen = next(one for one in draws if one < 65_536 - 65_536 % bound) % bound
        places[last], places[chosen] = places[chosen], places[last]
    return places


def ranking(of: bytes, address: str, block: int, number: int, clients: int) -> list[int]:
    """The order in which clients join in a block's ranking."""
    within = number % (2 * clients)
    square, row = 2 * (number // (2 * clients)) + number % 2, within // 2
    where = of + bytes.fromhex(address)
    stream = _draws(b"fedcoin/v1/ranking\0" + where + block.to_bytes(8, "big") + square.to_bytes(8, "big"))
    circle = _shuffle(range(clients), stream)
    base = [0, *_shuffle(range(1, clients), stream)]
    deal = _shuffle(range(clients), _draws(b"fedcoin/v1/deal\0" + where + square.to_bytes(8, "big")))
    stride = next(one for one in range(618 * clients // 1000, clients) if gcd(one, clients) == 1)
    shift = circle.index(deal[(stride * row + block) % clients])
    return [circle[(step + shift) % clients] for step in base]


def sampled_sums(task: Json, of: bytes, reveal: Json, table: bytes) -> list[int]:
    """N_j from a table's bytes, sections 7 and 12."""
    clients, t = len(owners(task)), reveal["rankings"]
    blocks = -(-task["images"] // task["block_images"])
    assert len(table) == blocks * (2 + t * (clients - 1))
    sums, at = [0] * clients, 2 * blocks
    for block in range(blocks):
        for number in range(t):
            counts = [table[block], *table[at : at + clients - 1], table[blocks + block]]
            at += clients - 1
            for step, client in enumerate(ranking(of, reveal["miner"], block, number, clients)):
                sums[client] += counts[step + 1] - counts[step]
    return sums


def commitment(result: Json, reveal: Json) -> str:
    """The digest of the commit that a reveal opens, section 8."""
    place = {"attempt": result["attempt"], "task": result["task"]}
    return tagged("commitment", encode({**without(reveal, "signature"), **place}))


def revealed(result: Json, reveal: Json, genesis_id: str) -> bool:
    """Whether its miner signed a reveal."""
    place = {"attempt": result["attempt"], "task": result["task"]}
    fields = {**without(reveal, "signature", "miner"), **place}
    return signed(reveal["miner"], "reveal", genesis_id, fields, reveal["signature"])


# Settlement, section 9 ---------------------------------------------------------------------------------------------


def split(total: int, weights: Sequence[int]) -> list[int]:
    """By largest remainder, ties to the lower index."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for lucky in remainders[: total - sum(parts)]:
        parts[lucky] += 1
    return parts


def outcome(genesis: Json, task: Json, result: Json) -> Json:
    """What a result that settles its task leads to."""
    cheats = {one["miner"] for one in result["frauds"]}
    reveals = {one["miner"]: one for one in result["reveals"] if one["miner"] not in cheats}
    honest = [reveals[miner] for miner in genesis["roster"] if miner in reveals]
    exact = [one for one in honest if one["exact"]]
    scale = lcm(*range(1, len(owners(task)) + 1))
    alone = len(exact) > (len(genesis["roster"]) - 1) // 3
    counted = exact if alone else honest
    common = scale if alone or exact else 1
    weights = [1 if alone else one["rankings"] for one in counted]
    vectors = [
        [int(x) * (weight if one["exact"] else common) for x in one["sums"]]
        for one, weight in zip(counted, weights, strict=True)
    ]
    whole = [sum(column) for column in zip(*vectors, strict=True)]
    of = sum(weights)
    distances = [
        (
            sum((x * of - weight * total) ** 2 for x, total in zip(vector, whole, strict=True)),
            (common * weight * of) ** 2,
        )
        for vector, weight in zip(vectors, weights, strict=True)
    ]
    reach = (task["difficulty_micro"] * task["images"]) ** 2
    within = [i for i, (over, under) in enumerate(distances) if 10**16 * over <= reach * under]
    assert within
    least = min(Fraction(*one) for one in distances)
    nearest = within if alone else [i for i, one in enumerate(distances) if Fraction(*one) == least]
    return {
        "state": "SETTLED",
        "winner": min(
            (counted[i]["miner"] for i in nearest),
            key=lambda miner: tagged("winner", bytes.fromhex(transaction_id(task) + miner)),
        ),
        "distance": [str(x) for x in min((distances[i] for i in nearest), key=lambda one: Fraction(*one))],
        "shapley": [str(x) for x in whole],
        "denominator": str(common * of),
        "pay": _pay(genesis, task, whole, [(one["miner"], one["rankings"]) for one in counted], nearest),
    }


def _pay(
    genesis: Json, task: Json, values: list[int], counted: list[tuple[str, int]], nearest: list[int]
) -> Json:
    weights = [max(0, value) if sum(values) > 0 else 0 for value in values]
    order, least = (
        sorted(range(len(values)), key=lambda i: (-weights[i], i)),
        genesis["bounds"]["least_transfer_micro"],
    )
    enough = [
        i
        for place, i in enumerate(order)
        if weights[i]
        and task["train_micro"] * weights[i] >= least * sum(weights[j] for j in order[: place + 1])
    ]
    weights = [weight if i in enough else 0 for i, weight in enumerate(weights)]
    shares = counted if task["sap_rule"] == "shared" else [(counted[i][0], 1) for i in nearest]
    miners = split(task["shapley_micro"], [weight for _, weight in shares])
    return {
        "clients": split(task["train_micro"], weights) if any(weights) else [0] * len(values),
        "server": task["computation_micro"],
        "miners": [[miner, micro] for (miner, _), micro in zip(shares, miners, strict=True)],
        "requester": 0 if any(weights) else task["train_micro"],
    }
