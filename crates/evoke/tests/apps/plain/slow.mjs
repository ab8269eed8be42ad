// Says that it has begun, and answers when a file of that name is beside this one.
import { existsSync } from "node:fs";

async function wait(file) {
  console.log("begun");
  while (!existsSync(new URL(file, import.meta.url))) await new Promise((next) => setTimeout(next, 20));
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
