export default {
  async event() {
    await new Promise((resolve) => setTimeout(resolve, 800_000));
  },
};
