"""The accounts of a simulated network: what they ask for, and how they insist until it is final."""

from hashlib import sha256
from typing import TYPE_CHECKING

from chains import TO_SIGN, answered

from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.protocol.message import TransactionNote
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import ZERO, Task, Transfer, Update, sign

if TYPE_CHECKING:
    from simulated.world import World

COIN = 10**6
AGAIN_MS = 3_000


class Clients:
    """Four accounts; the last three also bring updates."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.wanted: list[Task | Transfer] = []
        self._files: dict[str, set[str]] = {}

    def hosts(self, address: Address, digest: Digest) -> bool:
        """Whether the client at `address` serves this file: only until its task is final, then it leaves."""
        return digest in self._files.get(address, set())

    def submit(self, transaction: Task | Transfer) -> None:
        """Send to half of the miners, and again until it is final."""
        self.wanted.append(transaction)
        world = self._world

        def again() -> None:
            if transaction.id in world.final:
                self._files.pop(transaction.sender, None)
                return
            for node in world.rng.sample(world.nodes, max(1, len(world.nodes) // 2)):
                node.deliver(transaction.sender, TransactionNote(transaction))
            world.after(AGAIN_MS, again)

        again()

    def transfer(self, client: int, sequence: int) -> Transfer:
        """A transfer to anyone."""
        world, key = self._world, self._world.client_keys[client]
        to = world.rng.choice([k.address for k in (*world.client_keys, *world.miner_keys)])
        amount = world.rng.randint(10_000, 3 * COIN)
        return sign(Transfer(key.address, sequence, "", to, amount), key, world.genesis.id)

    def task(self, client: int, sequence: int) -> Task:
        """A task whose terms are drawn; D = 0 makes attempts fail."""
        world, rng, key = self._world, self._world.rng, self._world.client_keys[client]
        name = f"{rng.getrandbits(64):016x}"
        files = [sha256(f"{name} {part}".encode()).hexdigest() for part in range(6)]
        self._files.setdefault(key.address, set()).update(files)
        nonce = f"{rng.getrandbits(128):032x}"
        members = world.client_keys[1:4]
        updates = [
            Update(Digest(digest), member.address, 10, TO_SIGN)
            for member, digest in zip(members, files[3:], strict=True)
        ]
        price = rng.choice((0, 100 * COIN, 1000 * COIN))
        parts = price * 7 // 10, price // 10, price - price * 7 // 10 - price // 10
        task = Task(
            sender=key.address,
            sequence=sequence,
            signature="",
            server=world.client_keys[0].address,
            nonce=nonce,
            model=Digest(files[0]),
            test=Digest(files[1]),
            least_clients=2,
            most_clients=10,
            baseline=ZERO,
            frozen=None,
            held=Digest("00" * 32),
            groups=(),
            updates=tuple(updates),
            images=1000,
            block_images=rng.choice((16, 255)),
            metric="accuracy",
            whole=1000,
            empty=0,
            aggregation="mean",
            price_micro=price,
            train_micro=parts[0],
            computation_micro=parts[1],
            shapley_micro=parts[2],
            runtime_ms=rng.choice((0, 2_000, 15_000)),
            difficulty_micro=rng.choice((0, 1_500_000, 1_500_000)),
            least_rankings=1,
            most_rankings=grid_up_to(10_000),
            payment_error_micro=None,
            attempts=rng.randint(1, 3),
            sap_rule=rng.choice(("winner", "shared")),
        )
        return sign(answered(task, world.genesis.id, members), key, world.genesis.id)
