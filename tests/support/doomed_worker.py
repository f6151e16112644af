"""A worker that meets what a test has ordered: ``python -m tests.support.doomed_worker QUEUES``.

Python tells its audit hooks of every rename and removal before it happens. There, in the middle
of any step and with no change to it, the process or its whole worker is killed, or the disk is
full. The fault points of `acaflow.runtime.faults` are told in the same way, as event ``fault``.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from celery import current_task

from acaflow import config
from acaflow.runtime import logs, queue, runs

EVENTS = {"fault", "os.rename", "os.remove", "shutil.rmtree"}

_looking = False


@dataclass(frozen=True)
class Order:
    """What happens before an event of a task whose arguments contain `where`.

    Attributes
    ----------
    what : {'child', 'worker', 'full'}
        The process or its worker is killed, once; or the disk is full until `withdraw`.
    """

    what: str
    task: str
    event: str
    where: str


def give(home: Path, orders: Sequence[Order]) -> None:
    """Leave orders for the workers of a home; who meets one that kills takes it away."""
    (home / "ordered").mkdir()
    for number, order in enumerate(orders):
        (home / "ordered" / f"{number:02d}").write_text(json.dumps(asdict(order)))


def withdraw(home: Path, order: Order) -> None:
    """Take an order back."""
    for path, other in _orders(home):
        if other == order:
            path.unlink()


def ordered(home: Path) -> list[Order]:
    """Return the orders that nobody has met."""
    return [order for _, order in _orders(home)]


def _orders(home: Path) -> Iterator[tuple[Path, Order]]:
    for path in sorted((home / "ordered").iterdir()):
        with suppress(FileNotFoundError):  # another process was faster
            yield path, Order(**json.loads(path.read_text()))


def _look(home: Path, event: str, args: tuple[Any, ...]) -> None:
    """Follow the orders for an event; called by Python."""
    global _looking
    if event not in EVENTS or _looking or not current_task:
        return
    text = " ".join(map(str, args))
    _looking = True  # what follows makes events of its own
    try:
        for path, order in list(_orders(home)):
            if (order.task, order.event) == (current_task.name, event) and order.where in text:
                _strike(path, order.what)
    finally:
        _looking = False


def _strike(path: Path, what: str) -> None:
    if what == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        path.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getppid() if what == "worker" else os.getpid(), signal.SIGKILL)
    while True:  # the child of a killed worker dies of that, after it
        signal.pause()


def main(queues: str) -> int:
    """Serve queues until told to stop."""
    settings = config.current()
    logs.configure("worker", settings.log_format)
    runs.fault = partial(sys.audit, "fault")  # type: ignore[attr-defined]  # imported there
    sys.addaudithook(partial(_look, settings.home))
    return queue.run_worker(settings, queues.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
