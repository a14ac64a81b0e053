"""Networks of several people: rosters, joining, successors."""

import socket
from pathlib import Path
from typing import Any

import pytest
from chains import COIN, ChainMaker, key
from places import place, settled_round

from benchmarks.network import free_ports
from fedcoin_cli.application.diagnosis.workspace_checks import ports
from fedcoin_cli.application.founding.founding import Founding
from fedcoin_cli.application.founding.old_chain import Seam, end_of, ledger_of, look_across
from fedcoin_cli.application.founding.plans import (
    LEAST_SHAPLEY_MICRO,
    LEAST_SHAPLEY_MICRO_A_SECOND,
    Beginning,
    Invited,
    Joined,
    Local,
    NetworkPlan,
)
from fedcoin_cli.application.workspace.configuration import Given, load
from fedcoin_cli.application.workspace.keyring import make_key
from fedcoin_cli.application.workspace.peers import Peer, listening, read_peers, render_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.audit.succession import inherited
from ledger_store.base.errors import (
    ConsensusFailure,
    FedCoinError,
    KeyFailure,
    LedgerInvalid,
    Locked,
    SettingsError,
)
from ledger_store.base.names import Address
from ledger_store.file.chain_file import ChainFile, ChainReader
from ledger_store.genesis import Genesis
from ledger_store.identity.keyfile import read_key
from ledger_store.identity.passphrase import Passphrase

NOW_MS = 1_800_000_000_000
ANY = "0.0.0.0"  # noqa: S104 -- compared only
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


def found(root: Path, plan: NetworkPlan, old: Workspace | None = None, **said: str) -> Genesis:
    """Make a workspace by a plan."""
    flags = {name.replace("__", "."): Given(value, "flag", name) for name, value in said.items()}
    return Founding(root, load(None, flags, {}), plan, old=old).make(force=False)


def beginning(**changes: Any) -> Beginning:
    """A new network of 1000 coins."""
    return Beginning(
        **{"network": "shop", "time_ms": NOW_MS, "delta_ms": 500, "supply_micro": 1000 * COIN, **changes}
    )


def invite(tmp_path: Path, hosts: tuple[str, ...] = HOSTS) -> tuple[Path, list[Workspace]]:
    """A roster file of people with a key miner-1 each, in folders of their own; one auditor stands in it, too."""
    folders = [Workspace(tmp_path / f"host-{number}") for number, _ in enumerate(hosts, 1)]
    peers = [
        Peer(f"person-{number}", Address(make_key(folder, "miner-1")), host, 7460)
        for number, (folder, host) in enumerate(zip(folders, hosts, strict=True), 1)
    ]
    peers.append(Peer("auditor", key("auditor").address, "", 0))
    path = tmp_path / "roster.toml"
    path.write_text(render_peers(peers))
    return path, folders


def test_strangers_found_and_join_one_network(tmp_path: Path) -> None:
    """The founder's key mines at its place, the others join with theirs; all have one genesis and one ledger file."""
    roster, folders = invite(tmp_path)
    genesis = found(folders[0].root, Invited(beginning(), roster))
    assert genesis.roster == tuple(folder.address("miner-1") for folder in folders)
    assert genesis.bounds.least_shapley_price_micro_a_second == LEAST_SHAPLEY_MICRO_A_SECOND
    assert genesis.bounds.least_shapley_price_micro == LEAST_SHAPLEY_MICRO
    assert genesis.supply == ((folders[0].address("requester"), 1000 * COIN),)
    given = Joined(folders[0].genesis_file, folders[0].peers_file)
    assert [found(folder.root, given).id for folder in folders[1:]] == [genesis.id] * 2
    for folder, host in zip(folders, HOSTS, strict=True):
        assert [miner.number for miner in folder.miners] == [1]
        assert folder.miner(1).chain.read_bytes() == folders[0].miner(1).chain.read_bytes()
        settings = load(folder.settings_file, {}, {}).settings
        assert (settings.network.bind, settings.network.miners) == (host, 3)
        assert len(read_peers(folder.peers_file)) == 4
    assert len({folder.address("requester") for folder in folders}) == 3


