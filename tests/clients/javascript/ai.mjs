// The AI SDK against /openai/v1, by its provider for servers like OpenAI's ("compatible") or by that for OpenAI.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";

import { failure, question as prompt } from "./asking.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

function provider({ name, fetch }) {
  const { BASE_URL, API_KEY } = process.env;
  const baseURL = `${BASE_URL}/openai/v1`;
  if (name === "openai") return createOpenAI({ baseURL, apiKey: API_KEY, fetch });
  return createOpenAICompatible({
    name: "deepersensor",
    baseURL,
    apiKey: API_KEY,
    includeUsage: true,
    supportsStructuredOutputs: true,
    fetch,
  });
}

// `openai(model)` speaks OpenAI's Responses API; `openai.chat(model)` what everybody else does.
function chatModel({ model, provider: name, fetch }) {
  const made = provider({ name, fetch });
  return name === "openai" ? made.chat(model) : made.chatModel(model);
}

const usageOf = ({ inputTokens, outputTokens, totalTokens }) => ({ inputTokens, outputTokens, totalTokens });

function told(error) {
  const { name, statusCode, isRetryable, message, data } = error;
  return { name, isAPICallError: APICallError.isInstance(error), statusCode, isRetryable, message, data };
}

export async function text({ model, provider: name, ...settings }) {
  const result = await generateText({ model: chatModel({ model, provider: name }), prompt, ...settings });
  const { text, reasoningText, finishReason, usage, response } = result;
  return { text, reasoningText, finishReason, usage: usageOf(usage), model: response.modelId };
}

export async function streamed({ model, provider: name, ...settings }) {
  const result = streamText({ model: chatModel({ model, provider: name }), prompt, ...settings });
  const deltas = [];
  for await (const delta of result.textStream) deltas.push(delta);
  const finishReason = await result.finishReason;
  return { deltas, reasoning: await result.reasoningText, finishReason, usage: usageOf(await result.usage) };
}

// Lets the SDK call the function itself, and ask the model again with what it said.
export async function tools({ model, provider: name, stream }) {
  const asked = [];
  const weather = tool({
    description: "Tells the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return `sunny in ${city}`;
    },
  });
  const settings = {
    model: chatModel({ model, provider: name }),
    prompt,
    tools: { weather },
    stopWhen: isStepCount(5),
  };
  const result = stream ? streamText(settings) : await generateText(settings);
  const steps = (await result.steps).map(({ finishReason }) => finishReason);
  return { asked, text: await result.text, steps };
}

export async function object({ model, provider: name, stream }) {
  const schema = z.object({ name: z.string(), inhabitants: z.number() });
  const settings = { model: chatModel({ model, provider: name }), prompt, output: Output.object({ schema }) };
  if (!stream) return { output: (await generateText(settings)).output };
  const result = streamText(settings);
  let partials = 0;
  for await (const _ of result.partialOutputStream) partials += 1;
  return { output: await result.output, partials };
}

export async function embedding({ model, provider: name, value, dimensions }) {
  const result = await embed({ model: provider({ name }).embeddingModel(model), value, dimensions });
  return { embedding: result.embedding, tokens: result.usage.tokens };
}

export async function embeddings({ model, provider: name, values }) {
  const result = await embedMany({ model: provider({ name }).embeddingModel(model), values });
  return { embeddings: result.embeddings, tokens: result.usage.tokens };
}

// A chat that went on for a while, with an image in it and a thought.
export async function conversation({ model, provider: name, image }) {
  const { text } = await generateText({
    model: chatModel({ model, provider: name }),
    instructions: "Be brief.",
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "file", mediaType: "image/png", data: image },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "reasoning", text: "Hm." },
          { type: "text", text: "A pixel." },
        ],
      },
      { role: "user", content: prompt },
    ],
  });
  return text;
}

export const refused = (given) => failure(() => text({ maxRetries: 0, ...given }), told);

// The provider's own default is an API that we do not have.
export const responses = ({ model }) =>
  failure(() => generateText({ model: provider({ name: "openai" })(model), prompt, maxRetries: 0 }), told);

// Which answers the client had until all of its calls at once had what they wanted.
export async function retried({ model, times }) {
  const statuses = [];
  const counting = async (url, init) => {
    const response = await fetch(url, init);
    statuses.push(response.status);
    return response;
  };
  const patient = chatModel({ model, fetch: counting });
  await Promise.all(Array.from({ length: times }, () => generateText({ model: patient, prompt })));
  return statuses;
}

export async function brokenOff({ model, provider: name }) {
  const deltas = [];
  const errors = [];
  const result = streamText({ model: chatModel({ model, provider: name }), prompt, onError: () => {} });
  for await (const part of result.stream) {
    if (part.type === "text-delta") deltas.push(part.text);
    if (part.type === "error") errors.push(told(part.error));
  }
  return { deltas, errors, finishReason: await result.finishReason };
}

// Reads so many pieces of an answer, and no more.
export async function left({ model, provider: name, pieces }) {
  const aborting = new AbortController();
  const result = streamText({
    model: chatModel({ model, provider: name }),
    prompt,
    abortSignal: aborting.signal,
    onError: () => {},
  });
  const deltas = [];
  for await (const part of result.stream) {
    if (part.type === "abort") return { deltas, aborted: true };
    if (part.type !== "text-delta") continue;
    deltas.push(part.text);
    if (deltas.length === pieces) aborting.abort();
  }
  return { deltas, aborted: false };
}
