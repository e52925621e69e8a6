"""Every surface that streams has its row; how long it takes is told, not judged."""

from tests.benchmarks.translation import FORMS, us_per_token


def test_every_form_is_measured() -> None:
    assert {form.name.split("/")[1] for form in FORMS} == {"v1", "openai", "ollama"}
    for form in FORMS:
        assert us_per_token(form, at_once=1) > 0