def test_a_member_without_a_miner_has_no_ledger(tmp_path: Path) -> None:
    """Whoever joins without a key on the roster gets keys of their own and no miner; nothing is minted to them."""
    roster, folders = invite(tmp_path)
    genesis = found(folders[0].root, Invited(beginning(), roster))
    found(tmp_path / "client", Joined(folders[0].genesis_file, roster))
    client = Workspace(tmp_path / "client")
    assert client.miners == ()
    assert client.key_names() == ("requester", "server")
    assert client.address("requester") not in dict(genesis.supply)


def test_a_miner_may_call_its_key_as_it_likes(tmp_path: Path) -> None:
    """A key on the roster under another name is taken for a miner's as well; the roster's places are kept."""
    folder = Workspace(tmp_path / "net")
    addresses = [make_key(folder, name) for name in ("zoe", "miner-2", "adam")]
    roster = tmp_path / "roster.toml"
    roster.write_text(
        render_peers([Peer(f"p{n}", Address(a), "10.0.0.1", 7460 + 2 * n) for n, a in enumerate(addresses)])
    )
    found(folder.root, Invited(beginning(), roster))
    assert [folder.address(f"miner-{number}") for number in (1, 2, 3)] == addresses
    assert read_key(folder.key_file("zoe")).address == addresses[0]


@pytest.mark.parametrize(("host", "bind"), [("10.1.2.3", "10.1.2.3"), ("host.example", ANY)])
def test_members_listen_where_the_others_reach_them(tmp_path: Path, host: str, bind: str) -> None:
    """On the address of the roster, and on every interface where that is a name; what the person says goes before."""
    roster, folders = invite(tmp_path, (host,))
    found(folders[0].root, Invited(beginning(), roster))
    assert load(folders[0].settings_file, {}, {}).settings.network.bind == bind
    again = Workspace(tmp_path / "again")
    roster.write_text(render_peers([Peer("me", Address(make_key(again, "miner-1")), host, 7460)]))
    found(again.root, Invited(beginning(), roster), network__bind="192.0.2.1")
    assert load(again.settings_file, {}, {}).settings.network.bind == "192.0.2.1"


def test_guests_listen_nowhere(tmp_path: Path) -> None:
    """Who stands in the peers file with an address alone is nobody to connect to; nor is a stranger with a host."""
    miner, guest = Peer("a", key("a").address, "10.0.0.1", 7460), Peer("g", key("g").address, "", 0)
    stranger = Peer("s", key("s").address, "10.0.0.2", 7460)
    path = tmp_path / "peers.toml"
    path.write_text(render_peers([guest, miner, stranger]))
    assert read_peers(path) == (guest, miner, stranger)
    assert listening(path, [miner.address, guest.address]) == (miner,)


def test_doctor_knows_a_miner_by_its_key(tmp_path: Path) -> None:
    """A port that somebody else took is found, whatever the roster calls the local miner."""
    port = free_ports(2)
    folder = Workspace(tmp_path / "net")
    (tmp_path / "roster.toml").write_text(
        render_peers([Peer("anna", Address(make_key(folder, "miner-1")), "127.0.0.1", port)])
    )
    found(folder.root, Invited(beginning(), tmp_path / "roster.toml"))
    assert ports(folder).said.startswith("2 free")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert str(port) in ports(folder).said


def test_wrong_rosters(tmp_path: Path) -> None:
    """One key twice, an address that is no key, nobody who listens: refused, and no workspace is made."""
    good = Peer("a", key("a").address, "10.0.0.1", 7460)
    wrong = {
        "have one key": (good, Peer("b", good.address, "10.0.0.2", 7460)),
        "is not a key": (good, Peer("b", Address("ff" * 32), "10.0.0.2", 7460)),
        "no miner": (Peer("a", good.address, "", 0),),
    }
    for words, peers in wrong.items():
        (tmp_path / "roster.toml").write_text(render_peers(peers))
        with pytest.raises(FedCoinError, match=words):
            found(tmp_path / "net", Invited(beginning(), tmp_path / "roster.toml"))
    assert not (tmp_path / "net").exists()


