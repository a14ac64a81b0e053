"""Tables: what each byte counts, which bytes are no table, and what follows from one."""

from itertools import pairwise

import numpy as np
import pytest
from block_games import BlockGame, finish, picture_game, random_game, sums_by_hand
from oracles import shapley

from fedcoin_cli.consensus.rankings import prefixes, ranking
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.shapley import table as tables
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import (
    Claim,
    Place,
    Table,
    TableTerms,
    decode,
    decode_exact,
    derive,
    encode_exact,
    entries_of,
    entry_count,
    place_of,
    sums_of,
)
from ledger_store.base.errors import Malformed
from ledger_store.transaction import exact_denominator

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
SIZES = (4, 4, 3)


def claim(rankings: int, *, exact: bool = False) -> Claim:
    return Claim(SEED, KEY, rankings, exact)


def table_of(game: BlockGame, rankings: int, key: bytes = KEY) -> Table:
    """What an honest miner of so many rankings writes."""
    blocks = range(len(game.sizes))
    walked = game.walk(blocks, orders(SEED, key, blocks, range(rankings), game.clients))
    empty, full = game.ends()
    return Table(empty.astype(np.uint8), full.astype(np.uint8), walked)


@pytest.mark.parametrize("clients", [1, 2, 3, 9])
@pytest.mark.parametrize("rankings", [1, 6, 40])
def test_a_sampled_table_comes_back(clients: int, rankings: int) -> None:
    """Reading gives back all counts; its length is 2 bytes a block and K − 1 a ranking and block, to the byte.

    [P-12.4]
    """
    game = random_game(clients, SIZES, baseline=True)
    table = table_of(game, rankings)
    data = table.encode()
    assert len(data) == 3 * (2 + rankings * (clients - 1))
    again = decode(data, claim(rankings), game.terms)
    assert again.empty.tolist() == table.empty.tolist()
    assert again.full.tolist() == table.full.tolist()
    assert again.walked.tolist() == table.walked.tolist()
    assert entries_of(claim(rankings), game.terms) == len(data)


def test_the_very_bytes() -> None:
    """u(∅) of each block, u(full) of each, then block by block and ranking by ranking; exact counts big-endian.

    [P-12.4] [P-12.5]
    """
    walked = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.uint8)
    data = Table(np.array([9, 10], np.uint8), np.array([11, 12], np.uint8), walked).encode()
    assert data == bytes([9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8])
    assert encode_exact(np.array([1, 2, 770])) == bytes.fromhex("00000001 00000002 00000302")


def test_rows_that_lie_apart_in_memory_are_written_in_order() -> None:
    """A part of a larger array, as a session keeps it, is written as what it shows."""
    walked = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data = Table(np.zeros(2, np.uint8), np.zeros(2, np.uint8), walked[:, :2]).encode()
    assert list(data) == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]


@pytest.mark.parametrize("clients", [1, 2, 5, 9])
@pytest.mark.parametrize("baseline", [False, True])
def test_sums_follow_from_the_table(clients: int, baseline: bool) -> None:
    """N_j derived from bytes equals the walk over the derived rankings of all blocks, whatever is walked at once.

    [P-7.7]
    """
    game = random_game(clients, [16, 16, 15, 15], baseline=baseline)
    for rankings in (1, 2 * clients + 1, 30):
        data = table_of(game, rankings).encode()
        assert derive(data, claim(rankings), game.terms) == sums_by_hand(game, SEED, KEY, range(rankings))


