if (process.env.BROKEN) throw new Error("the table of prices cannot be read");

const plain = (event, context) => {
  if (event.specversion !== undefined) return { type: "seen", data: event.data };
  if (event.rawPath === "/fail") throw new RangeError("no such order");
  console.log("at", event.rawPath);
  return {
    path: event.rawPath,
    run: context.awsRequestId,
    function: context.functionName,
    memory: Number(context.memoryLimitInMB),
  };
};

export const handler = async (event, context) => plain(event, context);

export const stream = awslambda.streamifyResponse(async (event, answer) => {
  const head = { statusCode: 200, headers: { "content-type": "text/plain" }, cookies: ["a=1"] };
  const to = awslambda.HttpResponseStream.from(answer, head);
  for (let at = 0; at < 100; at++) to.write(String(at).padStart(4, "0"));
  if (event.rawPath === "/fail") {
    await new Promise((next) => setTimeout(next, 10));
    throw new RangeError("no such order");
  }
  to.end();
});
