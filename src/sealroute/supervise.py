"""The parent of several workers: opens what they share, starts them, watches them, ends with them.

Rules that hold here:
- The parent has neither threads, an event loop nor an open database while it forks, so that a child is a clean process.
- It holds the gateway lock, and so does every child by inheritance: the lock is free only when the last one is gone.
- A worker that died is replaced, the sooner the longer it lived; what it held is handed to a living worker at once, by the
  node name that only this one process ever had.
- When the parent dies, the kernel ends the children (PR_SET_PDEATHSIG), and where it does not know how they see the end of
  their channel.
- A worker that cannot start before all have been ready once ends the gateway, with its error.

Elsewhere: what a worker does (app.py, gateway.py), what it says to us (worker.py).  Decision: docs/adr/0006.
"""

from __future__ import annotations

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

import structlog

from sealroute import logs
from sealroute.base.errors import OperatorError, PeerError, Problem
from sealroute.faces.http import server as http_server
from sealroute.net import listening
from sealroute.net.clock import SystemClock
from sealroute.services.merge import merge
from sealroute.settings import Settings
from sealroute.settings.share import share
from sealroute.store.store import Store, open_store
from sealroute.worker import Frame, Frames, Worker, frame

log = structlog.get_logger("sealroute")

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A worker that lived so long begins again with the shortest wait."""
HOLD_SECONDS = 1.0
"""For so short a wait a dead worker's sockets stay open, and clients wait with it; else they are left to the others."""
REPORT_SECONDS = 3.0
"""How long a worker may take to say how it is."""
MAX_UNSENT_BYTES = 32 << 20
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
PR_SET_PDEATHSIG = 1

Run = Callable[[Settings, Worker], int]
Sockets = tuple[tuple[socket.socket, ...], ...]


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of one worker, and the process in it."""

    number: int
    pid: int = 0
    """0: nobody."""
    node: str = ""
    incarnation: int = 0
    channel: socket.socket | None = None
    frames: Frames = field(default_factory=Frames)
    unsent: bytearray = field(default_factory=bytearray)
    listening: Sockets = ()
    ready: bool = False
    started: float = 0.0
    start_at: float = 0.0
    wait: float = 0.0
    ended: str = ""
    """How the last one ended."""
    metrics: str = ""
    """What it counted, as last shown."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A question to all workers, on behalf of one."""

    number: int
    slot: _Slot
    asked: int
    until: float
    what: str
    waiting: set[int]
    said: dict[str, object]


