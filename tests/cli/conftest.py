from pathlib import Path

import pytest
from chains import COIN, ChainMaker, key
from places import place, settled_round

from fedcoin_cli.application.workspace.workspace import Workspace


@pytest.fixture
def maker() -> ChainMaker:
    """Two miners; a settled round in blocks 1 to 3, a payment of 5 coins to client 1 in block 4."""
    maker = ChainMaker(2)
    settled_round(maker)
    maker.add(maker.transfer(maker.requester, key("client-1").address, 5 * COIN))
    return maker


@pytest.fixture
def workspace(tmp_path: Path, maker: ChainMaker) -> Workspace:
    """A workspace whose miners hold the maker's chain; none runs."""
    return place(tmp_path, maker)
