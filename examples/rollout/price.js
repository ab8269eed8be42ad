// Version 1: the price of everything, with the tax that another function of the same version knows.
const RELEASE = 'one';

export default {
  async fetch(_request, env) {
    const tax = await (await env.FUNCTIONS.tax.fetch('http://tax/')).json();
    return Response.json({ release: RELEASE, tax: tax.release, price: 100 + tax.percent });
  },
};
