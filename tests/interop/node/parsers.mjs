// Two Node servers that guard nothing: whoever reaches /admin/secret reads it. Prints their ports as one line of JSON.
import { createServer } from "node:http";
import express from "express";

const listen = (handler) =>
  new Promise((resolve) => {
    const server = createServer(handler).listen(0, "127.0.0.1", () => resolve(server.address().port));
  });

// What the WHATWG URL parser makes of a target.
const url = await listen((request, response) => {
  response.setHeader("X-Target", request.url);
  let path;
  try {
    path = decodeURIComponent(new URL(request.url, "http://server.test").pathname);
  } catch {
    response.writeHead(400).end("unreadable");
    return;
  }
  response.end((path + "/").startsWith("/admin/") ? "PROTECTED" : "open");
});

const app = express();
app.use((request, response, next) => {
  response.setHeader("X-Target", request.originalUrl);
  next();
});
app.get("/admin/secret", (_, response) => response.send("PROTECTED"));
app.use("/admin", (_, response) => response.send("PROTECTED"));
app.use((_, response) => response.send("open"));
const express_ = await listen(app);

console.log(JSON.stringify({ url, express: express_ }));
process.stdin.resume().on("end", () => process.exit(0));
