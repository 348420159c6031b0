"""The validating resolver: libunbound in this process, asynchronous, its file descriptor on the event loop.

Rules that hold:
* DNSSEC is validated here, from the trust anchors of the configuration; no other machine's word is taken.
* Bogus wins over everything else the library says; whatever is not a clean answer is UNKNOWN, never absent.
* Every look-up ends: with the library's answer, after `timeout_seconds`, or when the resolver is closed.  That time is counted
  in parts, as in net/patience: a part that the event loop was late for counts as its length and no more.
* Look-ups for the same name and type that are under way at the same time are one look-up.

The library caches by TTL and runs its own single thread; no thread is made per look-up.  All Python code here, the
library's callback included, runs on the event loop that made the first look-up.  Deliberately elsewhere: settings
(net/unbound_config), rdata (net/dnswire), security per alias step (net/aliases).
Sources: [RFC 4035 §4.3], [RFC 7672 §2.1].
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar

import dns.rcode

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.dnssec import SignedAnswer
from sealroute.base.errors import InputError
from sealroute.net import dnswire
from sealroute.net.aliases import prove_steps
from sealroute.net.dnswire import AliasLink, RecordType
from sealroute.net.libunbound import error_text, ffi, library, octets, text
from sealroute.net.patience import PARTS
from sealroute.net.signed import SIGNED_TYPES, signed_answer
from sealroute.net.unbound_config import UnboundConfig, make_context

T = TypeVar("T")
_Found = tuple[Answer[T], tuple[AliasLink, ...]]

_IN = 1
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_*/-]{1,63}(?:\.[a-z0-9_*/-]{1,63})*")
"""What we ask the library for; it must never see a name that it cannot put on the wire."""


class _UnderWay:
    """One look-up in the library and all who wait for it."""

    __slots__ = ("async_id", "deadline", "name", "packet", "rtype", "waiters", "whole")

    def __init__(self, name: str, rtype: RecordType[Any], deadline: int, *, whole: bool) -> None:
        self.name = name
        self.rtype = rtype
        self.deadline = deadline
        self.whole = whole
        """Whether the packet is to be kept."""
        self.packet = b""
        self.async_id = 0
        self.waiters: list[asyncio.Future[_Found[Any]]] = []


class UnboundResolver:
    """Implements ports.Resolver.  Make it, use it from one event loop, close it."""

    def __init__(self, config: UnboundConfig | None = None) -> None:
        """Raises OperatorError when the library is missing or does not take the configuration."""
        self.config = config or UnboundConfig()
        self._ub = library()
        self._context: Any = make_context(self.config)
        self._descriptor: int = self._ub.ub_fd(self._context)
        self._callback = ffi.callback("ub_callback_type", self._on_result)
        self._async_id = ffi.new("int *")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parts = 0
        """How many parts of `timeout_seconds` have been waited for answers; what deadlines are counted in."""
        self._last_handle = 0
        self._by_handle: dict[int, _UnderWay] = {}
        """In the order of their deadlines, as all have the same time."""
        self._by_question: dict[tuple[str, int, bool], _UnderWay] = {}

    # --------------------------------------------------------------------------------------------------- ports.Resolver

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._look_up(name, dnswire.MX)

    async def a(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.A)

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.AAAA)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._look_up(name, dnswire.TLSA)

    async def txt(self, name: str) -> Answer[str]:
        return await self._look_up(name, dnswire.TXT)

    async def signed(self, name: str, rtype: str) -> SignedAnswer:
        """ports.Signatures: the records of a name with their signatures, also bogus ones; to be shown, never to decide by."""
        kind = SIGNED_TYPES[rtype]
        under_way = self._join(name, kind, whole=True)
        if isinstance(under_way, str):
            return signed_answer(_failed(name, kind, Security.UNKNOWN, under_way), b"")
        answer, _ = await self._wait(under_way)
        return signed_answer(answer, under_way.packet)

    async def close(self) -> None:
        """End the library's thread; look-ups under way become UNKNOWN.  May be called twice."""
        if self._context is None:
            return
        context, self._context = self._context, None
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
        self._fail_all("the resolver was closed")
        self._ub.ub_ctx_delete(context)

    # ----------------------------------------------------------------------------------------------------------- asking

    async def _look_up(self, name: str, rtype: RecordType[T]) -> Answer[T]:
        answer, links = await self._ask(name, rtype)
        return await prove_steps(answer, links, self._ask_alias) if links else answer

    async def _ask_alias(self, name: str, rtype: RecordType[str]) -> Answer[str]:
        """The record behind one alias step, without following it."""
        return (await self._ask(name, rtype))[0]

    async def _ask(self, name: str, rtype: RecordType[T]) -> _Found[T]:
        """What the library says, and the aliases on the way."""
        under_way = self._join(name, rtype)
        if isinstance(under_way, str):
            return _failed(name, rtype, Security.UNKNOWN, under_way), ()
        return await self._wait(under_way)

    def _join(self, name: str, rtype: RecordType[Any], *, whole: bool = False) -> _UnderWay | str:
        """The look-up under way for this question, begun if there is none; or why there can be none."""
        name = name.rstrip(".").lower()
        question = (name, rtype.number, whole)
        under_way = self._by_question.get(question)
        if under_way is None:
            started = self._start(name, rtype, whole=whole)
            if isinstance(started, str):
                return started
            under_way = self._by_question[question] = started
        return under_way

    async def _wait(self, under_way: _UnderWay) -> _Found[Any]:
        assert self._loop is not None
        waiter: asyncio.Future[_Found[Any]] = self._loop.create_future()
        under_way.waiters.append(waiter)
        return await waiter

    def _start(self, name: str, rtype: RecordType[Any], *, whole: bool) -> _UnderWay | str:
        """The look-up, now under way; or why there is none."""
        if not _NAME.fullmatch(name) and not (whole and name == ""):
            return f"{name[:300]!r} is not a name that can be looked up"
        if self._context is None:
            return "the resolver was closed"
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._descriptor, self._on_readable)
        self._last_handle = handle = self._last_handle + 1
        # One more than the time has: the part that is running may be almost over.
        under_way = _UnderWay(name, rtype, self._parts + PARTS + 1, whole=whole)
        user_data = ffi.cast("void *", handle)
        code = self._ub.ub_resolve_async(
            self._context, name.encode("ascii") or b".", rtype.number, _IN, user_data, self._callback, self._async_id
        )
        if code != 0:
            return f"libunbound: {error_text(code)}"
        under_way.async_id = self._async_id[0]
        self._by_handle[handle] = under_way
        if self._timer is None:
            self._timer = self._loop.call_later(self.config.timeout_seconds / PARTS, self._on_timer)
        return under_way

    # ------------------------------------------------------------------------------------------------------- being told

    def _on_readable(self) -> None:
        code = self._ub.ub_process(self._context)
        if code != 0:
            self._fail_all(f"libunbound: {error_text(code)}")

    def _on_result(self, user_data: Any, code: int, result: Any) -> None:
        """The library's callback, called inside ub_process; nothing may be raised into C."""
        under_way = self._by_handle.pop(int(ffi.cast("uintptr_t", user_data)), None)
        if under_way is not None:
            if under_way.whole and result != ffi.NULL and result.answer_packet != ffi.NULL:
                under_way.packet = octets(result.answer_packet, result.answer_len)
            self._finish(under_way, *_read(under_way, code, result))
        if result != ffi.NULL:
            self._ub.ub_resolve_free(result)

    def _finish(self, under_way: _UnderWay, answer: Answer[Any], links: tuple[AliasLink, ...] = ()) -> None:
        self._by_question.pop((under_way.name, under_way.rtype.number, under_way.whole), None)
        for waiter in under_way.waiters:
            if not waiter.done():
                waiter.set_result((answer, links))

    def _on_timer(self) -> None:
        """One part of the time is over: end what is overdue, and go on while anybody waits."""
        assert self._loop is not None
        self._timer = None
        self._parts += 1
        self._on_readable()  # an answer that has come is in time, even when the loop has not got round to it
        for handle, under_way in list(self._by_handle.items()):
            if under_way.deadline > self._parts:
                break
            del self._by_handle[handle]
            self._ub.ub_cancel(self._context, under_way.async_id)
            detail = f"no answer within {self.config.timeout_seconds:g} s"
            self._finish(under_way, _failed(under_way.name, under_way.rtype, Security.UNKNOWN, detail))
        if self._by_handle:
            self._timer = self._loop.call_later(self.config.timeout_seconds / PARTS, self._on_timer)

    def _fail_all(self, detail: str) -> None:
        while self._by_handle:
            _, under_way = self._by_handle.popitem()
            self._finish(under_way, _failed(under_way.name, under_way.rtype, Security.UNKNOWN, detail))

    def __repr__(self) -> str:
        state = "closed" if self._context is None else f"{len(self._by_handle)} look-ups under way"
        return f"<UnboundResolver, {state}>"


