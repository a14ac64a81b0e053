"""A simulated network that has something to decide all the time, and when each height became final."""

from collections.abc import Callable

import simulator
from simulated.world import Faults, World

from ledger_store.block import Block

HOUR_MS = 3_600_000


class Heights:
    """Keeps a world's accounts paying, all but the first; `at_ms`: when the first node appended each height."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sequences = [0] * len(world.client_keys)
        self.asking = True
        self.at_ms: list[int] = []
        self.blocks: list[Block] = []
        right = world.witness.appended

        def appended(node: object, block: Block) -> None:
            right(node, block)  # type: ignore[arg-type]  # a node, as there
            if block.height > len(self.at_ms):
                self.at_ms.append(world.now)
                self.blocks.append(block)
                self.ask()

        world.witness.appended = appended  # type: ignore[method-assign]  # this witness looks for us, too

    def ask(self) -> None:
        """The next transfer, of one account after the other."""
        if not self.asking:
            return
        client = 1 + len(self.at_ms) % (len(self._sequences) - 1)
        self._sequences[client] += 1
        self._world.clients.submit(self._world.clients.transfer(client, self._sequences[client]))

    @property
    def gaps_ms(self) -> list[int]:
        """How long each height after the first took."""
        return [after - before for before, after in zip(self.at_ms, self.at_ms[1:], strict=False)]


def start(world: World) -> Heights:
    """All nodes up, and something to decide."""
    for node in world.nodes:
        node.revive()
    heights = Heights(world)
    world.after(100, heights.ask)
    return heights


def history(seed: int, miners: int, faults: Faults, live: Callable[[World], None]) -> list[str]:
    """The problems of a history that happens as `live` says."""
    return simulator.run(seed, miners=miners, faults=faults, real=False, files=False, live=live).problems


def settle(world: World, heights: Heights) -> int:
    """Heal, ask for nothing more, and wait until all is final and all are equal; how long that took, in ms."""
    heights.asking = False
    world.heal()
    began = world.now
    world.run_until(began + HOUR_MS, world.converged)
    return world.now - began
