"""How many jobs this worker can still take, per model and in all."""

from collections import Counter
from collections.abc import Iterable


class Slots:
    """Counts running jobs; Ollama's OLLAMA_NUM_PARALLEL is per model, the process's own bound is over all."""

    def __init__(self, *, per_model: int, in_all: int) -> None:
        self.per_model = per_model
        self.in_all = in_all
        self._running: Counter[str] = Counter()

    def take(self, model: str) -> None:
        """Count a job of `model` as running."""
        self._running[model] += 1

    def give_back(self, model: str) -> None:
        """Count a job of `model` as ended."""
        self._running[model] -= 1

    def free_in_all(self) -> int:
        """Return how many more jobs the process can take."""
        return self.in_all - self._running.total()

    def free(self, models: Iterable[str]) -> dict[str, int]:
        """Return the models that have a free slot, with how many."""
        return {model: left for model in models if (left := self.per_model - self._running[model]) > 0}