def test_sums_of_many_clients_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 70 clients, all blocks together or a few at a time: the same sums, those of walking one by one."""
    draw = np.random.default_rng(0)
    blocks, rankings, clients = 7, 5, 70
    walked = draw.integers(0, 17, (blocks, rankings, clients - 1)).astype(np.uint8)
    table = Table(np.zeros(blocks, np.uint8), draw.integers(0, 17, blocks).astype(np.uint8), walked)
    sums = [0] * clients
    for block in range(blocks):
        for index in range(rankings):
            counts = [0, *walked[block, index].tolist(), int(table.full[block])]
            steps = [after - before for before, after in pairwise(counts)]
            for client, step in zip(ranking(SEED, KEY, block, index, clients), steps, strict=True):
                sums[client] += step
    assert sums_of(table, claim(rankings)) == tuple(sums)
    monkeypatch.setattr(tables, "_WALKED_AT_ONCE", 2 * rankings * clients)
    assert sums_of(table, claim(rankings)) == tuple(sums)


@pytest.mark.parametrize("rankings", [1, 7, 33])
def test_nothing_gained_is_lost(rankings: int) -> None:
    """Σ N_j = t · Σ (u(full) − u(∅)) over the blocks, for any counts between, false ones as well [P-7.7]."""
    game = random_game(6, [16] * 9, baseline=True)
    data = bytearray(table_of(game, rankings).encode())
    gain = int(game.counts[:, -1].sum() - game.counts[:, 0].sum())
    assert sum(derive(bytes(data), claim(rankings), game.terms)) == rankings * gain
    data[25], data[-1] = 0, 16
    assert sum(derive(bytes(data), claim(rankings), game.terms)) == rankings * gain


@pytest.mark.parametrize("clients", [1, 2, 3, 6, 9])
def test_exact_table(clients: int) -> None:
    """An exact table gives Λ·φ_j as brute force does, with the u(∅) that the task names, whatever t it claims.

    [P-7.8]
    """
    game = random_game(clients, [200, 100], seed=clients, baseline=True)
    data = encode_exact(np.array(game.whole[1:]))
    scale = exact_denominator(clients)
    for rankings in (1, 13):
        derived = derive(data, claim(rankings, exact=True), game.terms)
        assert derived == tuple(int(scale * value) for value in shapley(game.whole))
    assert decode_exact(data, game.terms).tolist() == game.whole[1:]
    assert entries_of(claim(1, exact=True), game.terms) == (1 << clients) - 1


def test_exact_numerators_sum_to_the_whole_gain() -> None:
    """Σ E_j = Λ·(u(full) − u(∅)), with large counts and 16 clients [P-7.8]."""
    counts = np.random.default_rng(0).integers(0, 1_000_000, (1 << 16) - 1)
    values = exact_numerators(counts, 123, 16)
    assert sum(values) == exact_denominator(16) * (int(counts[-1]) - 123)


@pytest.mark.parametrize("rankings", [1, 4, 11])
def test_every_number_of_rankings_is_unbiased(rankings: int) -> None:
    """Over 800 keys the mean of partial and whole squares is the Shapley value, up to its own random error.

    Seven blocks are not a multiple of five clients: some begin more often, but who does is drawn.
    """
    game = picture_game(5, 54)
    truth = np.array([float(value) for value in shapley(game.whole)])
    found = np.array(
        [
            sums_of(table_of(game, rankings, key), Claim(SEED, key, rankings, exact=False))
            for key in (number.to_bytes(32, "big") for number in range(800))
        ]
    )
    values = found / rankings
    z = (values.mean(axis=0) - truth) / (values.std(axis=0, ddof=1) / np.sqrt(800))
    # P(|N| > x) ≤ exp(−x²/2): one false alarm in 100,000 families of five.
    assert np.abs(z).max() < np.sqrt(2 * np.log(5e5)), z


# What is not a table --------------------------------------------------------------------------------------------------


def good(baseline: bool = False) -> tuple[bytes, TableTerms]:
    game = random_game(3, SIZES, seed=2, baseline=baseline)
    return table_of(game, 5).encode(), game.terms


def with_byte(data: bytes, entry: int, value: int) -> bytes:
    edited = bytearray(data)
    edited[entry] = value
    return bytes(edited)


@pytest.mark.parametrize("length", [0, 1, 35, 37, 72])
def test_another_length_is_refused(length: int) -> None:
    """A byte less, a byte more, nothing, twice as much: no table, before any of it is believed [P-12.6]."""
    data, terms = good()
    assert len(data) == 36
    with pytest.raises(Malformed, match="one count for each"):
        derive((2 * data)[:length], claim(5), terms)


@pytest.mark.parametrize("rankings", [4, 6, 1_000_000])
def test_another_number_of_rankings_is_refused(rankings: int) -> None:
    """A claim of another t than the table was made for does not pass."""
    data, terms = good()
    with pytest.raises(Malformed, match="one count for each"):
        derive(data, claim(rankings), terms)


@pytest.mark.parametrize("sizes", [(2,) * 6, (11,), (6, 5), (4, 4, 2, 1)])
def test_a_table_of_another_block_size_is_refused(sizes: tuple[int, ...]) -> None:
    """The same images in more or fewer blocks make a table of another length."""
    data, terms = good()
    with pytest.raises(Malformed, match="one count for each"):
        derive(data, claim(5), TableTerms(3, np.array(sizes), terms.empty))


def test_a_table_for_another_number_of_clients_is_refused() -> None:
    """Four clients would visit three coalitions a ranking."""
    data, terms = good()
    with pytest.raises(Malformed, match="one count for each"):
        derive(data, claim(5), TableTerms(4, terms.sizes, 0))


@pytest.mark.parametrize(
    ("entry", "size"), [(3, 4), (5, 3), (6, 4), (15, 4), (16, 4), (25, 4), (26, 3), (35, 3)]
)
def test_a_count_above_its_block_is_refused(entry: int, size: int) -> None:
    """Ends and first and last counts of each block: as many images as it has are read, one more is refused [P-12.6]."""
    data, terms = good()
    derive(with_byte(data, entry, size), claim(5), terms)
    for above in (size + 1, 255):
        with pytest.raises(Malformed, match="worth on a block"):
            derive(with_byte(data, entry, above), claim(5), terms)


def test_nobody_counts_only_with_a_baseline() -> None:
    """u(∅) above 0 is refused where it is 0 by declaration, and above the block's images in any case [P-12.6]."""
    data, terms = good()
    with pytest.raises(Malformed, match="no baseline"):
        derive(with_byte(data, 2, 1), claim(5), terms)
    data, terms = good(baseline=True)
    derive(with_byte(data, 2, 3), claim(5), terms)
    with pytest.raises(Malformed, match="worth on a block"):
        derive(with_byte(data, 2, 4), claim(5), terms)


