// What all checks ask, and how they tell what came of it.

export const question = "canary: what is the weather?";

export const ask = [{ role: "user", content: question }];

export const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "Tells the weather.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

export async function collected(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

// What `tell` finds in the error of a call; null where there was none.
export async function failure(call, tell) {
  try {
    await call();
  } catch (error) {
    return tell(error);
  }
  return null;
}
