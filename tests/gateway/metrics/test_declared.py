"""The declarations: names and units as Prometheus wants them, labels that stay few, and the table in the documents."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.metrics.declared import MOST_MODELS, OTHER_MODELS, Declaration, Metrics

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"


def declarations() -> list[Declaration]:
    return Metrics().declarations


@pytest.mark.parametrize("metric", declarations(), ids=lambda metric: metric.name)
def test_names_say_type_and_unit(metric: Declaration) -> None:
    assert re.fullmatch(r"deepersensor_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.name.endswith("_seconds") == (metric.unit == "seconds")


@pytest.mark.parametrize("metric", declarations(), ids=lambda metric: metric.name)
def test_the_document_has_the_declaration(metric: Declaration) -> None:
    name = metric.name + (f" {{{', '.join(metric.labels)}}}" if metric.labels else "")
    row = f"| `{name}` | {metric.type} | {metric.unit} | {metric.meaning} | {metric.action} |"

    assert row in DOCUMENT.read_text().splitlines()


def test_the_document_has_nothing_else() -> None:
    documented = re.findall(r"^\| `(deepersensor_\w+)", DOCUMENT.read_text(), flags=re.MULTILINE)

    assert documented == [metric.name for metric in declarations()]


def test_what_is_exposed_is_what_is_declared() -> None:
    metrics = Metrics()

    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        if not family.name.startswith("process_")
    }

    assert exposed == {metric.name for metric in metrics.declarations}


def test_models_beyond_the_bound_share_one_label() -> None:
    metrics = Metrics()
    names = [f"model-{number}" for number in range(MOST_MODELS + 5)]

    labels = [metrics.bounded_model(name) for name in names]

    assert labels == names[:MOST_MODELS] + [OTHER_MODELS] * 5
    assert metrics.bounded_model(names[0]) == names[0]


def test_two_processes_in_one_test_run_do_not_share_figures() -> None:
    first, second = Metrics(), Metrics()

    first.redis_up.set(1)

    assert second.registry.get_sample_value("deepersensor_redis_up") == 0
