from dataclasses import replace

import pytest
from chains import COIN, ChainMaker, key

from fedcoin_cli.replica.mempool import PENDING, PENDING_AN_ACCOUNT, Mempool, Pendable, fresh_block
from ledger_store.base.canonical import encode
from ledger_store.base.errors import BadSignature, InvalidTransaction
from ledger_store.state import Transition, apply
from ledger_store.transaction import Task, Transfer, sign

DELTA_MS, NOW_MS = 500, 10_000
ROOM = 500_000


@pytest.fixture
def chain() -> ChainMaker:
    """A chain on which a friend has 100 coins besides the requester."""
    maker = ChainMaker(4)
    maker.add(maker.transfer(maker.requester, key("friend").address, 100 * COIN))
    return maker


@pytest.fixture
def pool() -> Mempool:
    return Mempool(DELTA_MS)


def admit(pool: Mempool, chain: ChainMaker, *transactions: Pendable) -> None:
    for transaction in transactions:
        pool.admit(transaction, chain.tip.state, NOW_MS)


def packed(pool: Mempool, chain: ChainMaker, now_ms: int = NOW_MS, *, tasks: bool = True) -> list[Pendable]:
    return pool.pack(chain.tip.state, now_ms, tasks=tasks, room_bytes=ROOM)


def gift(chain: ChainMaker, micro: int = COIN, sender: str = "requester") -> Transfer:
    return chain.transfer(key(sender), chain.server.address, micro)


def test_what_is_admitted_is_packed_in_order(chain: ChainMaker, pool: Mempool) -> None:
    """Sorted by sender, then sequence; the block that comes of it is valid."""
    friend = [chain.transfer(key("friend"), chain.server.address, COIN, number) for number in (1, 2)]
    mine = [gift(chain), gift(chain)]
    admit(pool, chain, *mine, *friend)
    chosen = packed(pool, chain)
    assert chosen == sorted([*mine, *friend], key=lambda one: (one.sender, one.sequence))
    block = fresh_block(chain.tip.state, chain.certificates[-1], 0, list(chosen), 0)
    assert apply(chain.tip.state, block).height == 2


def test_bad_transactions_are_refused(chain: ChainMaker, pool: Mempool) -> None:
    """A gap in the sequence, an overdraft, a wrong signature, what only miners write, terms off the grid."""
    good = gift(chain)
    task = chain.task()
    bad: list[tuple[Pendable, str]] = [
        (chain.transfer(chain.requester, chain.server.address, COIN, 9), "sequence"),
        (chain.transfer(key("poor"), chain.server.address, COIN, 1), "balance"),
        (replace(good, signature="0" * 128), "signature"),
        (chain.task(most_rankings=21), "grid"),
    ]
    for transaction, reason in bad:
        with pytest.raises(InvalidTransaction, match=reason):
            admit(pool, chain, transaction)
    with pytest.raises(InvalidTransaction, match="only miners"):
        pool.admit(chain.close(task, chain.reveals(task)), chain.tip.state, NOW_MS)
    assert len(pool) == 0


def test_an_account_waits_behind_itself(chain: ChainMaker, pool: Mempool) -> None:
    """What would be an overdraft after the account's pending ones is refused, and so is the seventeenth [P-11.14]."""
    friend = [chain.transfer(key("friend"), chain.server.address, 60 * COIN, number) for number in (1, 2)]
    admit(pool, chain, friend[0])
    with pytest.raises(InvalidTransaction, match="balance"):
        admit(pool, chain, friend[1])
    admit(pool, chain, *(gift(chain) for _ in range(PENDING_AN_ACCOUNT)))
    with pytest.raises(InvalidTransaction, match="pending"):
        admit(pool, chain, gift(chain))


def test_a_block_takes_few_of_an_account_and_what_fits(chain: ChainMaker, pool: Mempool) -> None:
    """Eight an account; and no more bytes than there is room for."""
    many = [gift(chain) for _ in range(10)]
    admit(pool, chain, *many)
    assert packed(pool, chain) == many[:8]
    room = sum(len(encode(one.to_json())) for one in many[:3])
    assert pool.pack(chain.tip.state, NOW_MS, tasks=True, room_bytes=room) == many[:3]
    assert pool.pack(chain.tip.state, NOW_MS, tasks=True, room_bytes=room - 1) == many[:2]
    assert pool.pack(chain.tip.state, NOW_MS, tasks=True, room_bytes=-1) == []


def test_a_task_waits_for_its_files_and_three_deltas(chain: ChainMaker, pool: Mempool) -> None:
    """Not before its files are checked here, then 3Δ later, or at once when all miners have checked them [P-10.26]."""
    task = chain.task()
    admit(pool, chain, task)
    assert packed(pool, chain, 10**9) == []
    pool.task_checked(task, NOW_MS)
    assert pool.next_ready_ms(NOW_MS) == NOW_MS + 3 * DELTA_MS
    assert packed(pool, chain, NOW_MS + 3 * DELTA_MS - 1) == []
    assert packed(pool, chain, NOW_MS + 3 * DELTA_MS) == [task]
    assert packed(pool, chain, NOW_MS + 3 * DELTA_MS, tasks=False) == []
    pool.task_ready(task, NOW_MS + 1)
    assert packed(pool, chain, NOW_MS + 1) == [task]
    assert pool.next_ready_ms(NOW_MS + 1) is None


