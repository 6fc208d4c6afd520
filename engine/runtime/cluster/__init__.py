"""Doing the shards of a run on a Ray cluster. Ray is imported here and nowhere else, and only when it is asked for.

    engine process (driver)   hands shards to an actor pool, repeats what was lost, hears of progress and of cancelling
      clerk  (actor, beside the driver)   the one who records parts in the ledger and hears from the workers
      worker (actor, one per GPU or CPU)  opens the run once, then does shard after shard

Where actors run, which nodes are alive, what has died and which memory is full is Ray's business.
"""

import os

# An engine that is asked to end does so; without this Ray would write the stack of its own C++ code into the terminal.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
