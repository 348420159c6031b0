"""Starts a worker's process: fork, let go of what is the parent's, work, and never come back.

When the parent dies, the kernel ends the child (PR_SET_PDEATHSIG), and where it does not know how the child sees the end of its
channel.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from sealroute import logs
from sealroute.base.errors import OperatorError
from sealroute.supervise.signals import SIGNALS
from sealroute.worker import Worker, frame

PR_SET_PDEATHSIG = 1


def fork(worker: Worker, let_go: Callable[[], None], run: Callable[[Worker], int]) -> int:
    """The process id of a child that calls `let_go`, then `run`, and ends with what that returns."""
    parent = os.getpid()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _be_worker(worker, let_go, run, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return pid


def _be_worker(worker: Worker, let_go: Callable[[], None], run: Callable[[Worker], int], parent: int) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop takes it; connectors are read at the start anyway
        _end_with(parent)
        let_go()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        structlog.contextvars.bind_contextvars(worker=worker.number)
        code = run(worker)
    except OperatorError as error:
        worker.channel.setblocking(True)
        worker.channel.sendall(frame({"failed": [[item.where, item.what, item.fix] for item in error.problems]}))
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            logs.flush()
            sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