def test_only_what_a_block_could_take_starts_the_clock(chain: ChainMaker, pool: Mempool) -> None:
    """A task without files, and transfers of its account behind it, do not arm; checked, it does."""
    task = chain.task()
    admit(pool, chain, task, gift(chain))
    assert not pool.armed
    assert packed(pool, chain, 10**9) == []
    pool.task_checked(task, NOW_MS)
    assert pool.armed


def test_what_a_block_took_or_made_impossible_is_forgotten(chain: ChainMaker, pool: Mempool) -> None:
    """Done sequences go; a task for which its account has no longer the money goes, with all behind it."""
    first, second = gift(chain), gift(chain)
    dear = chain.transfer(key("friend"), chain.server.address, 90 * COIN, 1)
    behind = chain.transfer(key("friend"), chain.server.address, COIN, 2)
    admit(pool, chain, first, second, dear, behind)
    other = chain.transfer(key("friend"), chain.server.address, 95 * COIN, 1)
    chain.add(*sorted([first, other], key=lambda one: (one.sender, one.sequence)))
    pool.prune(chain.tip.state, [first.sender, other.sender])
    assert set(pool) == {second, behind}
    assert first.id not in pool
    assert dear.id not in pool


def test_a_kind_has_room_of_its_own(
    chain: ChainMaker, pool: Mempool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When transfers fill their room a task is still taken, and a transfer again when one has gone [P-11.14]."""
    monkeypatch.setitem(PENDING, "transfer", 1)
    first, second = gift(chain), chain.transfer(key("friend"), chain.server.address, COIN, 1)
    admit(pool, chain, first)
    with pytest.raises(InvalidTransaction, match="of this kind"):
        admit(pool, chain, second)
    admit(pool, chain, chain.task())
    pool.drop(first)
    admit(pool, chain, second)
    assert list(pool) == [second]


def test_what_a_block_did_not_touch_is_not_looked_at_again(
    chain: ChainMaker, pool: Mempool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a block the pending transfers of its accounts are tried again, and nobody else's; a task always is."""
    friends = chain.transfer(key("friend"), chain.server.address, COIN, 1)
    admit(pool, chain, gift(chain), friends)
    tried: list[str] = []
    execute = Transition.execute

    def noted(trial: Transition, one: Transfer | Task) -> None:
        tried.append(one.sender)
        execute(trial, one)

    monkeypatch.setattr(Transition, "execute", noted)
    pool.prune(chain.tip.state, [friends.sender])
    assert tried == [friends.sender]
    admit(pool, chain, task := chain.task())
    tried.clear()
    pool.prune(chain.tip.state, [])
    assert set(tried) == {task.sender}


def test_who_cannot_pay_has_no_signature_looked_at(
    chain: ChainMaker, pool: Mempool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its account's balance, or under a number that is taken, nothing is verified; a false client is told apart.

    [P-11.15]
    """
    task = chain.task()
    poor = replace(task, sender=key("nobody").address, sequence=1)
    with monkeypatch.context() as blind:
        blind.setattr("ledger_store.signed.verify_bytes", lambda *_: pytest.fail("looked at"))
        with pytest.raises(InvalidTransaction, match="a balance of 0 micro"):
            admit(pool, chain, poor)
        with pytest.raises(InvalidTransaction, match="sequence 1 where 2 is next"):
            admit(pool, chain, chain.transfer(chain.requester, chain.server.address, COIN, 1))
    admit(pool, chain, first := chain.transfer(chain.requester, chain.server.address, COIN, 2))
    with monkeypatch.context() as blind:
        blind.setattr("ledger_store.signed.verify_bytes", lambda *_: pytest.fail("looked at"))
        with pytest.raises(InvalidTransaction, match="sequence 2 where 3 is next"):
            admit(pool, chain, replace(first, amount_micro=2 * COIN))
    pool.drop(first)
    spoilt = replace(task.updates[-1], signature="00" * 64)
    plain = replace(task, updates=(*task.updates[:-1], spoilt), signature="")
    with pytest.raises(BadSignature):
        admit(pool, chain, sign(plain, chain.requester, chain.genesis.id))


def test_dropping_takes_what_stands_behind(chain: ChainMaker, pool: Mempool) -> None:
    """A task whose files are bad goes with the transfers that its account numbered after it."""
    task = chain.task()
    later = gift(chain)
    admit(pool, chain, task, later)
    assert pool.at(task.sender, task.sequence) == task
    pool.drop(task)
    assert (len(pool), list(pool), pool.armed) == (0, [], False)
    assert pool.at(task.sender, task.sequence) is None


def test_a_fresh_block_keeps_the_ledgers_pace(chain: ChainMaker) -> None:
    """Its time is the wall clock's, but never nearer to its parent than blocks may come."""
    state = chain.tip.state
    interval = chain.genesis.bounds.block_interval_ms
    slow = fresh_block(state, chain.certificates[-1], 3, [gift(chain)], state.time_ms + 10**6)
    fast = fresh_block(state, chain.certificates[-1], 0, [gift(chain)], state.time_ms - 10**6)
    assert (slow.header.time_ms, fast.header.time_ms) == (state.time_ms + 10**6, state.time_ms + interval)
    assert slow.header.proposer == (slow.height + 3) % 4


def test_tasks_are_listed(chain: ChainMaker, pool: Mempool) -> None:
    """The tasks among what is pending, for those who gather files."""
    task = chain.task()
    admit(pool, chain, task, gift(chain))
    assert pool.tasks() == [task]
    assert all(isinstance(one, Task) for one in pool.tasks())