def test_odd_names_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    """A stranger's peers file whose names a terminal would obey: not even a folder is there afterwards."""
    roster, folders = invite(tmp_path)
    found(folders[0].root, Invited(beginning(), roster))
    peers = tmp_path / "theirs.toml"
    peers.write_text(roster.read_text() + f'\n["\\u001b[2J"]\naddress = "{"ab" * 32}"\n')
    with pytest.raises(SettingsError, match="is not a peer's name"):
        found(tmp_path / "new", Joined(folders[0].genesis_file, peers))
    assert not (tmp_path / "new").exists()


def test_a_miner_that_is_not_on_the_roster(tmp_path: Path) -> None:
    """A key miner-1 that the founder does not know is refused, and stays where it is."""
    roster, folders = invite(tmp_path)
    found(folders[0].root, Invited(beginning(), roster))
    late = Workspace(tmp_path / "late")
    address = make_key(late, "miner-1")
    with pytest.raises(KeyFailure, match="not on this network's roster"):
        found(late.root, Joined(folders[0].genesis_file, roster))
    assert not late.genesis_file.exists()
    assert late.address("miner-1") == address


def test_new_keys_are_sealed_when_that_is_wanted(tmp_path: Path) -> None:
    """Every key that init makes opens with the passphrase only; keys that stood there are as they were."""
    make_key(Workspace(tmp_path), "requester")
    words, configuration = Passphrase(b"secret"), load(None, {}, {})
    plan = Local(beginning(), configuration.settings, 2)
    Founding(tmp_path, configuration, plan, words).make(force=False)
    workspace = Workspace(tmp_path, lambda: Passphrase(b"secret"))
    sealed = {name: read_key(workspace.key_file(name)).sealed for name in workspace.key_names()}
    assert sealed == {name: name != "requester" for name in workspace.key_names()}
    assert workspace.key("miner-2").address == workspace.genesis().roster[1]


@pytest.fixture
def old(tmp_path: Path) -> Workspace:
    """A network of two miners: a settled round in blocks 1 to 3, a payment in block 4."""
    maker = ChainMaker(2)
    settled_round(maker)
    maker.add(maker.transfer(maker.requester, key("client-1").address, 5 * COIN))
    return place(tmp_path / "old", maker)


def succeed(old: Workspace, root: Path, *, refund: bool = False, **said: str) -> Genesis:
    """Found the successor of `old` with local miners."""
    end = end_of(ledger_of(old.root), refund=refund)
    flags = {name.replace("__", "."): Given(value, "flag", name) for name, value in said.items()}
    settings = load(None, flags, {}).settings
    return found(root, Local(Beginning.after(end, NOW_MS), settings, 0), old, **said)


def test_a_successor_carries_money_and_keys_over(tmp_path: Path, old: Workspace) -> None:
    """Every balance is minted, the old head named, keys are the same bytes, missing miners get new ones."""
    genesis = succeed(old, tmp_path / "new", network__miners="3")
    new = Workspace(tmp_path / "new")
    with ChainReader(old.miner(1).path) as chain:
        state = chain.tip.state
    assert dict(genesis.supply) == state.balances
    assert (genesis.predecessor, genesis.network) == (state.head, state.genesis.network)
    assert genesis.roster[:2] == state.genesis.roster
    assert [miner.number for miner in new.miners] == [1, 2, 3]
    for name in old.key_names():
        assert new.key_file(name).read_bytes() == old.key_file(name).read_bytes()
    assert look_across(genesis, old.miner(2).chain) == Seam(())


def test_a_successor_in_the_old_place(old: Workspace) -> None:
    """Forced, the old workspace is moved aside whole, and its keys go on in the new one."""
    keys = {name: old.key_file(name).read_bytes() for name in old.key_names()}
    chain = old.miner(1).chain.read_bytes()
    end = end_of(ledger_of(old.root), refund=False)
    configuration = load(None, {}, {})
    plan = Local(Beginning.after(end, NOW_MS), configuration.settings, 0)
    genesis = Founding(old.root, configuration, plan, old=old).make(force=True)
    before = Workspace(old.root / "previous-1")
    assert {name: before.key_file(name).read_bytes() for name in before.key_names()} == keys
    assert {name: old.key_file(name).read_bytes() for name in old.key_names()} == keys
    assert before.miner(1).chain.read_bytes() == chain
    assert look_across(genesis, ledger_of(before.root)) == Seam(())


