"""Running one stage at a time in a child process, and committing what it made.

`supervisor` takes the doorbell and the lease, `release` tells which stages are this worker's to
compute, `heartbeat` keeps the lease, `preparation` lays out what the stage needs, `watch` follows
the child, `ending` says how it ended and stores that.
"""

from shared.supervise.supervisor import Supervisor

__all__ = ["Supervisor"]