class Supervisor:
    """Runs `workers` processes until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, workers: int, run: Run) -> None:
        self._settings = settings
        self._share = share(settings, workers)
        self._run_worker = run
        self._slots = [_Slot(number) for number in range(1, workers + 1)]
        self._clock = SystemClock(settings.lab.clock_speed)
        self._http: socket.socket | None = None
        self._ports: list[int] = []
        self._node = ""
        self._recovered = 0
        self._dead: dict[str, int] = {}
        """Nodes whose groups are to be taken over, and the worker that was told (0: none yet)."""
        self._asks: dict[int, _Ask] = {}
        self._next_ask = 1
        self._gone = ""
        """What workers counted that are no more."""
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._caught: set[int] = set()
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
        self._open_doors()
        self._catch_signals()
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
            for ask in [ask for ask in self._asks.values() if not ask.waiting or now >= ask.until]:
                self._answer(ask)
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    with suppress(BlockingIOError):
                        self._woken.recv(4096)
                elif key.data.channel is key.fileobj:
                    self._talk(key.data)
            self._heed_signals()

    def _patience(self) -> float:
        """Seconds until something is to be done without anybody's word."""
        moments = [ask.until for ask in self._asks.values()]
        if self._stopping_until is None:
            moments += [slot.start_at for slot in self._slots if not slot.pid]
        else:
            moments.append(self._stopping_until)
        return max(0.0, min(moments) - time.monotonic()) if moments else 60.0

    # ---------------------------------------------------------------------------------------------------- the doors

    def _open_doors(self) -> None:
        for number, listener in enumerate(self._settings.listeners, start=1):
            try:
                listening.probe(listener.address, listener.effective_port)
                self._ports.append(listener.effective_port)
            except OSError as error:
                where = f"{listener.address} port {listener.effective_port}"
                fix = "Choose another address or port, stop what uses it, or run with the right to bind ports below 1024."
                text = f"cannot listen on {where}: {error.strerror or error}."
                raise OperatorError.one(f"listeners[{number}]", text, fix) from error
        for slot in self._slots:
            slot.listening = self._listen()
        wanted = self._settings.http
        if wanted.enabled:
            self._http = http_server.listen(wanted.address, wanted.port)

    def _listen(self) -> Sockets:
        """A set of listening sockets for one worker.  Raises OSError."""
        opened = []
        for index, listener in enumerate(self._settings.listeners):
            opened.append(listening.listen(listener.address, self._ports[index]))
            self._ports[index] = opened[-1][0].getsockname()[1]  # port 0: the same for all
        return tuple(opened)

    def _close_doors(self) -> None:
        for slot in self._slots:
            _close(slot)
        if self._http is not None:
            self._http.close()
            self._http = None

    # -------------------------------------------------------------------------------------------------- the children

    def _start(self, slot: _Slot) -> None:
        try:
            slot.listening = slot.listening or self._listen()
        except OSError as error:
            log.error("a worker's sockets could not be opened", worker=slot.number, error=str(error))
            slot.start_at = time.monotonic() + LONGEST_WAIT_SECONDS
            return
        slot.incarnation += 1
        slot.node = f"{self._node}/{slot.number}.{slot.incarnation}"
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(slot, theirs, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        ours.setblocking(False)
        slot.pid, slot.channel, slot.frames, slot.unsent = pid, ours, Frames(), bytearray()
        slot.ready, slot.metrics, slot.started = False, "", time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _be_worker(self, slot: _Slot, channel: socket.socket, parent: int) -> NoReturn:
        """In the child: let go of what is the parent's, and work."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop takes it; connectors are read at the start anyway
            _end_with(parent)
            self._selector.close()
            self._wake.close()
            self._woken.close()
            for other in self._slots:
                if other.channel is not None:
                    other.channel.close()
                if other is not slot:
                    _close(other)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            structlog.contextvars.bind_contextvars(worker=slot.number)
            worker = Worker(slot.number, slot.node, channel, slot.listening, self._http, self._clock)
            code = self._run_worker(self._share, worker)
        except OperatorError as error:
            channel.setblocking(True)
            channel.sendall(frame({"failed": [[item.where, item.what, item.fix] for item in error.problems]}))
            code = 2
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                logs.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.pid and (ended := os.waitpid(slot.pid, os.WNOHANG)) != (0, 0):
                self._bury(slot, os.waitstatus_to_exitcode(ended[1]))

    def _bury(self, slot: _Slot, code: int) -> None:
        assert slot.channel is not None
        with suppress(OSError):
            self._talk(slot)  # its last words
        self._selector.unregister(slot.channel)
        slot.channel.close()
        pid, slot.pid, slot.channel = slot.pid, 0, None
        slot.ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._gone = merge([text for text in (self._gone, slot.metrics) if text], cumulative=True).decode()
        self._asks = {number: ask for number, ask in self._asks.items() if ask.slot is not slot}  # its successor asks anew
        for ask in self._asks.values():
            ask.waiting.discard(slot.number)
        if self._stopping_until is not None:
            self._code = self._code or int(code != 0)
            return
        now = time.monotonic()
        slot.wait = FIRST_WAIT_SECONDS if now - slot.started >= STEADY_SECONDS else slot.wait * 2 or FIRST_WAIT_SECONDS
        slot.wait = min(slot.wait, LONGEST_WAIT_SECONDS)
        slot.start_at = now + slot.wait
        if slot.wait > HOLD_SECONDS:
            _close(slot)
        log.error("a worker ended", worker=slot.number, pid=pid, how=slot.ended, again_in_seconds=slot.wait)
        self._dead |= {node: 0 for node, told in self._dead.items() if told == slot.number}
        self._dead[slot.node] = 0
        self._hand_dead_over()
        if not self._all_ready:
            self._code = 1
            self._stop()

    def _hand_dead_over(self) -> None:
        """Have a living worker take over what the dead held."""
        living = next((slot for slot in self._slots if slot.pid and slot.ready), None)
        if living is None or self._stopping_until is not None:
            return
        for node, told in self._dead.items():
            if not told:
                self._dead[node] = living.number
                self._tell(living, {"dead": node})

    # --------------------------------------------------------------------------------------------------- their words

    def _tell(self, slot: _Slot, message: Frame) -> None:
        if slot.channel is None:
            return
        slot.unsent += frame(message)
        if len(slot.unsent) > MAX_UNSENT_BYTES:
            log.error("a worker does not listen; ending it", worker=slot.number)
            os.kill(slot.pid, signal.SIGKILL)
            return
        self._send(slot)

    def _send(self, slot: _Slot) -> None:
        assert slot.channel is not None
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while slot.unsent:
                del slot.unsent[: slot.channel.send(slot.unsent)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.unsent else 0)
        self._selector.modify(slot.channel, events, slot)

    def _talk(self, slot: _Slot) -> None:
        """Read what is there, write what waits."""
        assert slot.channel is not None
        self._send(slot)
        try:
            while octets := slot.channel.recv(262_144):
                for message in slot.frames.feed(octets):
                    self._heard(slot, message)
            # The channel's end is the worker's end, which waitpid tells; until then it would wake us without pause.
            time.sleep(0.001)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            time.sleep(0.001)
        except (PeerError, ValueError, KeyError) as error:
            log.error("a worker talks nonsense; ending it", worker=slot.number, error=str(error))
            os.kill(slot.pid, signal.SIGKILL)

    def _heard(self, slot: _Slot, message: Frame) -> None:
        if "ready" in message:
            slot.ready = True
            self._hand_dead_over()
            if not self._all_ready and all(slot.ready for slot in self._slots):
                self._all_ready = True
                doors = [item.getsockname()[:2] for opened in slot.listening for item in opened]
                where = [f"{address}:{port}" for address, port in doors]
                log.info("ready", listening=where, recovered_groups=self._recovered, workers=len(self._slots))
        elif "failed" in message:
            problems = [Problem(*words) for words in message["failed"]]
            if not self._all_ready:
                self._failed = self._failed or problems
            log.error("a worker cannot start", worker=slot.number, problems=[str(problem) for problem in problems])
        elif "taken" in message:
            self._dead.pop(message["taken"], None)
        elif "not_taken" in message:
            self._dead[message["not_taken"]] = 0
            self._hand_dead_over()
        elif "ask" in message:
            self._ask_all(slot, message["ask"], message["what"])
        elif "reported" in message:
            ask = self._asks.get(message["reported"])
            if ask is not None and slot.number in ask.waiting:
                ask.waiting.discard(slot.number)
                ask.said[str(slot.number)] = message["said"]
                if ask.what == "metrics":
                    slot.metrics = message["said"]

    def _ask_all(self, slot: _Slot, asked: int, what: str) -> None:
        number, self._next_ask = self._next_ask, self._next_ask + 1
        able = [other for other in self._slots if other.pid and other.ready]
        waiting = {other.number for other in able}
        said: dict[str, object] = {str(other): None for other in sorted(waiting)}
        self._asks[number] = _Ask(number, slot, asked, time.monotonic() + REPORT_SECONDS, what, waiting, said)
        for other in able:
            self._tell(other, {"report": number, "what": what, "queue": other is slot})

    def _answer(self, ask: _Ask) -> None:
        del self._asks[ask.number]
        troubles = {}
        for slot in self._slots:
            if not slot.pid:
                troubles[str(slot.number)] = f"{slot.ended or 'was not started'}; it is started again"
            elif not slot.ready:
                troubles[str(slot.number)] = f"{slot.ended}; a new one is starting" if slot.ended else "is starting"
            elif ask.what == "metrics" and ask.said.get(str(slot.number)) is None and slot.metrics:
                ask.said[str(slot.number)] = slot.metrics  # silent: what it counted must not look undone
        self._tell(ask.slot, {"answer": ask.asked, "reports": ask.said, "troubles": troubles, "gone": self._gone})

    # ------------------------------------------------------------------------------------------------------- signals

    def _catch_signals(self) -> None:
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda caught, _: self._caught.add(caught))
        self._selector.register(self._woken, selectors.EVENT_READ, None)

    def _heed_signals(self) -> None:
        caught, self._caught = self._caught, set()
        if caught & {signal.SIGTERM, signal.SIGINT} and self._stopping_until is None:
            log.info("stopping")
            self._stop()
        if signal.SIGHUP in caught:
            self._pass_on(signal.SIGHUP)

    def _stop(self) -> None:
        self._close_doors()
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


def _close(slot: _Slot) -> None:
    for opened in slot.listening:
        listening.close(opened)
    slot.listening = ()


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
