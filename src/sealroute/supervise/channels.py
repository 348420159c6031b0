"""The parent's ends of the channels to its workers: frames in both directions, without ever waiting for one worker."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from sealroute.base.errors import PeerError
from sealroute.supervise.slot import Slot
from sealroute.worker import Frame, frame

log = structlog.get_logger("sealroute")

MAX_UNSENT_BYTES = 32 << 20


class Channels:
    """Says and hears; a worker that does not listen, or talks nonsense, is ended."""

    def __init__(self, selector: selectors.BaseSelector, heard: Callable[[Slot, Frame], None]) -> None:
        self._selector = selector
        self._heard = heard

    def open(self, slot: Slot) -> None:
        channel = _channel(slot)
        channel.setblocking(False)
        self._selector.register(channel, selectors.EVENT_READ, slot)

    def close(self, slot: Slot) -> None:
        """Hear its last words, then no more."""
        channel = _channel(slot)
        with suppress(OSError):
            self.talk(slot)
        self._selector.unregister(channel)
        channel.close()

    def tell(self, slot: Slot, message: Frame) -> None:
        if slot.channel is None:
            return
        slot.unsent += frame(message)
        if len(slot.unsent) > MAX_UNSENT_BYTES:
            log.error("a worker does not listen; ending it", worker=slot.number)
            os.kill(slot.pid, signal.SIGKILL)
            return
        self._send(slot)

    def talk(self, slot: Slot) -> None:
        """Read what is there, write what waits."""
        channel = _channel(slot)
        self._send(slot)
        try:
            while octets := channel.recv(262_144):
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

    def _send(self, slot: Slot) -> None:
        channel = _channel(slot)
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while slot.unsent:
                del slot.unsent[: channel.send(slot.unsent)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.unsent else 0)
        self._selector.modify(channel, events, slot)


def _channel(slot: Slot) -> socket.socket:
    assert slot.channel is not None
    return slot.channel
