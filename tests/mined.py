"""Ledgers whose reveals were really mined: a round's files, tables in the store, and sums that follow from them."""

import json
from pathlib import Path
from typing import Any

from chains import COIN, TO_SIGN, ChainMaker
from places import place
from rounds import make_round

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.consensus.estimate import ProxySums
from fedcoin_cli.contract.settlement import settle
from fedcoin_cli.learning.mining.choice import engine_for
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game, RoundFiles
from fedcoin_cli.learning.mining.proxy import ProxyCounts, make_proxy, proxy_sums
from fedcoin_cli.learning.mining.sampling import Estimator, Mined, Plan, Session
from fedcoin_cli.learning.mining.table import TableTerms
from fedcoin_cli.learning.weights import write_proxy
from fedcoin_cli.network.store import Store
from ledger_store.keys import KeyPair
from ledger_store.transaction import Result, Task, Update


class MinedRound:
    """A settled task in blocks 1 to 3 of a new workspace; `tables` are the miners' bytes in roster order."""

    def __init__(
        self,
        root: Path,
        *,
        clients: int = 4,
        miners: int = 3,
        rankings: int = 16,
        estimator: Estimator = "balanced",
        proxy: bool = True,
        **terms: Any,
    ) -> None:
        self.maker = ChainMaker(miners)
        self.workspace: Workspace = place(root, self.maker, clients=clients)
        folder = make_round(self.workspace, clients)
        self.store = Store(self.workspace.store)
        self.game, files = _game(folder, clients, proxy=proxy)
        self.digests = {path.name: self.store.put_file(path) for path in files if path is not None}
        self.task = self._publish(folder, proxy, most_rankings=rankings, least_rankings=1, **terms)
        self.mined = [self._mine(miner, rankings, estimator) for miner in self.maker.miners]
        self.tables = [mined.table for mined in self.mined]
        self.result = self._settle()
        for miner in self.workspace.miners:
            self.maker.write(miner.path)

    @property
    def seed(self) -> bytes:
        """The task's."""
        return bytes.fromhex(self.maker.records[self.task.id].seed or "")

    @property
    def counts(self) -> list[int]:
        """u of every mask, by the engine that mined."""
        found = engine_for(self.game, FirstLayer(self.game), 1).counts(range(1, 1 << self.game.clients))
        return [self.task.empty, *found.tolist()]

    @property
    def proxy(self) -> ProxyCounts | None:
        """p."""
        return ProxyCounts.of(self.game)

    def _publish(self, folder: Path, proxy: bool, **terms: Any) -> Task:
        said = json.loads((folder / "round.json").read_text())
        updates = tuple(
            Update(one["digest"], one["client"], one["examples"], TO_SIGN) for one in said["updates"]
        )
        task = self.maker.task(
            clients=len(updates),
            model=said["model"],
            test=said["test"],
            proxy=self.digests["proxy.safetensors"] if proxy else None,
            images=self.game.images,
            difficulty_micro=100 * COIN,
            updates=updates,
            **terms,
        )
        self.maker.add(task)
        return task

    def _mine(self, miner: KeyPair, rankings: int, estimator: Estimator) -> Mined:
        plan = Plan(self.seed, bytes.fromhex(miner.address), rankings, rankings, 60.0, estimator)
        terms = TableTerms(self.game.clients, self.game.images, self.task.empty, self.proxy)
        session = Session(engine_for(self.game, FirstLayer(self.game), 1), terms, plan)
        while not session.advance(5.0).finished:
            pass
        mined = session.estimate()
        self.store.put_bytes(mined.table)
        return mined

    def _settle(self) -> Result:
        reveals = sorted(
            (
                self.maker.reveal(
                    self.task,
                    1,
                    miner,
                    rankings=mined.rankings,
                    exact=mined.exact,
                    sums=mined.sums,
                    values=mined.values,
                    table=self.store.put_bytes(mined.table),
                )
                for miner, mined in zip(self.maker.miners, self.mined, strict=True)
            ),
            key=lambda reveal: reveal.miner,
        )
        self.maker.add(self.maker.close(self.task, reveals))
        proxy = self.proxy
        sums, denominator = (
            ([0] * self.game.clients, 1) if proxy is None else proxy_sums(proxy, self.seed, self.task.empty)
        )
        record = self.maker.records[self.task.id]
        outcome = settle(record, self.maker.genesis, reveals, (), ProxySums(tuple(sums), denominator))
        result = Result(self.task.id, 1, tuple(reveals), (), tuple(sums), denominator, outcome)
        self.maker.add(result)
        return result


def _game(folder: Path, clients: int, *, proxy: bool) -> tuple[Game, list[Path | None]]:
    """The round's game and its files; the proxy's is written first where it is wanted."""
    updates = tuple(folder / f"client-{number:03d}.safetensors" for number in range(1, clients + 1))
    plain = RoundFiles(folder / "model.json", folder / "test.safetensors", updates)
    logits = folder / "proxy.safetensors" if proxy else None
    if logits is not None:
        write_proxy(logits, make_proxy(Game.load(plain)))
    game = Game.load(RoundFiles(plain.model, plain.test, updates, logits))
    return game, [plain.model, plain.test, *updates, logits]
