"""The parts of one miner, as they are handed to what works with all of them."""

from dataclasses import dataclass

from fedcoin_cli.replica.block_judge import BlockJudge
from fedcoin_cli.replica.catchup import CatchUp
from fedcoin_cli.replica.intake import Intake
from fedcoin_cli.replica.rejoining import Rejoining
from fedcoin_cli.replica.taskwork import TaskWork


@dataclass(frozen=True, slots=True)
class Parts:
    """What comes to be packed, the attempt at work, blocks fetched and judged, and what was said before a start."""

    intake: Intake
    taskwork: TaskWork
    catchup: CatchUp
    judge: BlockJudge
    rejoining: Rejoining
