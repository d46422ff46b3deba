"""
The records that are made for each check, some fifteen of them: frozen for the type checker only.

A dataclass that is frozen at run time takes nearly three times as long to make, because each field
is set by a call. For the type checker, which sees all of this code, ``statically_frozen`` is
``dataclasses.dataclass``; at run time nothing guards a field. Why it is not msgspec that makes
them, docs/decisions/0039 says.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as statically_frozen
else:
    _Record = TypeVar("_Record")

    def statically_frozen(
        *, frozen: bool, slots: bool, kw_only: bool = False
    ) -> Callable[[type[_Record]], type[_Record]]:
        """
        Make a class a dataclass that compares by value, has a hash, and is pickled by its slots.

        Args:
            frozen: True, which the type checker demands and enforces.
            slots: True; at least two fields.
        """

        def make(of: type[_Record]) -> type[_Record]:
            made = dataclass(slots=slots, kw_only=kw_only, unsafe_hash=frozen)(of)
            return _pickled_by_slots(made)

        return make

    def _pickled_by_slots(made: type[_Record]) -> type[_Record]:
        """Have a dataclass with slots pickled without the names of its fields."""
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


__all__ = ["statically_frozen"]
