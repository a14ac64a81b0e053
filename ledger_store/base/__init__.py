"""What every other package builds on: amounts, canonical JSON, fields, trees of hashes, errors, durable files."""
