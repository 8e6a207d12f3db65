"""Package faces, which import their names on first use, and the conversion of text that their callers pass.

A word such as ``"oT"`` is accepted where a `StrEnum` is asked for, a path as text where a `Path` is, and a name such as
``"M48"`` where a class with a ``parse`` method is. Anything else is refused: a comparison by ``is`` would take an
unconverted word for another one in silence.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import lazy_loader

from sffshards.base.errors import Field, InputError

__all__ = ["accepts_text", "attach_face", "convert_text"]

_T = TypeVar("_T", bound=Callable[..., Any])
_MARK = "__accepts_text__"
_URL = "://"
_PLAIN = (type(None), bool, int, float, bytes, list, tuple, set, dict)
_PLAIN_NAMES = {bool: "True or False", int: "a whole number", float: "a number", Path: "a path"}
_Converters = dict[str, Any]
"""The types of the parameters that text may stand for, by name."""


def attach_face(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that offers the names of its ``__init__.pyi``.

    Each function and class of them accepts text, as `accepts_text` describes.
    """
    load, _, names = lazy_loader.attach_stub(package, file)

    def getattr_(name: str) -> Any:
        offered = load(name)
        home = sys.modules.get(getattr(offered, "__module__", None) or "")
        is_ours = home is not None and home.__name__.startswith("sffshards.") and vars(home).get(name) is offered
        if home and is_ours and (inspect.isfunction(offered) or inspect.isclass(offered)):
            offered = accepts_text(offered)
            for module in (home, sys.modules[package]):  # at home too, where pickle looks for a function
                setattr(module, name, offered)
        return offered

    def dir_() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return getattr_, dir_, names


def accepts_text(callable_: _T) -> _T:
    """Make a function, or the constructor and public methods of a class, convert text as their annotations ask.

    Parameters
    ----------
    callable_
        A function, which is wrapped, or a class, which is changed in place.

    Returns
    -------
    The wrapped function, or the class itself. A call raises `InputError` for a word that is none of its enumeration,
    for a value of another type in its place, and for text in place of a number or of true or false.
    """
    if inspect.isclass(callable_):
        _convert_methods(callable_)
        return callable_
    return _wrap(callable_, functools.partial(_list_parameters, callable_))


def _convert_methods(kind: type) -> None:
    """Make the constructor and the public methods that a class itself defines accept text; once."""
    if _MARK in vars(kind) or issubclass(kind, Enum | BaseException):
        return
    setattr(kind, _MARK, True)
    for name, method in list(vars(kind).items()):
        if name.startswith("_") and name != "__init__":
            continue
        inner = method.__func__ if isinstance(method, classmethod | staticmethod) else method
        if inspect.isfunction(inner) and set(inner.__annotations__) - {"return"}:
            is_record = name == "__init__" and hasattr(kind, "__dataclass_fields__")
            wanted = functools.partial(_list_fields, kind) if is_record else functools.partial(_list_parameters, inner)
            wrapped = _wrap(inner, wanted)
            setattr(kind, name, wrapped if inner is method else type(method)(wrapped))


def _wrap(function: _T, list_wanted: Callable[[], _Converters]) -> _T:
    if hasattr(function, _MARK):
        return function
    names = tuple(function.__code__.co_varnames[: function.__code__.co_argcount])
    known: list[_Converters] = []  # annotations are evaluated at the first call: what they name may be imported later

    @functools.wraps(function)
    def convert_and_call(*args: Any, **kwargs: Any) -> Any:
        if not known:
            known.append(list_wanted())
        wanted = known[0]
        for name, kind in wanted.items():
            if name in kwargs and type(kwargs[name]) is not kind:
                kwargs[name] = convert_text(kind, kwargs[name], where=name)
        if args and not wanted.keys().isdisjoint(names):
            given = dict(zip(names, args, strict=False))
            converted = [convert_text(wanted[k], v, where=k) if k in wanted else v for k, v in given.items()]
            args = (*converted, *args[len(names) :])
        return function(*args, **kwargs)

    setattr(convert_and_call, _MARK, True)
    return convert_and_call  # type: ignore[return-value]  # it has the same parameters


def _list_parameters(function: Callable[..., Any]) -> _Converters:
    return _resolve(inspect.get_annotations(function), vars(sys.modules[function.__module__]))


def _list_fields(record: type) -> _Converters:
    """Return the types of a record's fields, each evaluated in the module of the class that declares it."""
    found: _Converters = {}
    for kind in reversed(record.__mro__):
        found |= _resolve(inspect.get_annotations(kind), vars(sys.modules[kind.__module__]))
    return found


def _resolve(annotations: Mapping[str, Any], namespace: dict[str, Any]) -> _Converters:
    found = {}
    for name, annotation in annotations.items():
        if name != "return":
            try:
                kind = eval(annotation, namespace) if isinstance(annotation, str) else annotation  # noqa: S307  our own
            except NameError:  # a name that only type checkers import, which is never an enumeration or a path
                continue
            if _takes_text(kind):
                found[name] = kind
    return found


