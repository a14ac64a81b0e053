"""Pay coins to another account and wait until that is final.

Sending and following is `application.requester`'s business.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile

EXAMPLES = (
    ("fedcoin pay client-001 2.5", "from the requester's account"),
    ("fedcoin pay server 1 --key client-001", "from another whose key is here"),
)


def run(
    call: Call,
    to: Annotated[str, typer.Argument(metavar="TO", help="Who is paid: a key's name or an address.")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="FedCoins, with at most six decimals.")],
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who pays: a key's name; default: requester.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Pay coins to another account and wait until that is final.

    Whoever earned coins can pay with them: --key names the key that signs.
    """
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.application.workspace.workspace import REQUESTER
    from fedcoin_cli.cli.views.amounts import amount_micro
    from ledger_store.base.amount import format_micro

    workspace = call.workspace(passphrase_file)
    micro = amount_micro(amount, "AMOUNT")
    names, payer = Names.of(workspace), workspace.key(key or REQUESTER)
    receiver = names.address(to)

    from fedcoin_cli.application.requester.requester import Requester

    with Requester(workspace, payer) as requester, call.output.tells_what_is_on_its_way(requester):
        final = requester.pay(receiver, micro)
    paid = format_micro(micro)
    data = {
        "transaction": final.transaction,
        "height": final.height,
        "from": payer.address,
        "to": receiver,
        "amount": paid,
    }
    line = f"paid {paid} FedCoin to {names.name(receiver)}, final at height {final.height}"
    call.output.answer(data, [line], done=line)
