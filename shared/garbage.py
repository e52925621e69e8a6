"""How often a process looks for garbage that reference counting leaves."""

import gc

ALLOCATIONS_BETWEEN_LOOKS = 50_000  # Python's 700 are a look every other request; each costs 100 µs and finds nothing


def collect_rarely() -> None:
    """Leave out of all later looks what exists now, and look more rarely; called once, when a process has started.

    Modules, routes and schemas are half a million objects that live as long as the process. Measured over short chats:
    a tenth of the processor time of gateway and worker (docs/decisions/0005-leaner-requests.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BETWEEN_LOOKS, 20, 50)
