"""Translates requests of Ollama's API into what Ollama is asked: themselves, without what has no effect here."""

from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaChat, OllamaGenerate
from gateway.ollama_api.chat_schemas import OllamaChatRequest
from gateway.ollama_api.generate_schemas import OllamaGenerateRequest
from gateway.ollama_api.loading import to_loading


def to_chat(asked: OllamaChatRequest) -> Inference:
    """Return what a chat asks of a model; without messages, that it be loaded."""
    if not asked.messages:
        return to_loading(asked)
    return Inference(
        request=OllamaChat(
            model=asked.model,
            messages=asked.messages,
            stream=True,
            options=asked.options,
            format=asked.format or None,
            tools=asked.tools,
            think=asked.think,
            truncate=asked.truncate,
            shift=asked.shift,
        ),
        is_stream=asked.is_stream,
        images=[image for message in asked.messages if message.images for image in message.images],
        num_predict=asked.num_predict,
        calls_tools=bool(asked.tools),
    )


def to_generation(asked: OllamaGenerateRequest) -> Inference:
    """Return what a prompt asks of a model; an empty one, that it be loaded."""
    if not asked.prompt:
        return to_loading(asked)
    return Inference(
        request=OllamaGenerate(
            model=asked.model,
            prompt=asked.prompt,
            stream=True,
            suffix=asked.suffix,
            system=asked.system,
            template=asked.template,
            raw=asked.raw,
            context=asked.context,
            images=asked.images,
            options=asked.options,
            format=asked.format or None,
            think=asked.think,
            truncate=asked.truncate,
            shift=asked.shift,
        ),
        is_stream=asked.is_stream,
        images=asked.images or (),
        num_predict=asked.num_predict,
        prompt_param="prompt",
    )
