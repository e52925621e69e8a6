// The `EventSource` for programs against the `stream_url` of a job.

import { EventSource } from "eventsource";

const TYPES = ["queued", "started", "chunk", "resumed", "error"];

// Reads a stream to where the server says that there is no more, whatever happens to the connection. BEFORE says after
// how many pieces the test is told, by a GET of `halfway`.
export async function read({ url, pieces, halfway }) {
  const events = [];
  let opened = 0;
  let chunks = 0;
  const source = new EventSource(url);
  source.onopen = () => {
    opened += 1;
  };
  await new Promise((resolve) => {
    for (const type of TYPES) {
      source.addEventListener(type, ({ data, lastEventId }) => {
        if (data === undefined) return;
        events.push({ type, id: lastEventId, data: JSON.parse(data) });
        if (type === "chunk") chunks += 1;
        if (type === "chunk" && chunks === pieces) fetch(halfway);
      });
    }
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) resolve();
    };
  });
  return { events, opened };
}

// What a program sees that comes by a link which is not good.
export async function refused({ url }) {
  const source = new EventSource(url);
  return new Promise((resolve) => {
    source.onerror = ({ code }) => resolve({ code, closed: source.readyState === EventSource.CLOSED });
  });
}
