// Version 2, as somebody hoped it would work: a third of the answers are none.
export default {
  async fetch(_request, env) {
    const tax = await (await env.FUNCTIONS.tax.fetch('http://tax/')).json();
    if (Math.random() < 1 / 3) {
      throw new TypeError("cannot read properties of undefined (reading 'discount')");
    }
    return Response.json({ release: 'bad', tax: tax.release, price: 90 + tax.percent });
  },
};
