export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const name = new URL(request.url).searchParams.get("name") ?? "world";

    // Leaves together with the answer, or not at all.
    await env.EVENTS.publish({ type: "greeted", subject: name, data: { name } });

    const count = (await env.KV.get<number>(`greeted/${name}`)) ?? 0;
    return Response.json({ message: `Hello, ${name}!`, greetedBefore: count });
  },
};
