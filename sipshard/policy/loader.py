"""Reads an operator's policy file. Whatever is wrong with it stops the start with exit code 4."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from sipshard.errors import PolicyError
from sipshard.policy.router import Router

MODULE_NAME = "sipshard_policy"
"""The name under which the file is imported, the same whatever the file is called."""


def load(path: Path) -> Router:
    """The router of the policy file at ``path``.

    It is the module's ``router``, or the only :class:`Router` that it defines under any name.
    Raises PolicyError, whose text names the file, the line where one is known, and the remedy.
    """
    module = _import(path)
    router = getattr(module, "router", None)
    if isinstance(router, Router):
        return _checked(path, router)
    if router is not None:
        kind = type(router).__name__
        raise PolicyError(f"{path}: router is a {kind}; make it a sipshard.Router")
    routers = [value for value in vars(module).values() if isinstance(value, Router)]
    if not routers:
        raise PolicyError(f"{path}: no router; write router = Router() and give it handlers")
    if len(routers) > 1:
        raise PolicyError(f"{path}: several routers; name the one to use router")
    return _checked(path, routers[0])


def _checked(path: Path, router: Router) -> Router:
    if not router.methods and not router.handles_any:
        raise PolicyError(
            f'{path}: the router has no handler; decorate a function with @router.request("INVITE")'
        )
    return router


def _import(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if specification is None or specification.loader is None:
        raise PolicyError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(specification)
    # The file may import its neighbours, but they never hide a module of the library.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    # Dataclasses and pickles of the policy look their module up by its name.
    sys.modules[MODULE_NAME] = module
    try:
        specification.loader.exec_module(module)
    except OSError as error:
        if error.filename != str(path):
            raise _raised(path, error) from error
        raise PolicyError(f"{path}: {error.strerror}; check server.policy") from error
    except SyntaxError as error:
        place = f"{error.filename or path}:{error.lineno or 1}"
        raise PolicyError(f"{place}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from error
    return module


def _raised(path: Path, error: BaseException) -> PolicyError:
    """Names the last line of the policy file that took part."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f"{path}:{lines[-1]}" if lines else str(path)
    return PolicyError(f"{place}: {type(error).__name__}: {error}")
