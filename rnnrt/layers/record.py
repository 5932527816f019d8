"""Frozen dataclasses whose methods are written once, here: ``dataclasses.dataclass`` compiles methods for
every class it makes, which took half of the time of importing rnnrt.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Frozen:
    """What ``dataclass(frozen=True)`` asks of the dataclasses that a class of a user derives from."""


class _Signature:
    """The parameters of a class, as ``inspect.signature`` and ``help`` show them."""

    def __get__(self, made: Any, owner: type[Record]) -> inspect.Signature | None:
        if made is not None or owner.__init__ is not Record.__init__:
            return None  # a callable instance has its own; so has a class with an __init__ of its own
        defaults = owner._defaults | owner._factories
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=defaults.get(name, inspect.Parameter.empty),
                annotation=owner.__dataclass_fields__[name].type,
            )
            for name in owner._names
        ]
        return inspect.Signature(parameters)


class Record(_Frozen):
    """Base of the classes that ``record`` makes: equal only to itself, and nothing can be assigned to it."""

    #: Of the parameters of ``__init__``, in order: all, those with a value to be left out for, those with a
    #: function that makes one.
    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[dict[str, Callable[[], Any]]] = {}
    __signature__ = _Signature()

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._defaults | dict(zip(self._names, values)) | named
        for name, make in self._factories.items():
            if name not in fields:
                fields[name] = make()
        if fields.keys() != dict.fromkeys(self._names).keys() or len(values) > len(self._names):
            raise TypeError(self._unfit(values, named))
        if named and not named.keys().isdisjoint(self._names[: len(values)]):
            raise TypeError(self._unfit(values, named))
        self.__dict__.update(fields)
        self.__post_init__()

    def _unfit(self, values: tuple[Any, ...], named: dict[str, Any]) -> str:
        """What is wrong with these arguments, in Python's own words."""
        names, made = self._names, f"{type(self).__name__}()"
        if len(values) > len(names):
            return f"{made} takes {len(names)} positional arguments but {len(values)} were given"
        for name in named:
            if name not in names:
                return f"{made} got an unexpected keyword argument {name!r}"
            if name in names[: len(values)]:
                return f"{made} got multiple values for argument {name!r}"
        missing = [n for n in names[len(values) :] if n not in named | self._defaults | self._factories]
        return f"{made} missing required arguments: {', '.join(map(repr, missing))}"

    def __post_init__(self) -> None:
        """Called once the fields are set."""

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


class Value(Record):
    """A record that is equal to every other of its class with equal fields."""

    def _values(self) -> tuple[Any, ...]:
        return tuple(map(self.__dict__.__getitem__, self._names))

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        named = (f"{name}={value!r}" for name, value in zip(self._names, self._values()))
        return f"{type(self).__name__}({', '.join(named)})"


def record(cls: type) -> type:
    """``cls``, derived from Record, as a frozen dataclass of the fields it is annotated with: for
    ``dataclasses.fields`` and ``replace``, for its users' own ``@dataclass(frozen=True)``, for type checkers.
    """
    annotations = inspect.get_annotations(cls)
    body = {name: vars(cls)[name] for name in annotations if name in vars(cls)}
    # dataclass() gathers the fields of a class that has nothing else, for which it compiles nothing.
    bare = type(cls.__name__, (), {"__annotations__": annotations, "__module__": cls.__module__, **body})
    bare.__doc__ = "So that none is made."
    gathered = dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False)(bare)
    for name, value in body.items():
        if isinstance(value, dataclasses.Field):
            if value.default is dataclasses.MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, value.default)
    cls.__dataclass_fields__ = cls.__dataclass_fields__ | gathered.__dataclass_fields__
    parameters = [item for item in dataclasses.fields(cls) if item.init]
    if "__init__" not in vars(cls):  # that of a user's dataclass above it knows other fields
        cls.__init__ = Record.__init__
    cls._names = tuple(item.name for item in parameters)
    cls._defaults = {x.name: x.default for x in parameters if x.default is not dataclasses.MISSING}
    cls._factories = {
        x.name: x.default_factory for x in parameters if x.default_factory is not dataclasses.MISSING
    }
    return cls
