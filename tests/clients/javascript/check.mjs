// Runs one check of one client: `node check.mjs openai whole '{"model": "ada"}'`, with BASE_URL and API_KEY set.
// Prints what came of it as one line of JSON, and stays with its connections as they are until its input is closed:
// what it has let go is then seen to be let go because the client did so, not because the process ended.

import { once } from "node:events";

const [client, name, given = "{}"] = process.argv.slice(2);
const told = once(process.stdin.resume(), "end"); // waiting for it keeps the process alive, as a server would be
const checks = await import(`./${client}.mjs`);
const outcome = await checks[name](JSON.parse(given));
process.stdout.write(`${JSON.stringify(outcome)}\n`);
await told;
process.exit(0);
