"""Run the command line: ``python -m kbstore``."""

from kbstore.cli import main

if __name__ == "__main__":
    main()
