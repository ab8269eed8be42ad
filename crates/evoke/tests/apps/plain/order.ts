interface Env {
  EVENTS: { publish(event: object): Promise<unknown> };
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const id = new URL(request.url).pathname.split("/").pop()!;
    await env.EVENTS.publish({ type: "ordered", subject: id, data: { id } });
    console.log(`order ${id}`);
    return Response.json({ ordered: id }, { status: 201 });
  },
};
