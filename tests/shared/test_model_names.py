"""A model has one whole name, however somebody writes it."""

import pytest

from shared.model_names import whole_name


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("qwen3", "qwen3:latest"),
        ("qwen3:8b", "qwen3:8b"),
        ("library/qwen3:8b", "qwen3:8b"),
        ("registry.ollama.ai/library/qwen3", "qwen3:latest"),
        ("registry.ollama.ai/ada/tiny:q4", "ada/tiny:q4"),
        ("ada/tiny", "ada/tiny:latest"),
        ("hf.co/ada/tiny:q4", "hf.co/ada/tiny:q4"),
        ("library/ada/tiny", "library/ada/tiny:latest"),
        ("localhost:5000/ada/tiny", "localhost:5000/ada/tiny:latest"),
        ("QWEN3:8B", "QWEN3:8B"),
    ],
)
def test_a_whole_name_is_what_ollama_lists(name: str, whole: str) -> None:
    assert whole_name(name) == whole
