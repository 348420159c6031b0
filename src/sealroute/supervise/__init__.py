"""The parent of several workers: opens what they share, starts them, watches them, ends with them.

supervisor.py is the life of it; slot.py one worker's place, child.py the start of a process in it, doors.py the sockets it
listens on, channels.py the talk with it, inquiries.py what `/metrics` and `/healthz` ask of all, inheritance.py what becomes
of a dead one's groups.

Elsewhere: what a worker does (app.py, gateway.py), what it says to us (worker.py).  Decision: docs/adr/0006.
"""
