"""The life of the parent: start the workers, watch them, replace them, end with them.

Rules that hold here:
- The parent has neither threads, an event loop nor an open database while it forks, so that a child is a clean process.
- It holds the gateway lock, and so does every child by inheritance: the lock is free only when the last one is gone.
- A worker that died is replaced, the sooner the longer it lived.
- A worker that cannot start before all have been ready once ends the gateway, with its error.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from sealroute.base.errors import OperatorError, Problem
from sealroute.net.clock import SystemClock
from sealroute.settings import Settings
from sealroute.settings.share import share
from sealroute.store.store import Store, open_store
from sealroute.supervise.channels import Channels
from sealroute.supervise.child import fork
from sealroute.supervise.doors import Doors
from sealroute.supervise.inheritance import Inheritance
from sealroute.supervise.inquiries import Inquiries
from sealroute.supervise.signals import Signals
from sealroute.supervise.slot import LONGEST_WAIT_SECONDS, Slot
from sealroute.worker import Frame, Worker

log = structlog.get_logger("sealroute")

Run = Callable[[Settings, Worker], int]


class Supervisor:
    """Runs `workers` processes until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, workers: int, run: Run) -> None:
        self._settings = settings
        self._share = share(settings, workers)
        self._run_worker = run
        self._slots = [Slot(number) for number in range(1, workers + 1)]
        self._clock = SystemClock(settings.lab.clock_speed)
        self._doors = Doors(settings)
        self._node = ""
        self._recovered = 0
        self._selector = selectors.DefaultSelector()
        self._channels = Channels(self._selector, self._heard)
        self._inquiries = Inquiries(self._slots, self._channels.tell)
        self._inheritance = Inheritance(self._slots, self._channels.tell)
        self._signals = Signals()
        self._all_ready = False
        self._stopping_until: float | None = None
        self._failed: list[Problem] = []
        self._code = 0

    def __repr__(self) -> str:
        return f"<Supervisor of {sum(slot.pid != 0 for slot in self._slots)} of {len(self._slots)} workers>"

    # ------------------------------------------------------------------------------------------------------ the life

    def run(self) -> int:
        """Returns the exit code.  Raises OperatorError when the gateway cannot start."""
        store = self._prepare()
        self._doors.open(self._slots)
        self._signals.catch(self._selector)
        gc.collect()
        gc.freeze()  # what exists now is shared with the children, and stays so as long as nobody writes to it
        try:
            self._live()
        finally:
            for slot in self._slots:
                if slot.pid:  # only after an error of ours
                    os.kill(slot.pid, signal.SIGKILL)
            store.unlock_gateway()
        if self._failed:
            raise OperatorError(*self._failed)
        log.info("stopped")
        return self._code

    def _prepare(self) -> Store:
        """The store upgraded, locked, and nothing in it owned by the dead; then closed."""
        wanted = self._settings.store
        store = open_store(wanted.url, node_id=wanted.node, lease=timedelta(seconds=wanted.lease_seconds))
        try:
            store.lock_gateway()
            self._recovered = store.queue.recover(self._clock.now())
        finally:
            store.admin.close()  # no connection to a database may pass a fork
        self._node = store.queue.node_id
        return store

    def _live(self) -> None:
        while True:
            self._reap()
            now = time.monotonic()
            if self._stopping_until is None:
                for slot in self._slots:
                    if not slot.pid and now >= slot.start_at:
                        self._start(slot)
            elif not any(slot.pid for slot in self._slots):
                return
            elif now >= self._stopping_until:
                self._end_the_late()
            self._inquiries.answer_due(now)
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    self._signals.drain()
                elif key.data.channel is key.fileobj:
                    self._channels.talk(key.data)
            self._heed_signals()

    def _patience(self) -> float:
        """Seconds until something is to be done without anybody's word."""
        moments = self._inquiries.moments
        if self._stopping_until is None:
            moments += [slot.start_at for slot in self._slots if not slot.pid]
        else:
            moments.append(self._stopping_until)
        return max(0.0, min(moments) - time.monotonic()) if moments else 60.0

    # -------------------------------------------------------------------------------------------------- the children

    def _start(self, slot: Slot) -> None:
        try:
            slot.listening = slot.listening or self._doors.listen()
        except OSError as error:
            log.error("a worker's sockets could not be opened", worker=slot.number, error=str(error))
            slot.start_at = time.monotonic() + LONGEST_WAIT_SECONDS
            return
        slot.incarnation += 1
        slot.node = f"{self._node}/{slot.number}.{slot.incarnation}"
        ours, theirs = socket.socketpair()
        worker = Worker(slot.number, slot.node, theirs, slot.listening, self._doors.http, self._clock)
        pid = fork(worker, lambda: self._let_go(slot, ours), lambda worker: self._run_worker(self._share, worker))
        theirs.close()
        slot.begin(pid, ours, time.monotonic())
        self._channels.open(slot)

    def _let_go(self, slot: Slot, ours: socket.socket) -> None:
        """In the child: close what is the parent's, and the other workers'."""
        self._selector.close()
        self._signals.close()
        ours.close()  # who holds both ends never sees that the parent's is gone
        for other in self._slots:
            if other.channel is not None:
                other.channel.close()
            if other is not slot:
                other.close_doors()

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.pid and (ended := os.waitpid(slot.pid, os.WNOHANG)) != (0, 0):
                self._bury(slot, os.waitstatus_to_exitcode(ended[1]))

    def _bury(self, slot: Slot, code: int) -> None:
        self._channels.close(slot)
        pid = slot.pid
        slot.end(code)
        self._inquiries.ended(slot)
        if self._stopping_until is not None:
            self._code = self._code or int(code != 0)
            return
        slot.wait_for_next(time.monotonic())
        log.error("a worker ended", worker=slot.number, pid=pid, how=slot.ended, again_in_seconds=slot.wait)
        self._inheritance.died(slot)
        if not self._all_ready:
            self._code = 1
            self._stop()

    # --------------------------------------------------------------------------------------------------- their words

    def _heard(self, slot: Slot, message: Frame) -> None:
        if "ready" in message:
            slot.ready = True
            self._inheritance.hand_over()
            self._note_ready(slot)
        elif "failed" in message:
            self._note_failed(slot, [Problem(*words) for words in message["failed"]])
        elif "taken" in message:
            self._inheritance.taken(message["taken"])
        elif "not_taken" in message:
            self._inheritance.not_taken(message["not_taken"])
        elif "ask" in message:
            self._inquiries.ask_all(slot, message["ask"], message["what"])
        elif "reported" in message:
            self._inquiries.reported(slot, message["reported"], message)

    def _note_ready(self, slot: Slot) -> None:
        if not self._all_ready and all(slot.ready for slot in self._slots):
            self._all_ready = True
            doors = [item.getsockname()[:2] for opened in slot.listening for item in opened]
            where = [f"{address}:{port}" for address, port in doors]
            log.info("ready", listening=where, recovered_groups=self._recovered, workers=len(self._slots))

    def _note_failed(self, slot: Slot, problems: list[Problem]) -> None:
        if not self._all_ready:
            self._failed = self._failed or problems
        log.error("a worker cannot start", worker=slot.number, problems=[str(problem) for problem in problems])

    # ------------------------------------------------------------------------------------------------------- the end

    def _heed_signals(self) -> None:
        caught = self._signals.take()
        if caught & {signal.SIGTERM, signal.SIGINT} and self._stopping_until is None:
            log.info("stopping")
            self._stop()
        if signal.SIGHUP in caught:
            self._pass_on(signal.SIGHUP)

    def _stop(self) -> None:
        self._doors.close(self._slots)
        self._inheritance.close()
        # A worker waits for clients, for runs under way and for the store, each in turn.
        self._stopping_until = time.monotonic() + 3 * self._settings.limits.shutdown_seconds + 30
        self._pass_on(signal.SIGTERM)

    def _end_the_late(self) -> None:
        log.error("workers did not end in time", workers=[slot.number for slot in self._slots if slot.pid])
        self._pass_on(signal.SIGKILL)
        self._stopping_until = time.monotonic() + 10

    def _pass_on(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)  # not reaped yet, so the id cannot be another's
