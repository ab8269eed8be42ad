// What `first` and `take` lead to.
import { fateOf, meet, note } from "./ledger.mjs";

export default {
  async event(event, env, ctx) {
    await note(env, "second", event.id);
    return await meet(fateOf(event.data.fates, ctx.attempt));
  },
};
