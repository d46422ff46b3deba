"""
Records that are made anew for each check, some fifteen of them.

To make a frozen dataclass takes three times as long as one that is not, because each field is set
by a call. So ``record`` has frozen ones guarded where all of this code is: by the type checker,
for which it is ``dataclasses.dataclass``. At run time nothing guards them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    _Record = TypeVar("_Record")

    def record(
        *, frozen: bool, slots: bool, kw_only: bool = False
    ) -> Callable[[type[_Record]], type[_Record]]:
        """
        Have a class be a dataclass that compares by value, has a hash, and is pickled by its slots.

        Args:
            frozen: True, for the type checker.
            slots: True; two fields at least.
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


__all__ = ["record"]
