"""Run the command line: ``python -m kbstore.migrator``."""

from kbstore.migrator.cli import main

if __name__ == "__main__":
    main()
