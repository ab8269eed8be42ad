// Each asks the next one. What that answers is the answer.
const asks = (name) => ({ fetch: (request, env) => env.FUNCTIONS[name].fetch(request) });

export const a = asks("call-b");
export const b = asks("call-c");
export const c = asks("call-a");
