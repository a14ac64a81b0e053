"""From counts to values: sampling, tables, their checks, and how sure it all is."""
