// gRPC as its Node library speaks it, on both sides of the gateway. Messages are plain bytes: no protocol buffers.
//
//   node grpc.mjs server              prints its port as one line of JSON, and serves until its input ends
//   node grpc.mjs client '{...}'      makes every kind of call, and prints what came of each as one line of JSON
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import grpc from "@grpc/grpc-js";

const bytes = (value) => value;
const method = (name, requestStream, responseStream) => ({
  path: `/echo.Echo/${name}`, requestStream, responseStream,
  requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes,
});
const service = {
  Unary: method("Unary", false, false),
  Collect: method("Collect", true, false),
  Count: method("Count", false, true),
  Chat: method("Chat", true, true),
  // Answered by nobody, or only if the gateway lets it.
  Guarded: { ...method("Unary", false, false), path: "/guarded.Echo/Unary" },
  Watch: { ...method("Count", false, true), path: "/guarded.Echo/Count" },
  Down: { ...method("Unary", false, false), path: "/down.Echo/Unary" },
  Silent: { ...method("Unary", false, false), path: "/silent.Echo/Unary" },
  Nowhere: { ...method("Unary", false, false), path: "/elsewhere.Echo/Unary" },
};

async function serve() {
  let cancelled = 0;
  const unary = (call, done) => {
    const text = call.request.toString();
    const trailers = new grpc.Metadata();
    trailers.set("told-bin", Buffer.from([0, 255, 10, 13]));
    if (text === "fail") {
      return done({ code: grpc.status.FAILED_PRECONDITION, details: "not now: ünsure", metadata: trailers });
    }
    if (text === "cancelled") return done(null, Buffer.from(String(cancelled)));
    if (text === "never") return call.on("cancelled", () => cancelled++);
    const initial = new grpc.Metadata();
    const seen = call.metadata.get("authorization")[0] ?? "none";
    initial.set("saw-authorization", seen.split(" ")[0]);
    initial.set("saw-deadline", String(Number.isFinite(call.getDeadline()) || call.getDeadline() instanceof Date));
    initial.set("saw-bytes", (call.metadata.get("ask-bin")[0] ?? Buffer.alloc(0)).toString("hex"));
    call.sendMetadata(initial);
    done(null, call.request, trailers);
  };
  const collect = (call, done) => {
    let length = 0;
    call.on("data", (piece) => (length += piece.length));
    call.on("end", () => done(null, Buffer.from(String(length))));
  };
  const count = async (call) => {
    let open = true;
    call.on("cancelled", () => {
      open = false;
      cancelled++;
    });
    const text = call.request.toString();
    if (text === "break") {
      call.write(Buffer.from("0"));
      await pause(50);
      // What a server does whose process is in trouble: the stream is reset.
      return call.call.stream?.close?.(2) ?? call.call.stream.destroy();
    }
    if (text === "for ever") {
      for (let number = 0; open; number++) {
        call.write(Buffer.from(String(number)));
        await pause(20);
      }
      return;
    }
    for (let number = 0; number < Number(text); number++) call.write(Buffer.from(String(number)));
    call.end();
  };
  const chat = (call) => {
    call.on("data", (piece) => call.write(piece));
    call.on("end", () => call.end());
  };
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
  const { Unary, Collect, Count, Chat } = service;
  server.addService({ Unary, Collect, Count, Chat }, { Unary: unary, Collect: collect, Count: count, Chat: chat });
  const { Guarded, Watch, Silent } = service;
  server.addService({ Guarded, Watch }, { Guarded: unary, Watch: count });
  server.addService({ Silent }, { Silent: () => {} });
  const bind = (done) => server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), done);
  const port = await new Promise((resolve, reject) =>
    bind((error, port) => (error ? reject(error) : resolve(port))),
  );
  console.log(JSON.stringify({ port }));
  process.stdin.resume().on("end", () => process.exit(0));
}

