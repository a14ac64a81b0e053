"""All wanted files together, driven by hand: wishes that nobody renews."""

from pathlib import Path

from fedcoin_cli.network.files.downloads import WISH_S, Downloads
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Event, Wish
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.canonical import digest
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

ME = Address("me")

DATA = b"a file that somebody brings late"


def test_a_wish_that_nobody_renews_ends(tmp_path: Path) -> None:
    """Wanted once, a file is no longer wanted after ten minutes, and what came of it is gone; renewed, it is."""
    store, holder, events = Store(tmp_path), KeyPair.generate().address, list[Event]()
    wire = P2P(KeyPair.generate(), {})
    files = Downloads(store, ME, wire, events.append)
    kept, dropped = digest(b"kept"), digest(b"dropped")
    try:
        for name in (kept, dropped):
            files.want(Wish((name,), 2**20, 2**20, (holder,)), 0.0)
            store.partial(name, ME).append(DATA)
        files._entries[dropped].download.begin(holder, 0.0)
        files._entries[dropped].download.leave()
        files.want(Wish((kept,), 2**20, 2**20, (holder,)), WISH_S / 2)
        files.turn(WISH_S + 1)
        assert set(files._entries) == {kept}
        assert [path.name for path in tmp_path.iterdir()] == [f"{kept}.me.part"]
        files.turn(2 * WISH_S)
        assert not files._entries
    finally:
        files.close()
        wire.close()
