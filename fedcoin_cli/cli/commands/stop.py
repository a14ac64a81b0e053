"""Stop the miners of this workspace that run on this machine.

How a miner is found and ended is decided in `runtime`.
"""

from fedcoin_cli.cli.options import Call


def run(call: Call) -> None:
    """Stop the miners of this workspace that run on this machine.

    Each is asked to end; one that has not ended after five seconds is killed. No ledger is harmed by that.
    """
    from fedcoin_cli.application.miner.crew import posts
    from fedcoin_cli.runtime.base import stop
    from fedcoin_cli.runtime.process import ProcessRuntime

    workspace = call.workspace()
    runtime = ProcessRuntime(workspace.root, posts(workspace))
    running = [miner.number for miner in workspace.miners if runtime.alive(miner.number)]
    killed = stop(runtime, running)
    lines = [f"miner {number} {'killed' if number in killed else 'stopped'}" for number in running]
    data = {"stopped": running, "killed": list(killed)}
    call.output.answer(data, lines or ["no miner of this workspace runs on this machine"])
