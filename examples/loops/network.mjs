// Asks the next one over the network, as if it were any other service.
export default {
  async fetch(request, env) {
    const answer = await fetch(env.NEXT, { method: "POST" });
    return new Response(answer.body, { status: answer.status, headers: { "content-type": answer.headers.get("content-type") ?? "text/plain" } });
  },
};
