"""Running one stage at a time in a child process, and committing what it made.

`app` is the Celery application, whose messages are doorbells. `supervisor` takes the lease,
`release` tells which stages are this worker's, `heartbeat` keeps the lease, `preparation` lays
out what the stage needs, `spawner` starts the child and `child` is its entry point, `watch`
follows it, `ending` says how it ended and stores that.
"""