@pytest.mark.parametrize("counts", [[], [1, 2], [1, 2, 3, 4], [1, 2, 12], [2**31, 0, 0], [0, 2**32 - 1, 0]])
def test_wrong_exact_tables_are_refused(counts: list[int]) -> None:
    """An exact table of 2 clients has three counts, each at most the images of all blocks; a cut one is none.

    [P-12.6]
    """
    terms = TableTerms(2, np.array(SIZES), 0)
    derive(encode_exact(np.array([0, 3, 11])), claim(1, exact=True), terms)
    with pytest.raises(Malformed):
        derive(encode_exact(np.array(counts, np.int64)), claim(1, exact=True), terms)
    with pytest.raises(Malformed):
        derive(encode_exact(np.array([0, 3, 11]))[:-1], claim(1, exact=True), terms)


def test_one_kind_is_not_read_as_the_other() -> None:
    """A sampled table claimed to be exact and an exact one claimed to be sampled are refused by their length."""
    data, terms = good()
    with pytest.raises(Malformed):
        derive(data, claim(5, exact=True), terms)
    with pytest.raises(Malformed):
        derive(encode_exact(np.zeros(7, np.int64)), claim(5), terms)


def test_a_copied_table_gives_its_copier_other_sums() -> None:
    """Masks are not stored: under another key the same bytes mean other coalitions, which a check then finds false."""
    game = random_game(6, [16] * 4)
    data = table_of(game, 9).encode()
    copied = Claim(SEED, bytes(32), 9, exact=False)
    assert derive(data, copied, game.terms) != derive(data, claim(9), game.terms)
    places = [place_of(entry, copied, game.terms) for entry in range(8, len(data))]
    wrong = [data[8 + number] != game.counts[one.block, one.mask] for number, one in enumerate(places)]
    assert np.mean(wrong) > 0.5


# Entries ------------------------------------------------------------------------------------------------------------


def test_each_entry_names_what_it_counts() -> None:
    """Entry by entry, an honest table's count is that of the coalition and block which the entry names [P-12.7]."""
    game = random_game(5, SIZES, seed=4, baseline=True)
    data, made = table_of(game, 7).encode(), claim(7)
    for entry in range(len(data)):
        place = place_of(entry, made, game.terms)
        assert place.block is not None
        assert entry_count(data, made, entry, game.terms) == game.counts[place.block, place.mask]
    assert [place_of(entry, made, game.terms) for entry in range(6)] == [
        *(Place(block, 0) for block in range(3)),
        *(Place(block, 31) for block in range(3)),
    ]
    last = prefixes(ranking(SEED, KEY, 2, 6, 5))[3]
    assert place_of(len(data) - 1, made, game.terms) == Place(2, last)


def test_entries_of_an_exact_table() -> None:
    """Entry e counts mask e + 1 on all images [P-12.5]."""
    game = random_game(4, SIZES)
    data, made = encode_exact(np.array(game.whole[1:])), claim(50, exact=True)
    for entry in range(15):
        assert place_of(entry, made, game.terms) == Place(None, entry + 1)
        assert entry_count(data, made, entry, game.terms) == game.whole[entry + 1]


@pytest.mark.parametrize("exact", [False, True])
def test_there_is_no_entry_beyond_the_table(exact: bool) -> None:
    """An accusation may name any number: what is no entry is malformed, not another entry [P-12.7]."""
    terms = random_game(4, SIZES).terms
    most = entries_of(claim(5, exact=exact), terms)
    for entry in (-1, most, 2**63):
        with pytest.raises(Malformed, match="no entry"):
            place_of(entry, claim(5, exact=exact), terms)
    place_of(most - 1, claim(5, exact=exact), terms)


def test_places_in_words() -> None:
    """People read the coalition as everywhere else, and in which block."""
    assert Place(7, 0b101).words(9) == "coalition 0005 in block 7"
    assert Place(None, 0b101).words(9) == "coalition 0005"


def test_a_session_writes_what_others_read() -> None:
    """The table and the sums of a session are those of its claim."""
    game = random_game(4, SIZES, baseline=True)
    mined = finish(MiningSession(game, None, game.terms, MiningPlan(SEED, KEY, 1, 20, 60.0))).estimate()
    assert mined.table == table_of(game, 20).encode()
    assert mined.sums == derive(mined.table, claim(20), game.terms)
