"""From a file to a finished job: ledger, queue, runs, relay, watcher, supervision.

Read `ledger` first: its tables and five statements are the whole truth about work. Then
`messages` (what causes what), `runs` (one attempt of one job), `relay` (what keeps it moving),
`watch` (files become events) and `supervise` (``acaflow up``).

A Celery message carries a job id and is only a hint: losing, repeating, delaying or reordering
messages changes latency and nothing else.
"""
