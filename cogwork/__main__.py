"""``python -m cogwork``: the command line."""

from cogwork.cli import main

if __name__ == "__main__":
    main()
