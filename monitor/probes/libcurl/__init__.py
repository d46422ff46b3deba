"""
Transfers by libcurl, for every probe over TCP or TLS; in the I/O threads.

``route`` says where to connect, ``handles`` lends handles, ``transfer`` uses one and reads what was
seen, ``errors`` says what went wrong. ``silent`` is a handle that works without Python's callbacks,
and ``binding`` has the functions that it needs.
"""
