// What every probe for Node.js begins with. `attack` yields what stood against it, and throws Harm when nothing did.
class Harm extends Error {}

function refused(act) {
  let result;
  try {
    result = act();
  } catch (error) {
    return error.code ?? error.message;
  }
  throw new Harm(`it succeeded with ${result}`);
}

export const handler = async (event) => {
  const told = [];
  try {
    for await (const line of attack(JSON.parse(event.body))) told.push(line);
    return { harm: null, told };
  } catch (error) {
    if (!(error instanceof Harm)) throw error;
    return { harm: error.message, told };
  }
};
