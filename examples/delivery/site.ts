// GET /<repository>/<path>: the files of the release that is deployed.

import type { Env, Context } from "../../sdk/node/evoke.d.ts";

const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  css: "text/css",
  js: "text/javascript",
  txt: "text/plain; charset=utf-8",
};

export default {
  async fetch(request: Request, env: Env, ctx: Context): Promise<Response> {
    const { repository, path } = ctx.params;
    const site = env.KV.namespace(`site-${repository}`);
    if (path === "release") {
      const release = await site.get("release");
      return release === null ? absent("nothing is released yet") : Response.json(release);
    }
    const file = await site.getBytes(path);
    if (file === null) return absent(`the release has no ${path}`);
    const type = TYPES[path.split(".").at(-1) ?? ""] ?? "application/octet-stream";
    return new Response(file, { headers: { "content-type": type } });
  },
};

const absent = (detail: string) => Response.json({ title: "not found", status: 404, detail }, { status: 404 });
