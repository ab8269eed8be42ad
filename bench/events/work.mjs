export default {
  async event(event, env) {
    const waited_us = Date.now() * 1000 - Number(event.sent);
    await env.KV.put(`waited/${event.id}`, waited_us);
    return { type: "bench.done", data: { id: event.id } };
  },
};
