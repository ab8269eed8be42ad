// Says what it was asked; `?status=` chooses the status, `?throw` fails.
export default {
  async fetch(request) {
    const url = new URL(request.url);
    if (url.searchParams.has("throw")) throw new TypeError("thrown as asked");
    const answer = {
      method: request.method,
      path: url.pathname + url.search,
      type: request.headers.get("content-type"),
      extra: request.headers.get("x-extra"),
      body: await request.text(),
    };
    return Response.json(answer, { status: Number(url.searchParams.get("status") ?? 200) });
  },
};
