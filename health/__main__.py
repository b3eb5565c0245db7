"""Run the command line: ``python -m kbstore.health``."""

from kbstore.health.cli import main

if __name__ == "__main__":
    main()
