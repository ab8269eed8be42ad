export default {
  event() {},
};
