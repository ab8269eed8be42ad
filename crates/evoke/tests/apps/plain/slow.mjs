// Says that it has begun, and answers when the file that `WAIT_FOR` or the request names is there.
import { existsSync } from "node:fs";

async function wait(file) {
  console.log("begun");
  while (!existsSync(file)) await new Promise((next) => setTimeout(next, 20));
}

export default {
  async fetch(request) {
    await wait(new URL(request.url).searchParams.get("file"));
    return new Response("done\n");
  },
  async event(event) {
    await wait(event.data.file);
  },
};
