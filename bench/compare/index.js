const functions = require("@google-cloud/functions-framework");

functions.http("hello", (request, response) => response.send("hello\n"));
