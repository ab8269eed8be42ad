// Another greeting, without a word to the service that greets.
export default {
  async fetch(request, env, ctx) {
    const response = await ctx.next(request);
    if (response.status !== 200) return response;
    const { greeting } = await response.json();
    return Response.json({ greeting: greeting.replace("Hello", env.GREETING) }, { headers: { "x-greeted-by": "greet" } });
  },
};