async function call({ address, ca, cookie, origin }) {
  const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
  const Client = grpc.makeGenericClientConstructor(service, "echo.Echo");
  const client = new Client(address, credentials, { "grpc.max_receive_message_length": -1 });
  const metadata = (fields) => {
    const all = new grpc.Metadata();
    for (const [name, value] of Object.entries(fields)) all.set(name, value);
    return all;
  };
  const soon = () => ({ deadline: Date.now() + 20_000 });
  const failed = (error) => ({ code: error.code, details: error.details });
  const unary = (name, request, fields = {}, options = soon()) =>
    new Promise((resolve) => {
      const result = {};
      const call = client[name](Buffer.from(request), metadata(fields), options, (error, response) => {
        if (error) Object.assign(result, failed(error));
        else Object.assign(result, { code: 0, length: response.length, text: response.toString().slice(0, 20) });
      });
      call.on("metadata", (head) => (result.initial = head.getMap()));
      call.on("status", (status) => {
        const told = status.metadata.get("told-bin")[0];
        result.trailer = told && told.toString("hex");
        resolve(result);
      });
    });
  const ended = (stream, result) =>
    new Promise((resolve) => {
      stream.on("error", () => {});
      stream.on("status", ({ code, details }) => resolve({ ...result, code, details }));
    });
  const session = { cookie, origin };
  const results = {};

  results.unary = await unary("Unary", "hello", { "ask-bin": Buffer.from([1, 0, 254]) });
  results.large = await unary("Unary", Buffer.alloc(5_000_000, 7));
  results.fail = await unary("Unary", "fail");
  results.many = await Promise.all(Array.from({ length: 200 }, () => unary("Unary", "x"))).then((all) => ({
    good: all.filter(({ code }) => code === 0).length,
  }));

  const collect = await new Promise((resolve) => {
    const stream = client.Collect(metadata({}), soon(), (error, response) =>
      resolve(error ? failed(error) : { code: 0, text: response.toString() }),
    );
    for (let number = 0; number < 100; number++) stream.write(Buffer.alloc(20_000));
    stream.end();
  });
  results.collect = collect;

  const counted = client.Count(Buffer.from("1000"), metadata({}), soon());
  const numbers = { received: 0 };
  counted.on("data", () => numbers.received++);
  const { code } = await ended(counted, {});
  results.count = { code, ...numbers };

  const chat = client.Chat(metadata({}), soon());
  const chatted = { received: [] };
  chat.on("data", (piece) => {
    chatted.received.push(piece.toString());
    // Each word is only said when the one before has come back: nothing may be held on the way.
    if (chatted.received.length < 20) chat.write(Buffer.from(`word ${chatted.received.length}`));
    else chat.end();
  });
  chat.write(Buffer.from("word 0"));
  results.chat = { ...(await ended(chat, {})), received: chatted.received.length, last: chatted.received.at(-1) };

  results.deadline = await unary("Unary", "never", {}, { deadline: Date.now() + 700 });
  const forever = client.Count(Buffer.from("for ever"), metadata({}), soon());
  forever.on("data", () => forever.cancel());
  results.cancel = await ended(forever, {});
  for (let round = 0; round < 200; round++) {
    results.cancelled = (await unary("Unary", "cancelled")).text;
    if (results.cancelled === "2") break;
    await pause(20);
  }

  const broken = client.Count(Buffer.from("break"), metadata({}), soon());
  broken.on("data", () => {});
  results.broken = await ended(broken, {});

  results.nobody = await unary("Guarded", "hello", { origin });
  results.crossSite = await unary("Guarded", "hello", { cookie, origin: "https://evil.example" });
  results.guarded = await unary("Guarded", "hello", session);
  results.down = await unary("Down", "hello");
  results.silent = await unary("Silent", "hello");
  results.nowhere = await unary("Nowhere", "hello");

  // Goes on until its session is ended from outside.
  const watch = client.Watch(Buffer.from("for ever"), metadata(session), { deadline: Date.now() + 60_000 });
  watch.once("data", () => console.log(JSON.stringify(results)));
  watch.on("data", () => {});
  const watched = await ended(watch, {});
  console.log(JSON.stringify({ ...watched, after: await unary("Unary", "hello") }));
  client.close();
}

const [role, options] = process.argv.slice(2);
if (role === "server") await serve();
else await call(JSON.parse(options));
