"""Why a client was paid what it was paid: from the ledger, and from tables and round files where they are kept."""
