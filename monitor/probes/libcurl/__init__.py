"""
Transfers with libcurl, for every probe over TCP or TLS; runs in the I/O threads.

``route`` says where to connect, ``handles`` lends handles, ``transfer`` uses one and reads the
outcome, ``errors`` says what went wrong. ``silent`` is a handle that works without callbacks into
Python, and ``binding`` has the functions that it needs.
"""
