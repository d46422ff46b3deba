"""
The decorator for records that every check creates, about fifteen: frozen for the type checker only.

Creating a dataclass that is frozen at run time takes nearly three times as long, because each field
is set with a function call. For the type checker, which sees all of this code,
``statically_frozen`` is ``dataclasses.dataclass``; at run time nothing guards the fields.
``replace`` copies such a record with some fields changed, in a third of the time of
``dataclasses.replace``. docs/decisions/0039 says why the records are not made with msgspec.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as statically_frozen
    from dataclasses import replace
else:
    _Record = TypeVar("_Record")

    def statically_frozen(
        *, frozen: bool, slots: bool, kw_only: bool = False
    ) -> Callable[[type[_Record]], type[_Record]]:
        """
        Make a class a dataclass that compares by value, is hashable, and is pickled by its slots.

        Args:
            frozen: True, which the type checker requires and enforces.
            slots: True; at least two fields.
        """

        def make(of: type[_Record]) -> type[_Record]:
            made = dataclass(slots=slots, kw_only=kw_only, unsafe_hash=frozen)(of)
            made.__replace__ = _replace_first
            return _pickled_by_slots(made)

        return make

    def replace(record: _Record, /, **changes: Any) -> _Record:
        """Return a copy of a record that ``statically_frozen`` made, with some fields changed."""
        return record.__replace__(**changes)

    def _replace_first(self: _Record, **changes: Any) -> _Record:
        """Create ``__replace__`` at its first call for a class, and call it."""
        made = type(self)
        made.__replace__ = _make_replace(made)
        return made.__replace__(self, **changes)

    def _make_replace(made: type[_Record]) -> Callable[..., _Record]:
        """Return a function that sets the fields one by one, without a call for each of them."""
        names = [one.name for one in fields(made)]
        lines = [
            f"def __replace__(self, *, {', '.join(f'{name}=_SAME' for name in names)}):",
            "    copy = _new(_made)",
            *(f"    copy.{name} = self.{name} if {name} is _SAME else {name}" for name in names),
            "    return copy",
        ]
        scope = {"_SAME": object(), "_new": object.__new__, "_made": made}
        exec("\n".join(lines), scope)  # noqa: S102  as dataclass makes __init__
        function: Callable[..., _Record] = scope["__replace__"]
        return function

    def _pickled_by_slots(made: type[_Record]) -> type[_Record]:
        """Make a dataclass with slots be pickled without its field names."""
        names = [one.name for one in fields(made)]
        state = attrgetter(*names)

        def get_state(self: _Record) -> Any:
            return state(self)

        def set_state(self: _Record, values: Any) -> None:
            for name, value in zip(names, values, strict=False):
                setattr(self, name, value)

        made.__getstate__ = get_state
        made.__setstate__ = set_state
        return made


__all__ = ["replace", "statically_frozen"]
