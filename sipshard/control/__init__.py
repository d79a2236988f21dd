"""The control interface: JSON lines over a unix socket below ``server.runtime_dir``.

One request a line, one answer a line, in order; a connection may carry several. See
:mod:`sipshard.control.protocol` for the requests.
"""
