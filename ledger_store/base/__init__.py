"""What every other room stands on: amounts, canonical JSON, fields, trees of hashes, errors, files that are durable."""
