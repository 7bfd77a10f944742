"""The kill harness: random workflows whose process is killed again and again, held against a ledger outside of it."""
