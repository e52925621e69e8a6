// OpenAI's own client against /openai/v1.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { ask, collected, failure, weather } from "./asking.mjs";

function client(options = {}) {
  const { BASE_URL, API_KEY } = process.env;
  return new OpenAI({ baseURL: `${BASE_URL}/openai/v1`, apiKey: API_KEY, maxRetries: 0, ...options });
}

// What a program can tell from an error.
function told(error) {
  const { status, code, type, param, message, requestID } = error;
  const retryAfter = error.headers?.get("retry-after");
  return { class: error.constructor.name, status, code, type, param, message, requestID, retryAfter };
}

export async function whole({ model, messages = ask, ...fields }) {
  return client().chat.completions.create({ model, messages, ...fields });
}

export async function streamed({ model, messages = ask, ...fields }) {
  return collected(await client().chat.completions.create({ model, messages, stream: true, ...fields }));
}

// The helper that puts a stream together again.
export async function assembled({ model }) {
  const deltas = [];
  const stream = client().chat.completions.stream({ model, messages: ask, stream_options: { include_usage: true } });
  stream.on("content.delta", ({ delta }) => deltas.push(delta));
  const completion = await stream.finalChatCompletion();
  return { deltas, completion };
}

export async function tools({ model, tool_choice = "auto" }) {
  return client().chat.completions.create({ model, messages: ask, tools: [weather], tool_choice });
}

export async function streamedTools({ model }) {
  return collected(
    await client().chat.completions.create({ model, messages: ask, tools: [weather], stream: true }),
  );
}

// Lets the client call the function itself, as often as the model wants it.
export async function runTools({ model, stream }) {
  const asked = [];
  const report = ({ city }) => {
    asked.push(city);
    return `sunny in ${city}`;
  };
  const parsing = { ...weather, function: { ...weather.function, parse: JSON.parse, function: report } };
  const runner = client().chat.completions.runTools({ model, messages: ask, tools: [parsing], stream });
  return { asked, answer: await runner.finalContent(), roles: runner.messages.map(({ role }) => role) };
}

export async function parsed({ model }) {
  const City = z.object({ name: z.string(), inhabitants: z.number() });
  const completion = await client().chat.completions.parse({
    model,
    messages: ask,
    response_format: zodResponseFormat(City, "city"),
  });
  return completion.choices[0].message.parsed;
}

export async function completion({ model, ...fields }) {
  return client().completions.create({ model, prompt: "canary: once", ...fields });
}

export async function streamedCompletion({ model, ...fields }) {
  return collected(await client().completions.create({ model, prompt: "canary: once", stream: true, ...fields }));
}

// By default the client asks for base64, and decodes it.
export async function embeddings({ model, input, ...fields }) {
  return client().embeddings.create({ model, input, ...fields });
}

export async function models() {
  return collected(client().models.list());
}

export async function oneModel({ model }) {
  return client().models.retrieve(model);
}

export const noSuchModel = () => failure(() => oneModel({ model: "nobody/has-it:1b" }), told);

export const refusedChat = (given) => failure(() => whole(given), told);

export const refusedStream = (given) => failure(() => streamed(given), told);

export const responses = ({ model }) =>
  failure(() => client().responses.create({ model, input: "canary" }), told);

// What was refused of so many calls at once.
export async function refusals({ model, times }) {
  const errors = await Promise.all(Array.from({ length: times }, () => refusedChat({ model })));
  return errors.filter(Boolean);
}

// Which answers the client had until all of its calls at once had what they wanted.
export async function retried({ model, times }) {
  const statuses = [];
  const counting = async (url, init) => {
    const response = await fetch(url, init);
    statuses.push(response.status);
    return response;
  };
  const patient = client({ maxRetries: 2, fetch: counting });
  const calls = Array.from({ length: times }, () => patient.chat.completions.create({ model, messages: ask }));
  await Promise.all(calls);
  return statuses;
}

export async function brokenOff({ model }) {
  const deltas = [];
  const error = await failure(async () => {
    const stream = await client().chat.completions.create({ model, messages: ask, stream: true });
    for await (const { choices } of stream) deltas.push(choices[0].delta.content);
  }, told);
  return { deltas: deltas.filter(Boolean), error };
}

// Reads so many pieces of an answer, and no more.
export async function left({ model, pieces, by }) {
  const deltas = [];
  const stream = await client().chat.completions.create({ model, messages: ask, stream: true });
  for await (const { choices } of stream) {
    if (choices[0].delta.content) deltas.push(choices[0].delta.content);
    if (deltas.length < pieces) continue;
    if (by === "break") break;
    stream.controller.abort();
  }
  return deltas;
}

export async function abortedBeforeTheFirstPiece({ model, waitFor }) {
  const aborting = new AbortController();
  const call = client().chat.completions.create({ model, messages: ask }, { signal: aborting.signal });
  const refused = failure(() => call, told);
  await fetch(waitFor);
  aborting.abort();
  return refused;
}

// The same request twice, as a client sends it that has not had the answer.
export async function again({ model, stream }) {
  const options = { headers: { "Idempotency-Key": crypto.randomUUID() } };
  const request = { model, messages: ask, stream };
  const answers = [];
  for (let time = 0; time < 2; time += 1) {
    const answer = await client().chat.completions.create(request, options);
    answers.push(stream ? await collected(answer) : answer);
  }
  return answers;
}

export async function headers({ model }) {
  const { data, response, request_id } = await client()
    .chat.completions.create({ model, messages: ask })
    .withResponse();
  const limits = [...response.headers].filter(([name]) => name.startsWith("x-ratelimit-"));
  return { id: data._request_id, request_id, limits: Object.fromEntries(limits) };
}
