import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_store.base.merkle import climb, path, root

# The reference leaves and heads of Certificate Transparency's own tests.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
HEADS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SOME_LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(9))
def test_heads_are_those_of_rfc_6962(size: int) -> None:
    """The tree heads over the first 0 to 8 reference leaves [P-1.14]."""
    assert root(LEAVES[:size]).hex() == HEADS[size]


@pytest.mark.parametrize(
    ("size", "index", "siblings"),
    [
        (1, 0, []),
        (
            8,
            0,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            3,
            1,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
            ],
        ),
    ],
)
def test_paths_are_those_of_rfc_6962(size: int, index: int, siblings: list[str]) -> None:
    """Reference audit paths, from the leaf's sibling up."""
    assert [sibling.hex() for _, sibling in path(LEAVES[:size], index)] == siblings


@given(SOME_LEAVES, st.data())
def test_every_path_leads_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    """Inclusion of each leaf can be shown, and of no other leaf in its place."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    steps = path(leaves, index)
    assert climb(leaves[index], steps) == root(leaves)
    assert climb(leaves[index] + b"!", steps) != root(leaves)


@given(SOME_LEAVES, st.data())
def test_a_changed_path_shows_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    """One step too many, one too few, or a sibling on the other side leads to no root of this tree."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    steps = path(leaves, index)
    assert climb(leaves[index], [*steps, (False, bytes(32))]) != root(leaves)
    for place, (on_left, sibling) in enumerate(steps):
        before, after = steps[:place], steps[place + 1 :]
        assert climb(leaves[index], [*before, *after]) != root(leaves)
        mirrored = climb(leaves[index], [*before, (not on_left, sibling), *after])
        twins = sibling == climb(leaves[index], before)
        assert twins or mirrored != root(leaves)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20))
def test_no_leaf_stands_twice(leaves: list[bytes]) -> None:
    """An odd node is not duplicated, and a node is no leaf: neither forgery has the same root [P-1.14]."""
    assert root([*leaves, leaves[-1]]) != root(leaves)
    if len(leaves) == 2:
        joined = b"".join(hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves)
        assert root([joined]) != root(leaves)
