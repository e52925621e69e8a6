"""The double of Ollama, told by HTTP what to do (tests/ollama_double)."""

import time
from collections.abc import Callable, Sequence
from itertools import count, cycle

import httpx
import msgspec

from tests.ollama_double import Answer, Generation, Script, State

_HANG_S = 20.0  # a limit for hanging, not an expectation
_INTERVAL_S = 0.02


class RemoteDouble:
    """The double, as a test has it.

    Args:
        url: Where it listens.
        models: What the product's worker has of it.

    """

    def __init__(self, url: str, models: Sequence[str]) -> None:
        self._http = httpx.Client(base_url=url, timeout=_HANG_S, trust_env=False)
        self._models = cycle(models)
        self._gates = count(1)
        self._before = 0  # how many generations there had been when the test began
        self._scripted: set[str] = set()  # models that the test has given answers

    def begin(self) -> None:
        """Forget what earlier tests have asked for."""
        self._before = len(self._generations())
        self._scripted.clear()

    def model(self, *answers: Answer) -> str:
        """Return the name of a model that gives these answers, the last one for ever."""
        model = next(self._models)
        self.script(model, *answers)
        return model

    def script(self, model: str, *answers: Answer) -> None:
        """Have a model give these answers, the last one for ever."""
        self._scripted.add(model)
        body = msgspec.json.encode(Script(model=model, answers=answers))
        self._http.put("/_double/script", content=body).raise_for_status()

    def gate(self) -> str:
        """Return a name for a gate that nobody has released."""
        return f"gate-{next(self._gates)}"

    def release(self, gate: str) -> None:
        """Let every `Hang(gate)` go on."""
        self._http.put(f"/_double/gates/{gate}").raise_for_status()

    def asked(self) -> list[Generation]:
        """Return what the test has had Ollama do, oldest first; a job that an earlier one left may still be tried."""
        return [seen for seen in self._generations()[self._before :] if seen.model in self._scripted]

    def until(self, predicate: Callable[[list[Generation]], object], description: str) -> None:
        """Wait until `predicate` holds for what the test has had Ollama do."""
        give_up_at = time.monotonic() + _HANG_S
        while not predicate(asked := self.asked()):
            assert time.monotonic() < give_up_at, f"waited in vain until {description}: {asked}"
            time.sleep(_INTERVAL_S)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def _generations(self) -> list[Generation]:
        return msgspec.json.decode(self._http.get("/_double/state").content, type=State).generations