def test_keys_at_the_place_of_a_successor_are_not_mixed_in(tmp_path: Path, old: Workspace) -> None:
    """A folder with keys of its own is no place for the old workspace's keys: it is refused, or moved aside."""
    new = Workspace(tmp_path / "new")
    address = make_key(new, "requester")
    with pytest.raises(SettingsError, match=r"is a \w+ here already"):
        succeed(old, new.root)
    assert new.address("requester") == address
    assert not new.genesis_file.exists()


def test_an_unfinished_task_holds_a_successor_up(tmp_path: Path) -> None:
    """It is refused, with what stands in escrow, unless the price may go back to who published the task [P-14.4]."""
    maker = ChainMaker(2)
    maker.add(maker.task())
    old = place(tmp_path / "old", maker)
    with pytest.raises(ConsensusFailure, match=r"11\.0* FedCoin are in escrow"):
        succeed(old, tmp_path / "new", network__miners="2")
    genesis = succeed(old, tmp_path / "new", refund=True, network__miners="2")
    assert dict(genesis.supply) == inherited(maker.tip.state) == {maker.requester.address: 10**6 * COIN}
    assert look_across(genesis, old.miner(1).chain) == Seam(())


def test_running_miners_are_not_succeeded(tmp_path: Path, old: Workspace) -> None:
    """While a miner of the old chain writes, nothing is made: what it appends would be lost."""
    with ChainFile.open_for_writing(old.miner(2).path), pytest.raises(Locked):
        succeed(old, tmp_path / "new")
    assert not (tmp_path / "new" / "genesis.json").exists()


def test_a_damaged_ledger_has_no_successor(tmp_path: Path, old: Workspace) -> None:
    """The old ledger passes a whole audit first, signatures included [P-14.4]."""
    for miner in old.miners:
        data = bytearray(miner.chain.read_bytes())
        at = data.index(b'"signature":"') + 20
        data[at] = ord("0") if data[at] != ord("0") else ord("1")
        miner.chain.write_bytes(data)
    with pytest.raises(LedgerInvalid, match="invalid at height 1"):
        succeed(old, tmp_path / "new")


def test_a_block_without_its_certificate_is_not_carried_over(tmp_path: Path, old: Workspace) -> None:
    """A ledger file on its own is certified to the block before its last: that is where the successor begins.

    [P-14.4]
    """
    alone = tmp_path / "copy.jsonl"
    alone.write_bytes(old.miner(1).chain.read_bytes())
    assert end_of(alone, refund=False).height == 3
    assert end_of(old.miner(1).chain, refund=False).height == 4


def test_the_seam_is_looked_at_from_both_sides(tmp_path: Path, old: Workspace) -> None:
    """Blocks after the seam are counted, an uncertified end is no end, another network's ledger is none."""
    genesis = succeed(old, tmp_path / "new", network__miners="2")
    longer = ChainMaker(2)
    settled_round(longer)
    longer.add(longer.transfer(longer.requester, key("client-1").address, 5 * COIN))
    longer.add_transfers(2)
    assert look_across(genesis, longer.write(tmp_path / "longer")) == Seam((), after=2)
    alone = tmp_path / "copy.jsonl"
    alone.write_bytes(old.miner(1).chain.read_bytes())
    other = ChainMaker(3).write(tmp_path / "other")
    for path in (alone, other):
        assert [finding.code for finding in look_across(genesis, path).findings] == ["E207"]


def test_a_chain_without_blocks_has_a_successor(tmp_path: Path) -> None:
    """The roster may be mended before the first block: the predecessor is the genesis itself [P-14.1]."""
    maker = ChainMaker(2)
    old = place(tmp_path / "old", maker)
    genesis = succeed(old, tmp_path / "new", network__miners="1")
    assert genesis.predecessor == maker.genesis.id
    assert look_across(genesis, old.miner(1).chain) == Seam(())
