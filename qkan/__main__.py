"""`python -m qkan` is the `qkan` command."""

import sys

from qkan.cli import main

if __name__ == "__main__":
    sys.exit(main())
