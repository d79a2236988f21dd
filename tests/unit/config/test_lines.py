"""Finding the line of a key without a parser."""

from __future__ import annotations

from sipshard.config.lines import KeyLines

TEXT = """\
# server = 1
top = 1

[server] # the first
listen = [
  "udp:127.0.0.1:5060",
]
  workers=2
advertise."udp:0.0.0.0:5060" = "x"
[ "log" ]
'level' = "a = b"
[[account]]
user = "a"
"""


def test_keys_and_tables_are_found() -> None:
    lines = KeyLines(TEXT)
    assert lines.find(("top",)) == 2
    assert lines.find(("server",)) == 4
    assert lines.find(("server", "listen")) == 5
    assert lines.find(("server", "workers")) == 8
    assert lines.find(("server", "advertise", "udp:0.0.0.0:5060")) == 9
    assert lines.find(("log", "level")) == 11
    assert lines.find(("account", "user")) == 13


def test_what_is_not_there_gets_the_line_of_what_is_around_it() -> None:
    lines = KeyLines(TEXT)
    assert lines.find(("server", "policy")) == 4
    assert lines.find(("location", "path")) is None
