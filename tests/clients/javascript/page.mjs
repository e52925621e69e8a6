// A page of another origin that uses the official clients in a browser, and posts what came of it to its own server.

import OpenAI from "openai";
import { Ollama } from "ollama/browser";

import { ask, failure } from "./asking.mjs";

const given = JSON.parse(document.getElementById("given").textContent);

// With everything that makes the client send one more header.
function openai(url, key) {
  return new OpenAI({
    baseURL: `${url}/openai/v1`,
    apiKey: key,
    organization: "ours",
    project: "one",
    maxRetries: 0,
    dangerouslyAllowBrowser: true,
  });
}

function ollama(key) {
  return new Ollama({ host: `${given.url}/ollama`, headers: { Authorization: `Bearer ${key}` } });
}

function told(error) {
  const { status = error.status_code, code, message, requestID } = error;
  const retryAfter = error.headers?.get("retry-after");
  return { class: error.constructor.name, status, code, message, requestID, retryAfter };
}

const complete = (url, key) =>
  openai(url, key).chat.completions.create({ model: given.model, messages: ask }, { timeout: 60_000 });

async function openaiStreamed() {
  const stream = openai(given.url, given.key).chat.completions.stream({ model: given.model, messages: ask });
  return (await stream.finalChatCompletion()).choices[0].message.content;
}

async function openaiHeaders() {
  const { response, request_id } = await complete(given.strictUrl, given.strictKey).withResponse();
  return { request_id, limits: [...response.headers.keys()].filter((name) => name.startsWith("x-ratelimit-")) };
}

async function openaiLeft() {
  const stream = await openai(given.url, given.key).chat.completions.create({
    model: given.endless,
    messages: ask,
    stream: true,
  });
  for await (const { choices } of stream) if (choices[0].delta.content) break;
  return "left";
}

async function ollamaStreamed() {
  let text = "";
  const stream = await ollama(given.key).chat({ model: given.model, messages: ask, stream: true });
  for await (const part of stream) text += part.message.content;
  return text;
}

const checks = {
  openaiStreamed,
  openaiModels: async () => (await openai(given.url, given.key).models.list()).data.length,
  openaiHeaders,
  openaiTooOften: () => failure(() => complete(given.strictUrl, given.strictKey), told),
  openaiStranger: () => failure(() => complete(given.url, "sk-ds-nobody"), told),
  openaiLeft,
  ollamaStreamed,
  ollamaModels: async () => (await ollama(given.key).list()).models.length,
  ollamaStranger: () => failure(() => ollama("sk-ds-nobody").chat({ model: given.model, messages: ask }), told),
};

const report = {};
for (const [name, check] of Object.entries(checks)) {
  report[name] = await check().catch((error) => `${error.constructor.name}: ${error.message}`);
}
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
