"""
Transfers by libcurl, for every probe over TCP or TLS; in the I/O threads.

``route`` says where to connect, ``handles`` lends what connects, ``transfer`` makes it and reads
what was seen, ``errors`` says what went wrong. ``silent`` is the handle that needs nothing of
Python, ``binding`` what it is made of.
"""
