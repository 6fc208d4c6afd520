"""Doing the work units of a run on a Ray cluster. Ray is imported in this package only, and only if a run needs it.

    engine process (driver)            assigns units to workers, repeats lost ones, follows progress and cancelling
      coordinator (actor beside it)    records parts in the ledger and collects the workers' progress and log lines
      worker (actor, one per GPU/CPU)  opens the run once, then does one unit after the other

Where actors run, which nodes are alive, what has died and which memory is full is left to Ray.
"""

import os

# An engine that is asked to end does so; without this Ray would print the stack of its own C++ code in the terminal.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
