export default {
  async event(event: CloudEvent<{ name: string }>, env: Env): Promise<void> {
    if (!event.data) throw new Error(`event ${event.id} has no data`);

    // Counted exactly once: the write is committed together with the end of this delivery.
    const key = `greeted/${event.data.name}`;
    const count = ((await env.KV.get<number>(key)) ?? 0) + 1;
    await env.KV.put(key, count);
    console.log(`${event.data.name} was greeted, ${count} in all`);
  },
};
