"""Celery as a carrier of job ids: the app, its settings, and a worker process.

The settings are those of task-queue 10 with their reasons there. In short: messages are
acknowledged when a process takes them, nothing is prefetched, no result is stored, nothing is
retried here; the ledger and the relay do all that.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import redis
from celery import Celery, signals
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

from acaflow import config
from acaflow.runtime import core, redis_server, runs
from acaflow.runtime.messages import QUEUES, TASKS
from acaflow.runtime.processes import die_with_parent
from acaflow.runtime.records import Hint

__all__ = ["CeleryTransport", "make_app", "run_worker"]

log = logging.getLogger(__name__)

KEY_PREFIX = "acaflow:"
PRIORITY_STEPS = (0, 3, 6, 9)
VISIBILITY_S = 21600
BEAT_S = 15.0
STOP_S = 30
"""What still runs so long after SIGTERM is given up; the relay returns it."""


def make_app(settings: config.Settings, name: str = "acaflow") -> Celery:
    """Make the Celery app with every setting that acaflow relies on."""
    app = Celery(name, set_as_current=True)
    app.conf.update(
        broker_url=settings.redis_url or "redis://localhost:1/0",
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_track_started=False,
        task_create_missing_queues=False,
        task_queues=[Queue(queue, Exchange(queue), routing_key=queue) for queue in QUEUES],
        task_routes={f"{queue}.*": {"queue": queue} for queue in QUEUES},
        task_default_queue="ingest",
        task_default_priority=6,
        task_inherit_parent_priority=False,
        broker_connection_timeout=2,
        broker_pool_acquire_timeout=5,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 3,
            "priority_steps": list(PRIORITY_STEPS),
            "sep": ":",
            "queue_order_strategy": "priority",
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "health_check_interval": 15,
            "global_keyprefix": KEY_PREFIX,
            "client_name": f"acaflow-{name}",
            "max_connections": 20,
        },
        visibility_timeout=VISIBILITY_S,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_S},
        worker_eta_task_limit=100,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=0,
        worker_enable_soft_shutdown_on_idle=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_deduplicate_successful_tasks=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app


class CeleryTransport:
    """Sends hints through Celery; knows how many messages wait in Redis.

    Parameters
    ----------
    app : Celery
        From `make_app`.
    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._redis: redis.Redis | None = None
        self._room: dict[str, tuple[float, bool]] = {}

    def send(self, hints: Sequence[Hint]) -> int:
        """Send hints; whatever fails is found unanswered by the relay later."""
        sent = 0
        for hint in hints:
            soft_s, hard_s = TASKS[hint.task].limits(hint.after_timeout)
            try:
                self.app.send_task(
                    hint.task,
                    args=[hint.job_id],
                    queue=hint.queue,
                    priority=hint.priority,
                    soft_time_limit=soft_s,
                    time_limit=hard_s,
                    ignore_result=True,
                    retry=False,
                )
            except (KombuError, redis.RedisError, OSError) as err:
                left = len(hints) - sent
                log.info("hint of job %s and %d more not sent: %s", hint.job_id, left - 1, err)
                break
            sent += 1
        return sent

    def depth(self, queue: str) -> int | None:
        """Count the messages of a queue over its priority lists."""
        if self._redis is None:
            self._redis = redis_server.client(self.app.conf.broker_url)
        names = [queue if step == 0 else f"{queue}:{step}" for step in PRIORITY_STEPS]
        try:
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.llen(KEY_PREFIX + name)
            return int(sum(pipe.execute()))
        except (redis.RedisError, OSError):
            return None

    def has_room(self, queue: str) -> bool:
        """Tell whether the queue is below its limit, looked up once a second."""
        looked_at, room = self._room.get(queue, (0.0, True))
        if time.monotonic() - looked_at > 1.0:
            depth = self.depth(queue)
            room = depth is None or depth < core.FULL
            self._room[queue] = (time.monotonic(), room)
        return room


# --- a worker process ---


def run_worker(
    settings: config.Settings, queues: Sequence[str], concurrency: int | None = None
) -> int:
    """Serve queues in this process and its prefork children until told to stop."""
    limits = [QUEUES[name] for name in queues]
    app = make_app(settings, "+".join(queues))
    runs.load_steps(queues)
    runtime = core.open_runtime(
        "worker", settings, CeleryTransport(app), label=queues[0], queues=",".join(queues)
    )
    me = runtime.me
    _connect_signals(runtime)
    arguments = [
        "worker",
        f"--queues={me.queues}",
        f"--concurrency={concurrency or max(item.concurrency for item in limits)}",
        f"--max-tasks-per-child={min(item.max_tasks_per_child for item in limits)}",
        f"--max-memory-per-child={max(item.max_memory_kb for item in limits)}",
        f"--hostname={me.name.replace(':', '.')}",
        "--pool=prefork",
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        *("-O", "fair"),
        "--loglevel=INFO",
    ]
    runtime.ledger.beat(me.row())
    runtime.ledger.engine.dispose()
    try:
        app.worker_main(arguments)
    except SystemExit as err:
        return int(err.code or 0)
    finally:
        runtime.ledger.leave(me.name)
    return 0


def _connect_signals(runtime: core.Runtime) -> None:
    """Beat from the worker's own loop; give every pool child its own connections and its end.

    A beat from the loop, not from a thread, also shows that the loop turns; and no thread exists
    that a fork could interrupt in the middle of something.
    """
    parent = os.getpid()

    @signals.worker_ready.connect(weak=False)
    def ready(sender: Any, **_: Any) -> None:
        log.info("worker ready: %s", runtime.me.queues)
        sender.timer.call_repeatedly(BEAT_S, _beat, (runtime,))

    @signals.worker_shutting_down.connect(weak=False)
    def stopping(**_: Any) -> None:
        # Celery's own soft shutdown sleeps to the end of its timeout even if the last job ends
        # at once; a warm one ends with the last job, but has no limit.
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGQUIT))
        signal.alarm(STOP_S)

    @signals.worker_process_init.connect(weak=False)
    def child(**_: Any) -> None:
        die_with_parent(signal.SIGKILL, parent)
        runtime.ledger.engine.dispose(close=False)
        core.use(runtime)

    @signals.setup_logging.connect(weak=False)
    def leave_logging(**_: Any) -> None:
        """Keep Celery's hands off the root logger."""


def _beat(runtime: core.Runtime) -> None:
    try:
        runtime.ledger.beat(runtime.me.row())
        # The next pool child must not inherit an open SQLite connection.
        runtime.ledger.engine.dispose()
    except Exception:
        log.warning("beat not written", exc_info=True)
