"""Run one stage at a time in a child process, and commit what it made.

`app` is the Celery application, whose messages are doorbells. `supervisor` takes the lease,
`release` decides which stages this worker may compute, `heartbeat` keeps the lease, `preparation`
lays out what the stage needs, `spawner` starts the child and `child` is its entry point, `watch`
follows it, `ending` decides how it ended and stores that.
"""
