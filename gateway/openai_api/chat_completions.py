"""What Ollama is asked for the body of `POST /openai/v1/chat/completions`."""

from typing import Any, Literal

import msgspec

from gateway.chat.free_json import free_json_fault
from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaChat
from gateway.openai_api.chat_schemas import (
    AllowedToolsChoice,
    ChatCompletionRequest,
    Effort,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Tool,
)
from gateway.openai_api.messages import to_ollama_messages
from gateway.openai_api.sampling import options_of, refuse, refuse_several
from shared.errors import InvalidRequestError

Thinking = Literal[False, "low", "medium", "high"]

_THINKING: dict[Effort, Thinking] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
    "ultra": "high",
}
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def to_chat(request: ChatCompletionRequest) -> Inference:
    """Return what Ollama is to be asked.

    Raises:
        InvalidRequestError: A part of the request is wrong, or a choice names a tool that there is not.
        UnsupportedParameterError: The request asks for what there is not.

    """
    _refuse_unsupported(request)
    messages = to_ollama_messages(request.messages)
    tools = _tools(request)
    num_predict = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    return Inference(
        request=OllamaChat(
            model=request.model,
            messages=messages,
            stream=True,
            options=options_of(request, num_predict=num_predict),
            format=_format(request),
            tools=tools or None,
            think=_thinking(request),
        ),
        is_stream=bool(request.stream),
        images=[image for message in messages for image in message.images],
        num_predict=num_predict,
        answer_param="max_tokens" if request.max_completion_tokens is None else "max_completion_tokens",
        calls_tools=bool(tools),
    )


def _refuse_unsupported(request: ChatCompletionRequest) -> None:
    refuse_several(request)
    only_text = "Answers are text here."
    refuse("modalities", only_text, unless=request.modalities is None or set(request.modalities) <= {"text"})
    refuse("audio", only_text, unless=request.audio is None)
    refuse("logprobs", "Probabilities are not given.", unless=not request.logprobs)
    refuse("top_logprobs", "Probabilities are not given.", unless=not request.top_logprobs)
    refuse("functions", "Functions are declared as tools here.", unless=not request.functions)
    refuse("function_call", "A function is chosen by tool_choice here.", unless=request.function_call is None)


def _format(request: ChatCompletionRequest) -> Literal["json"] | dict[str, Any] | None:
    match request.response_format:
        case JsonObjectFormat():
            return "json"
        case JsonSchemaFormat(json_schema):
            if fault := free_json_fault(json_schema.schema):
                raise InvalidRequestError(f"{fault}.", param="response_format.json_schema.schema")
            return json_schema.schema
        case _:
            return None


def _thinking(request: ChatCompletionRequest) -> Thinking | None:
    effort = (request.reasoning and request.reasoning.effort) or request.reasoning_effort
    return None if effort is None else _THINKING[effort]


def _tools(request: ChatCompletionRequest) -> list[Tool]:
    """Return the tools that the model may call: Ollama cannot be told that it must."""
    tools = request.tools or []
    match request.tool_choice:
        case "none":
            return []
        case NamedTool() as choice:
            tools = _chosen(tools, [choice], "tool_choice")
        case AllowedToolsChoice(allowed_tools):
            tools = _chosen(tools, allowed_tools.tools, "tool_choice.allowed_tools.tools")
        case _:
            pass
    return [_with_parameters(tool, f"tools[{place}]") for place, tool in enumerate(tools)]


def _chosen(tools: list[Tool], choices: list[NamedTool], param: str) -> list[Tool]:
    names = {choice.function.name for choice in choices}
    if unknown := names - {tool.function.name for tool in tools}:
        raise InvalidRequestError(f"There is no tool {min(unknown)!r}.", param=param)
    return [tool for tool in tools if tool.function.name in names]


def _with_parameters(tool: Tool, path: str) -> Tool:
    if tool.function.parameters is None:
        return msgspec.structs.replace(tool, function=msgspec.structs.replace(tool.function, parameters=_NO_PARAMETERS))
    if fault := free_json_fault(tool.function.parameters):
        raise InvalidRequestError(f"{fault}.", param=f"{path}.function.parameters")
    return tool
