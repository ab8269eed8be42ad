// The same ledger as ledger.py.

export async function note(env, who, event) {
  const key = `effect/${who}/${event}`;
  const entry = await env.KV.getEntry(key);
  await env.KV.put(key, (entry?.value ?? 0) + 1, { ifRevision: entry?.revision ?? 0 });
}

export async function meet(fate) {
  if (fate === "raise") throw new Error("as the event said");
  if (fate === "hang") await new Promise((resolve) => setTimeout(resolve, 60_000));
  if (fate === "crash") process.kill(process.pid, "SIGKILL");
  if (fate === "garbage") return { neither: "an event", nor: [1, null] };
}

export function fateOf(fates, attempt) {
  return fates[Math.min(attempt, fates.length) - 1];
}
