from collections.abc import Mapping

import pytest
from chains import COIN, ChainMaker, key
from hypothesis import given
from hypothesis import strategies as st

from ledger_store import layered
from ledger_store.layered import differences, editable
from ledger_store.state import Transition

keys = st.sampled_from("abcdefgh")
steps = st.lists(st.tuples(keys, st.none() | st.integers(0, 3)) | st.just("settle"), max_size=60)


@given(st.dictionaries(keys, st.integers(0, 3)), steps, st.integers(0, 6))
def test_it_is_a_dict_in_all_but_its_copies(
    base: dict[str, int], changes: list[tuple[str, int | None] | str], most: int
) -> None:
    """Whatever is set and deleted, in whatever layers: values, length and order are a dict's, and no layer changes."""
    expected, now = dict(base), editable(base)
    kept: list[tuple[Mapping[str, int], dict[str, int]]] = [(base, dict(base))]
    before, layered.TOP_MOST = layered.TOP_MOST, most
    try:
        for change in changes:
            if isinstance(change, str):
                settled = now.settled()
                kept.append((settled, dict(expected)))
                now = editable(settled)
            elif change[1] is None:
                assert now.pop(change[0], None) == expected.pop(change[0], None)
            else:
                now[change[0]] = expected[change[0]] = change[1]
            assert list(now.items()) == list(expected.items())
            assert (len(now), now == expected, expected == now) == (len(expected), True, True)
            assert [name in now for name in "abcdefgh"] == [name in expected for name in "abcdefgh"]
    finally:
        layered.TOP_MOST = before
    assert all(list(one.items()) == list(other.items()) for one, other in kept)


def base_of(mapping: object) -> object:
    return getattr(mapping, "_base", mapping)


def test_a_block_copies_what_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and trials share the base of the state they began with and leave it; a grown top becomes a new base."""
    monkeypatch.setattr(layered, "TOP_MOST", 20)
    maker = ChainMaker(4)
    first = maker.tip.state
    maker.add_transfers(5)
    state, before = maker.tip.state, dict(maker.tip.state.balances)
    assert base_of(state.balances) is base_of(first.balances)
    payment = maker.transfer(maker.requester, key("x").address, COIN)
    trial = Transition(state, maker.propose(payment), trusted=True)
    trial.execute(payment)
    assert base_of(trial._accounts.balances) is base_of(state.balances)
    maker.add(payment)
    assert (dict(state.balances), dict(first.balances)) == (before, dict(maker.genesis.supply))
    for number in range(20):
        maker.add(maker.transfer(maker.requester, key(f"new-{number}").address, COIN))
    assert base_of(maker.tip.state.balances) is not base_of(first.balances)
    assert maker.tip.state.total_micro == maker.genesis.supply_micro


def test_differences_are_found_whatever_the_layers() -> None:
    """Over one base, across a merge, and between plain dicts: the keys whose values differ, those gone too."""
    base = {str(number): number for number in range(10)}
    first = editable(base)
    first["1"], first["new"] = 100, 1
    del first["2"]
    before = first.settled()
    second = editable(before)
    second["1"], second["3"] = 1, 300
    del second["new"]
    second["2"] = 2
    assert differences(before, second.settled()) == {"1", "2", "3", "new"}
    assert differences(base, second) == {"3"}
    assert differences(before, dict(second)) == {"1", "2", "3", "new"}
    assert differences(base, dict(base)) == set()
