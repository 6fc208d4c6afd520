"""`python -m engine` is the command line; `winnow` is its other name."""

import sys

from engine.cli import main

sys.exit(main(prog="python -m engine"))
