"""Miners spend what they earned: with their own keys, while they mine and while they do not."""

from pathlib import Path

from live import runtime_of, wait_until, workspace_of
from shell import fedcoin

PATIENCE_S = 180


def test_a_miner_pays_and_publishes_while_it_mines_and_while_it_is_off(tmp_path: Path) -> None:
    """Four real miners: payments and a whole round with miner 1's key, then a payment while its process is stopped."""
    with workspace_of(tmp_path / "net", 4, "--clients", "2") as net:
        runtime = runtime_of(net)
        for number in range(1, 5):
            runtime.start(number)

        def said(*words: str) -> str:
            answer = fedcoin(*words, folder=net.root, timeout_s=PATIENCE_S)
            assert answer.code == 0, answer.err
            return answer.out

        said("pay", "miner-1", "50")
        assert "paid 1.0 FedCoin to server" in said("pay", "server", "1", "--key", "miner-1")
        said("train", "--epochs", "1")
        said("publish", "--key", "miner-1", "--price", "20", "--runtime", "1")
        runtime.terminate(1)
        wait_until(lambda: not runtime.alive(1))
        assert "paid 2.0 FedCoin to server" in said("pay", "server", "2", "--key", "miner-1")
