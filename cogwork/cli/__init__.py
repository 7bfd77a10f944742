"""The command line: ``cogwork``."""

from __future__ import annotations


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    from cogwork.cli.root import main as entry

    entry()