def _takes_text(kind: Any) -> bool:
    """Return whether text may stand for a value of a type, or must be refused in its place."""
    if isinstance(kind, type) and get_origin(kind) is None:
        return issubclass(kind, Enum | Path | int | float) or hasattr(kind, "parse")
    return any(_takes_text(part) for part in get_args(kind) if part is not Ellipsis)


def convert_text(kind: Any, value: Any, *, where: str) -> Any:
    """Return a value as a type asks for it.

    Parameters
    ----------
    kind
        The type, such as ``Variant``, ``Path | None`` or ``Sequence[Stage]``.
    value
        The value; text is converted if the type is not text itself.
    where
        Name of the parameter or field.

    Raises
    ------
    InputError
        If the text is none of the words of an enumeration, or stands for something that is not written as text.

    Examples
    --------
    >>> convert_text(Path | None, "shards/48h", where="folder").name
    '48h'
    """
    if type(value) is kind:
        return value
    origin = get_origin(kind)
    if origin is Annotated:
        return convert_text(get_args(kind)[0], value, where=where)
    if origin in (Union, UnionType):
        return _convert_choice(get_args(kind), value, where)
    if origin is not None:
        return _convert_items(origin, get_args(kind), value, where)
    return value if not isinstance(kind, type) or _is_one_of(value, kind) else _convert_plain(kind, value, where)


def _convert_plain(kind: type[Any], value: Any, where: str) -> Any:
    """Convert to a class that the value is not an instance of."""
    if issubclass(kind, Enum):
        return _parse_word(kind, value, where)
    if issubclass(kind, Path) and isinstance(value, str | os.PathLike):
        return Path(value)
    if isinstance(value, str) and hasattr(kind, "parse"):
        return kind.parse(value, where=Field(where))
    name = next((name for of, name in _PLAIN_NAMES.items() if issubclass(kind, of)), "")
    if isinstance(value, str) and issubclass(kind, int | float):
        raise InputError(Field(where), expected=name, found=repr(value[:80]), fix="pass it without quotes")
    if type(value) in _PLAIN and (name or hasattr(kind, "parse")) and not _is_number_of(kind, value):
        found = f"a value of type {type(value).__name__}"
        raise InputError(Field(where), expected=name or f"a {kind.__name__}", found=found, fix="pass one")
    return value


def _is_number_of(kind: type[Any], value: Any) -> bool:
    """Return whether a value is a number that stands for one of a class: a whole one for a float, 0 or 1 for a bool."""
    return isinstance(value, int) and (issubclass(kind, float) or (kind is bool and value in (0, 1)))


def _is_one_of(value: Any, *kinds: type) -> bool:
    """Return whether a value is an instance of a type; of a protocol, nothing is known."""
    return isinstance(value, tuple(kind for kind in kinds if not getattr(kind, "_is_protocol", False)))


def _convert_choice(kinds: Collection[Any], value: Any, where: str) -> Any:
    """Convert to the first type of a union that takes text; leave what is of one of its types already."""
    plain = [kind for kind in kinds if isinstance(kind, type) and get_origin(kind) is None]
    if _is_one_of(value, *plain):
        return value
    if Path in plain and len(plain) > 1 and isinstance(value, str) and _URL in value:
        fix = "pass what `sffshards.shards.read.parse_place` returns for a URL"
        raise InputError(Field(where), expected="a folder of this machine", found=repr(value[:80]), fix=fix)
    is_choice_of_one = len(plain) == len(kinds)
    for kind in kinds:
        if _takes_text(kind) and (is_choice_of_one or isinstance(value, str) or kind not in plain):
            return convert_text(kind, value, where=where)
    return value


def _convert_items(origin: Any, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Convert the items of a collection; a single word in its place would be read letter by letter."""
    if not isinstance(origin, type) or not issubclass(origin, Iterable):
        return value
    is_scalar = isinstance(value, bytes | int | float | None) and origin.__module__ in ("builtins", "collections.abc")
    if isinstance(value, str) or is_scalar:
        found = repr(value[:80]) if isinstance(value, str) else f"a value of type {type(value).__name__}"
        raise InputError(Field(where), expected="several values", found=found, fix="put it into a list")
    if isinstance(value, dict) and len(kinds) == 2:
        of_key, of_value = kinds
        return {convert_text(of_key, k, where=where): convert_text(of_value, v, where=where) for k, v in value.items()}
    is_plain = type(value) in (list, tuple, set, frozenset)
    if is_plain and (origin is not builtins.tuple or kinds[1:] == (Ellipsis,)):
        return type(value)(convert_text(kinds[0], item, where=where) for item in value)
    return value


def _parse_word(kind: type[Enum], value: Any, where: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        words = [str(member.value) for member in kind]
    found = repr(str(value)[:80]) if isinstance(value, str) else f"a value of type {type(value).__name__}"
    raise InputError(Field(where), expected=f"one of {', '.join(words)}", found=found, fix="choose one of them")
