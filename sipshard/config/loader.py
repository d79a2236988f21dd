"""From a file to a :class:`Configuration`, or to an error that says what to change where."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sipshard.config.lines import KeyLines, KeyPath
from sipshard.config.model import Configuration
from sipshard.config.problem import PROBLEM_TYPE
from sipshard.errors import ConfigurationError, ConfigurationProblem

SEARCH_PATH = (Path("sipshard.toml"), Path("/etc/sipshard/sipshard.toml"))

# A unix socket's path has 108 bytes with its end (unix(7)); this is the longest name we put there.
_UNIX_PATH_BYTES = 107
_CONTROL_SOCKET = "control.sock"

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "tuple_type": "a list in brackets",
    "mapping_type": "a table",
    "dict_type": "a table",
    "path_type": "a path in quotes",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def locate(given: Path | None, search_path: Sequence[Path] = SEARCH_PATH) -> Path:
    """The configuration file to use. Raises ConfigurationError when there is none."""
    if given is not None:
        return given
    for candidate in search_path:
        if candidate.is_file():
            return candidate
    places = " or ".join(str(path) for path in search_path)
    raise _error(search_path[0], None, "there is no configuration", f"make {places}, or use -c")


def load(path: Path) -> Configuration:
    """Reads and checks ``path``. Raises ConfigurationError with everything that is wrong in it."""
    text = _read(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, error) from None
    try:
        configuration = Configuration.of(tables, directory=path.parent.resolve())
    except ValidationError as error:
        raise _explained(path, KeyLines(text), error) from None
    _check_runtime_dir(path, KeyLines(text), configuration)
    return configuration


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "give a file that can be read with -c"
        raise _error(path, None, f"cannot be read: {error.strerror}", remedy) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(path, line, "is not UTF-8", "save it as UTF-8; TOML allows no other") from None


def _syntax_error(path: Path, error: tomllib.TOMLDecodeError) -> ConfigurationError:
    text = str(error)
    place = re.search(r"\(at line (\d+), column \d+\)", text)
    line = int(place[1]) if place else None
    return _error(path, line, f"is no TOML: {text}", "correct the syntax; see https://toml.io")


def _error(path: Path, line: int | None, what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([ConfigurationProblem(path, line, "", what, remedy)])


def _check_runtime_dir(path: Path, lines: KeyLines, configuration: Configuration) -> None:
    socket_path = configuration.server.runtime_dir / _CONTROL_SOCKET
    if len(bytes(socket_path)) <= _UNIX_PATH_BYTES:
        return
    raise ConfigurationError(
        [
            ConfigurationProblem(
                path,
                lines.find(("server", "runtime_dir")),
                "server.runtime_dir",
                f"{socket_path} is longer than the {_UNIX_PATH_BYTES} bytes of a socket's path",
                "choose a shorter directory, for example /run/sipshard",
            )
        ]
    )


def _explained(path: Path, lines: KeyLines, error: ValidationError) -> ConfigurationError:
    problems: dict[KeyPath, ConfigurationProblem] = {}
    for detail in error.errors():
        key = _key_path(detail)
        what, remedy = _words(key, detail)
        problem = ConfigurationProblem(path, lines.find(key), ".".join(key), what, remedy)
        problems.setdefault((*key, what), problem)
    return ConfigurationError(sorted(problems.values(), key=lambda each: each.line or 0))


def _key_path(detail: ErrorDetails) -> KeyPath:
    """The keys of pydantic's location, without list indices, and the one a table points at."""
    keys = tuple(part for part in detail["loc"] if isinstance(part, str) and part != "[key]")
    pointed_at = detail.get("ctx", {}).get("key")
    return (*keys, pointed_at) if pointed_at else keys


def _words(key: KeyPath, detail: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what to do, in the operator's words."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == PROBLEM_TYPE:
        return context["what"], context["remedy"]
    if kind == "extra_forbidden":
        return _unknown_key(key)
    example = _example(key)
    if kind in _EXPECTED:
        what = f"{_shown(detail['input'])} is not {_EXPECTED[kind]}"
        meant = _meant(kind, detail["input"])
        return what, f"write {example if meant is None else f'{key[-1]} = {to_toml(meant)}'}"
    if kind == "literal_error":
        choices = context["expected"].replace("'", '"')
        return f"{_shown(detail['input'])} is no choice", f"write one of {choices}"
    bounds = {
        "greater_than_equal": "at least {ge}",
        "greater_than": "above {gt}",
        "less_than_equal": "at most {le}",
        "less_than": "below {lt}",
    }
    if kind in bounds:
        bound = bounds[kind].format(**context)
        return f"{_shown(detail['input'])} is not {bound}", f"write {bound}; default: {example}"
    return detail["msg"], f"write {example}"


def _meant(kind: str, value: object) -> object:
    """A value of the wrong type as its writer probably meant it; None when nobody can tell."""
    if kind == "tuple_type" and isinstance(value, str):
        return (value,)
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        return int(value)
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "bool_type" and value in ("true", "false"):
        return value == "true"
    return None


def _unknown_key(key: KeyPath) -> tuple[str, str]:
    table, name = key[:-1], key[-1]
    what = f'there is no table "{name}"' if not table else f'there is no key "{name}" here'
    known = list(_model(table).model_fields)
    if close := difflib.get_close_matches(name, known, n=1):
        return what, f'did you mean "{close[0]}"?'
    homes = [home for home in Configuration.model_fields if name in _model((home,)).model_fields]
    if homes:
        return what, f"move it to [{homes[0]}]"
    return what, f"remove it; known here: {', '.join(sorted(known))}"


def _model(table: KeyPath) -> type[BaseModel]:
    model: type[BaseModel] = Configuration
    for name in table:
        annotation = model.model_fields[name].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return model


def _example(key: KeyPath) -> str:
    """The key with its default, as one would write it."""
    if len(key) == 1:
        return f"[{key[0]}] and its keys below it"
    default = _model(key[:1]).model_fields[key[1]].default
    if default is None or default == {}:
        return f"a value as docs/config.md shows for {'.'.join(key[:2])}"
    return f"{key[1]} = {to_toml(default)}"


def to_toml(value: Any) -> str:
    """A default as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:g}" if value % 1 else f"{value:.1f}"
    if isinstance(value, int):
        return f"{value:_}" if value >= 100_000 else str(value)
    return f'"{value}"'


def _shown(value: object) -> str:
    """A value from the file, as short as an error message wants it."""
    text = repr(value) if isinstance(value, dict) else to_toml(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
