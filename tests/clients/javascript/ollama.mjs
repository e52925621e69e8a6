// Ollama's own client against /ollama.

import { Ollama } from "ollama";

import { ask, collected, failure, weather } from "./asking.mjs";

function client() {
  const { BASE_URL, API_KEY } = process.env;
  return new Ollama({ host: `${BASE_URL}/ollama`, headers: { Authorization: `Bearer ${API_KEY}` } });
}

const told = ({ name, status_code, message }) => ({ name, status: status_code, message });

export const chat = ({ model, messages = ask, ...fields }) => client().chat({ model, messages, ...fields });

export async function streamedChat({ model, messages = ask, ...fields }) {
  return collected(await client().chat({ model, messages, stream: true, ...fields }));
}

export const chatWithTools = ({ model }) => chat({ model, tools: [weather] });

export const generate = ({ model, prompt = "canary: once", ...fields }) =>
  client().generate({ model, prompt, ...fields });

export async function streamedGenerate({ model, prompt = "canary: once", ...fields }) {
  return collected(await client().generate({ model, prompt, stream: true, ...fields }));
}

export const embed = (request) => client().embed(request);

export const embeddings = (request) => client().embeddings(request);

export const list = () => client().list();

export const ps = () => client().ps();

export const show = ({ model }) => client().show({ model });

export const version = () => client().version();

export const refusedChat = (given) => failure(() => chat(given), told);

export const refusedStream = (given) => failure(() => streamedChat(given), told);

export const refusedShow = (given) => failure(() => show(given), told);

// What only operators do.
export async function refusedManagement({ model }) {
  const ollama = client();
  const calls = {
    pull: () => ollama.pull({ model }),
    streamedPull: () => ollama.pull({ model, stream: true }),
    push: () => ollama.push({ model }),
    create: () => ollama.create({ model, from: model }),
    copy: () => ollama.copy({ source: model, destination: "mine" }),
    delete: () => ollama.delete({ model }),
  };
  const refusals = {};
  for (const [name, call] of Object.entries(calls)) refusals[name] = await failure(call, told);
  return refusals;
}

export async function brokenOff({ model }) {
  const words = [];
  const error = await failure(async () => {
    for await (const part of await client().chat({ model, messages: ask, stream: true })) {
      words.push(part.message.content);
    }
  }, told);
  return { words, error };
}

// Reads so many pieces of an answer, and no more.
export async function left({ model, pieces, by }) {
  const ollama = client();
  const stream = await ollama.chat({ model, messages: ask, stream: true });
  const words = [];
  const error = await failure(async () => {
    for await (const part of stream) {
      words.push(part.message.content);
      if (words.length === pieces) (by === "client" ? ollama : stream).abort();
    }
  }, told);
  return { words, error: error.name };
}
