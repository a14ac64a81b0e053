"""Files of rounds and miners' tables on their way, in pieces, and the store that keeps them."""
