"""`python -m fedcoin_cli`: the same program as `fedcoin`."""

import sys

from fedcoin_cli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
