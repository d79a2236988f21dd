"""Policy: what an operator decides about a request, in ordinary Python.

``decision`` has the values that a handler returns, ``edit`` and ``target`` what these consist of,
``client`` what sends requests of the server's own, ``router`` finds the handler, ``runner`` runs
it, ``loader`` reads an operator's file, ``builtin`` is the policy of a server without one.
"""
