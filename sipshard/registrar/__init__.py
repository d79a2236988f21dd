"""The registrar of RFC 3261 §10 over an LMDB table that all processes of the server share.

``binding`` and ``record`` are what is stored, ``rules`` decides (pure functions), ``location`` is
the table, ``committer`` writes groups of updates off the event loop, ``registrar`` ties them to
the engine and ``expiry`` removes what has run out.
"""
