from decimal import Decimal
from pathlib import Path

import pytest
from chains import ChainMaker
from places import place
from rounds import make_round

from fedcoin_cli.application.requester.publication import Publication
from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.configuration import Given, load
from ledger_store.identity.keys import verify


@pytest.mark.parametrize("price", ["0", "0.000001", "1000", "333.333331"])
def test_terms_come_from_settings_and_round(tmp_path: Path, price: str) -> None:
    """A task asks for what settings and round say, and its three parts are the price to the micro."""
    maker = ChainMaker(1)
    workspace = place(tmp_path, maker)
    files = read_round(make_round(workspace), maker.genesis)
    said = {
        "task.price": price,
        "consensus.difficulty": "0.25",
        "payment.rule": "shared",
        "task.runtime": "2.5",
    }
    settings = load(None, {key: Given(value, "flag", key) for key, value in said.items()}, {}).settings
    terms = AskedTerms(settings, maker.server.address, 500_000)
    task = Publication.of(workspace, files, terms).task(maker.requester.address, 7)
    assert (task.sender, task.sequence, task.server) == (maker.requester.address, 7, maker.server.address)
    assert task.train_micro + task.computation_micro + task.shapley_micro == task.price_micro
    assert task.price_micro == int(Decimal(price) * 10**6)
    assert abs(task.train_micro * 10 - task.price_micro * 7) < 10
    assert (task.difficulty_micro, task.runtime_ms, task.sap_rule) == (250_000, 2_500, "shared")
    assert (task.payment_error_micro, task.images, task.clients) == (
        500_000,
        files.images,
        len(files.updates),
    )
    for update in task.updates:  # simulated clients sign now, for these very terms
        assert verify(update.client, "update", maker.genesis.id, task.update_terms(update), update.signature)
