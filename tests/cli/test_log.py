from chains import ChainMaker
from places import won_by
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace


def test_every_block_newest_last(workspace: Workspace, maker: ChainMaker) -> None:
    """Each block has its line with height and transactions, in order."""
    said = fedcoin("log", folder=workspace.root)
    assert said.code == 0
    words = [line.split() for line in said.out.splitlines()[:4]]
    assert [(line[0], line[3]) for line in words] == [
        ("1", "task"),
        ("2", "close"),
        ("3", "result"),
        ("4", "transfer"),
    ]
    data = fedcoin("log", "--json", folder=workspace.root).json
    assert [block["id"] for block in data["blocks"]] == [block.id for block in maker.blocks]
    assert data["blocks"][3]["transactions"][0]["sender"] == maker.requester.address


def test_only_the_newest(workspace: Workspace) -> None:
    """--last leaves the older blocks out."""
    data = fedcoin("log", "--last", "2", "--json", folder=workspace.root).json
    assert [block["height"] for block in data["blocks"]] == [3, 4]


def test_only_one_account(workspace: Workspace) -> None:
    """--account keeps the blocks in which the account signed something or was paid."""
    root = workspace.root
    for who, heights in (("client-002", [3]), ("client-001", [3, 4]), ("requester", [1, 4])):
        data = fedcoin("log", "--account", who, "--json", folder=root).json
        assert [block["height"] for block in data["blocks"]] == heights, who
    assert fedcoin("log", "--account", "nobody", folder=root).code == 11


def test_a_log_tells_what_a_command_needs(workspace: Workspace, maker: ChainMaker) -> None:
    """Each line names the id that `show` takes, in JSON with names beside addresses."""
    said = fedcoin("log", folder=workspace.root).out
    blocks = fedcoin("log", "--json", folder=workspace.root).json["blocks"]
    task, close, result, transfer = (one for block in blocks for one in block["transactions"])
    assert (task["price"], task["clients"], task["sender_name"]) == ("10.000000", 3, "requester")
    assert close["task"] == result["task"] == task["id"] == task["task"]
    assert (result["state"], result["winner"]) == ("SETTLED", won_by(maker))
    assert result["winner_name"] in {"miner-1", "miner-2"}
    assert (transfer["amount"], transfer["to_name"]) == ("5.000000", "client-001")
    for one in (task, transfer):
        assert one["id"][:16] in said
        assert fedcoin("show", one["id"][:16], folder=workspace.root).code == 0
