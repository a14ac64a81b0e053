"""Ledgers whose reveals were really mined: a round's files, tables in the store, and sums that follow from them."""

import json
from pathlib import Path
from typing import Any

from chains import COIN, TO_SIGN, ChainMaker
from places import place
from rounds import CLASSES, make_game_round, make_graph_round, make_round

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.metric import read_metric
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.contract.settlement import settle
from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.engines.choice import engine_for, enumeration_for, walker_for
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.graph.graph import Graph
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.reference.referee import prepared, reference_for
from fedcoin_cli.learning.shapley.judging import CountJudge
from fedcoin_cli.learning.shapley.sampling import Estimator, MinedEstimate, MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Place, TableTerms
from fedcoin_cli.learning.task_game import blocks_of, load_game, table_terms, worth
from fedcoin_cli.network.files.store import Store
from ledger_store.base.canonical import digest
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import CHANCE, ZERO, Result, Task, Update


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
        classes: int = CLASSES,
        seed: int = 0,
        graph: Graph | Game | None = None,
        real: bool = False,
        **terms: Any,
    ) -> None:
        self.maker = ChainMaker(miners)
        self.workspace: Workspace = place(root, self.maker, clients=clients)
        if graph is None:
            folder = make_round(self.workspace, clients, seed=seed, classes=classes)
        elif isinstance(graph, Game):
            folder = make_game_round(self.workspace, graph)
        else:
            folder = make_graph_round(self.workspace, graph, clients, seed=seed, real=real)
        self.store = Store(self.workspace.store)
        self.game, files = _game(folder, clients)
        self.digests = {path.name: self.store.put_file(path) for path in files}
        requester = self.maker.requester.address
        judged = _judged(requester, folder, terms.pop("metric", "accuracy"), terms.pop("baseline", "zero"))
        self.task = self._publish(folder, most_rankings=rankings, least_rankings=1, **judged, **terms)
        self.game = load_game(self.task, self.store.path)
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
        found = engine_for(self.game, prepared(self.game), 1).counts(range(1, 1 << self.game.clients))
        return [self.task.empty, *found.tolist()]

    def counts_of(self, block: int) -> list[int]:
        """u of every mask on one block, in float64."""
        clients, judge = self.game.clients, CountJudge(reference_for(self.game), self.blocks)
        places = [Place(block, mask) for mask in range(1 << clients)]
        return [bound.count for bound in judge.intervals(places, 1)]

    @property
    def blocks(self) -> Partition:
        """The test set's."""
        return blocks_of(self.task, self.game)

    @property
    def terms(self) -> TableTerms:
        """What the tables are read against."""
        return table_terms(self.task, scorer_of(self.game), self.blocks)

    def _publish(self, folder: Path, **terms: Any) -> Task:
        said = json.loads((folder / "round.json").read_text())
        updates = tuple(
            Update(one["digest"], one["client"], one["examples"], TO_SIGN) for one in said["updates"]
        )
        task = self.maker.task(
            clients=len(updates),
            model=said["model"],
            test=said["test"],
            images=self.game.images,
            difficulty_micro=100 * COIN,
            updates=updates,
            **terms,
        )
        self.maker.add(task)
        return task

    def _mine(self, miner: KeyPair, rankings: int, estimator: Estimator) -> MinedEstimate:
        plan = MiningPlan(self.seed, bytes.fromhex(miner.address), rankings, rankings, 60.0, estimator)
        ready = prepared(self.game)
        enumeration = enumeration_for(self.game, lambda: engine_for(self.game, ready, 1), ready, 1)
        session = MiningSession(walker_for(self.game, self.blocks, ready, 1), enumeration, self.terms, plan)
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
                    table=self.store.put_bytes(mined.table),
                )
                for miner, mined in zip(self.maker.miners, self.mined, strict=True)
            ),
            key=lambda reveal: reveal.miner,
        )
        self.maker.add(self.maker.close(self.task, reveals))
        record = self.maker.records[self.task.id]
        outcome = settle(record, self.maker.genesis, reveals, ())
        result = Result(self.task.id, 1, tuple(reveals), (), outcome)
        self.maker.add(result)
        return result


def _judged(requester: Address, folder: Path, metric: str, baseline: str) -> dict[str, Any]:
    """What the terms of a task say of its metric; a baseline may be the name of a file of the round."""
    files, named = (folder / "model.json", folder / "test.safetensors"), None
    if baseline not in {ZERO, CHANCE}:
        named = folder / baseline
        baseline = digest(named.read_bytes())
    whole, empty = worth(read_metric(metric), (*files, None), named, chance=baseline == CHANCE)
    held = held_by(requester, (*files, named))
    return {"metric": metric, "baseline": baseline, "whole": whole, "empty": empty, "held": held}


def _game(folder: Path, clients: int) -> tuple[Game, list[Path]]:
    """The round's game and its files."""
    updates = tuple(folder / f"client-{number:03d}.safetensors" for number in range(1, clients + 1))
    plain = RoundFiles(folder / "model.json", folder / "test.safetensors", updates)
    return Game.load(plain), [plain.model, plain.test, *updates]
