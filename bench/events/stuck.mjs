export default {
  async event() {
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
  },
};
