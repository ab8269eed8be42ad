const WAIT_MS = 100;

export default {
  async fetch() {
    await new Promise((done) => setTimeout(done, WAIT_MS));
    return new Response("done\n");
  },
};
