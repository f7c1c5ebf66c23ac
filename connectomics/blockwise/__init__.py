"""The only code that runs a function over a volume: blocks, ledger, lock, resume."""
