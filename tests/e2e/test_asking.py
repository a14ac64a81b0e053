"""Who asks the miners, in a workspace with several keys of which one has earned coins."""

from pathlib import Path

from live import workspace_of
from shell import Said, fedcoin


def say(folder: Path, *arguments: str) -> Said:
    """Run a command that must end well."""
    said = fedcoin(*arguments, folder=folder)
    assert said.code == 0, said.err
    return said


def test_a_member_asks_with_the_key_that_has_coins(tmp_path: Path) -> None:
    """Before there is a copy of the ledger that says whose it is, and after; `requester`, which is empty, is first."""
    member = tmp_path / "ben"
    with workspace_of(tmp_path / "shop", 2) as shop:
        say(shop.root, "mine", "--detach")
        say(shop.root, "status", "--wait", "60")
        say(tmp_path, "init", str(member), "--join", str(shop.root / "genesis.json"))
        say(member, "key", "new", "ben")
        refused = fedcoin("sync", folder=member)
        assert (refused.code, "do not admit this key" in refused.err) == (7, True), refused.err
        address = say(member, "key", "show", "ben", "--json").json["address"]
        say(shop.root, "pay", address, "5")
        assert say(member, "status", "--json").json["asked_as"] == "ben"
        assert say(member, "sync", "--json").json["height"] == 1
        assert say(member, "balance", "ben", "--json").json["balances"][0]["balance"] == "5.0"
        assert say(member, "sync", "--json").json["new"] == 0