# --------------------------------------------------------------------------------------------------- reading the library


def _failed(name: str, rtype: RecordType[Any], security: Security, detail: str) -> Answer[Any]:
    return Answer(name, rtype.name, Outcome.FAILED, security, detail=detail)


def _read(under_way: _UnderWay, code: int, result: Any) -> _Found[Any]:
    """One result; what cannot be understood is UNKNOWN, whatever is wrong with it."""
    name, rtype = under_way.name, under_way.rtype
    if code != 0 or result == ffi.NULL:
        return _failed(name, rtype, Security.UNKNOWN, f"libunbound: {error_text(code)}"), ()
    try:
        answer = _answer(name, rtype, result)
        if answer.failed or result.canonname == ffi.NULL:
            return answer, ()
        return answer, dnswire.alias_links(octets(result.answer_packet, result.answer_len), name)
    except Exception as error:
        # Also our own mistakes: nothing may be raised into C, and the caller must hold.
        what = str(error) if isinstance(error, InputError) else repr(error)
        return _failed(name, rtype, Security.UNKNOWN, f"the answer cannot be read: {what}"), ()


def _answer(name: str, rtype: RecordType[T], result: Any) -> Answer[T]:
    """First what must not be used, then data, then the two kinds of absence."""
    if result.bogus:
        return _failed(name, rtype, Security.BOGUS, text(result.why_bogus) or "DNSSEC validation failed")
    rcode = result.rcode
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return _failed(name, rtype, Security.UNKNOWN, _no_answer(rcode, result))
    security = Security.SECURE if result.secure else Security.INSECURE
    records: tuple[T, ...] = rtype.read(_rdatas(result)) if result.havedata else ()
    if records:
        outcome = Outcome.DATA
    else:
        outcome = Outcome.NXDOMAIN if rcode == dns.rcode.NXDOMAIN else Outcome.NODATA
    return Answer(name, rtype.name, outcome, security, records, max(0, result.ttl))


def _no_answer(rcode: int, result: Any) -> str:
    if result.was_ratelimited:
        return "the look-up was rate limited"
    if rcode == dns.rcode.SERVFAIL:
        return "SERVFAIL: no name server gave a usable answer"
    return f"the name servers answered {dns.rcode.to_text(dns.rcode.Rcode.make(rcode))}"


def _rdatas(result: Any) -> list[bytes]:
    rdatas = []
    index = 0
    data, lengths = result.data, result.len
    while data[index] != ffi.NULL:
        rdatas.append(octets(data[index], lengths[index]))
        index += 1
    return rdatas
