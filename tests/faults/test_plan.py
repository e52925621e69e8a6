"""A seed is a plan: the same one each time, and another one for another seed."""

from tests.faults.random_faults import OF_A_LINE, OF_A_PROCESS, OF_REDIS, make_plan

LINES = {"gateway-1": ["clients", "redis"], "worker-1": ["ollama", "postgresql", "redis"]}


def test_the_same_seed_is_the_same_plan() -> None:
    assert make_plan(7, 20, LINES) == make_plan(7, 20, LINES)
    assert make_plan(7, 20, LINES) != make_plan(8, 20, LINES)


def test_every_fault_comes_on_every_line() -> None:
    faults = make_plan(1, 2000, LINES).faults
    assert {fault.what for fault in faults} == {*OF_A_PROCESS, *OF_A_LINE, *OF_REDIS}
    assert {(fault.part, fault.line) for fault in faults if fault.line} == {
        (part, line) for part, lines in LINES.items() for line in lines
    }
