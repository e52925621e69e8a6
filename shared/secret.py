"""Text that must be seen nowhere but where it is used."""

from typing import Final

HIDDEN: Final = "[hidden]"


class Secret(str):
    """A text that `repr` hides, so that nothing that holds it shows it, neither settings nor local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN
