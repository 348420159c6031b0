"""libunbound.so.8 as cffi (ABI mode) sees it: the declarations we call, nothing more.

No decision is made here.  Loading is lazy, so that the rest of Sealroute imports on a machine without the library.
The structure's layout is that of soname 8 (since 1.8.0); fields after `ttl` would be a new soname.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cffi import FFI

from sealroute.base.errors import OperatorError

SONAME = "libunbound.so.8"

ffi = FFI()
ffi.cdef("""
struct ub_ctx;
struct ub_result {
    char *qname; int qtype; int qclass;
    char **data; int *len;
    char *canonname;
    int rcode;
    void *answer_packet; int answer_len;
    int havedata; int nxdomain; int secure; int bogus;
    char *why_bogus;
    int was_ratelimited;
    int ttl;
};
typedef void (*ub_callback_type)(void *, int, struct ub_result *);
struct ub_ctx *ub_ctx_create(void);
void ub_ctx_delete(struct ub_ctx *);
int ub_ctx_set_option(struct ub_ctx *, const char *, const char *);
int ub_ctx_set_fwd(struct ub_ctx *, const char *);
int ub_ctx_set_stub(struct ub_ctx *, const char *, const char *, int);
int ub_ctx_add_ta(struct ub_ctx *, const char *);
int ub_ctx_async(struct ub_ctx *, int);
int ub_ctx_debugout(struct ub_ctx *, void *);
int ub_ctx_zone_remove(struct ub_ctx *, const char *);
int ub_fd(struct ub_ctx *);
int ub_process(struct ub_ctx *);
int ub_resolve_async(struct ub_ctx *, const char *, int, int, void *, ub_callback_type, int *);
int ub_cancel(struct ub_ctx *, int);
void ub_resolve_free(struct ub_result *);
const char *ub_strerror(int);
const char *ub_version(void);
""")


@cache
def library() -> Any:
    """The loaded library; OperatorError when it is not installed."""
    try:
        return ffi.dlopen(SONAME)
    except OSError as error:
        raise OperatorError.one(
            "resolver", f"{SONAME} cannot be loaded ({error}).", "Install it, on Debian with `apt-get install libunbound8`."
        ) from None


def text(pointer: Any, limit: int = 500) -> str:
    """A C string of the library, at most `limit` characters of it; empty for NULL."""
    if pointer == ffi.NULL:
        return ""
    raw: Any = ffi.string(pointer, limit)
    return str(raw, "ascii", "replace")


def octets(pointer: Any, length: int) -> bytes:
    """A copy of memory of the library."""
    return bytes(ffi.buffer(pointer, length))


def error_text(code: int) -> str:
    """The library's sentence for one of its error codes."""
    return text(library().ub_strerror(code))
