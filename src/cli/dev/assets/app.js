// The demo page: calls an API every second and draws what becomes of it.
// It knows no token. The API tells it a short hash of the one that it received.
"use strict";

const $ = (id) => document.getElementById(id);

/** What browser tests read. */
const demo = { calls: 0, failures: 0, rotations: 0, unauthorized: 0, tokenIds: [] };
window.bearwardDemo = demo;

const POLL_MS = 1000;
const SESSION_POLL_MS = 5000;
const BURST = 50;
/** How much of the past the line shows: it zooms out from the first figure to the second. */
const SPAN_S = [16, 60];
const TOKEN_COLOURS = 5;

/** Seconds of this page's own clock, which never jumps. */
const clock = () => performance.now() / 1000;

/** Finished calls {at, took, ok, place}, oldest first. */
const calls = [];
/** Tokens {id, colour, from, issuedAt, expiresAt, life} in the order in which they were first seen; times by `clock`. */
const tokens = [];
const user = { name: "", email: "", groups: [] };
let session = null;
let sessionAsked = null;
let startedAt = 0;
let running = false;
let timers = [];

// ---------------------------------------------------------------------------------------------- calling

/** `place` is a call's {burst, index}, where it is part of a burst. */
async function callApi(place) {
  const at = clock();
  let answer = null;
  try {
    answer = await fetch("/api/whoami", {
      headers: { accept: "application/json" },
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(20000),
    });
    if (answer.status === 401) {
      demo.unauthorized += 1;
      if (!(await loadSession())) return "signed-out";
    }
    if (!answer.ok) throw new Error(String(answer.status));
    learn(await answer.json());
    return finished(at, true, place);
  } catch {
    return finished(at, false, place);
  }
}

function finished(at, ok, place) {
  // A page that is being left aborts its calls; that is nobody's failure.
  if (!running) return "stopped";
  demo.calls += 1;
  if (!ok) demo.failures += 1;
  const call = { at, took: clock() - at, ok, place };
  calls.push(call);
  if (place) {
    // The middle of the burst, as far as it has come.
    const { burst } = place;
    burst.done += 1;
    burst.took += (call.took - burst.took) / burst.done;
  }
  while (calls.length > 2000) calls.shift();
  showCounters();
  return ok ? "ok" : "failed";
}

/** Takes note of the token that an answer tells of. */
function learn({ name, email, groups, token }) {
  const { id, expires_at, issued_at, seconds_left } = token;
  if (demo.tokenIds.includes(id)) return;
  // An answer that was overtaken may name an older token.
  if (tokens.length > 0 && issued_at !== null && issued_at < tokens.at(-1).issuedAt) return;
  if (tokens.length === 0 && name) showUser({ name, email, groups });
  const known = expires_at !== null && seconds_left !== null;
  const expiresAt = known ? clock() + seconds_left : null;
  const life = known && issued_at !== null ? expires_at - issued_at : null;
  tokens.push({ id, colour: tokens.length % TOKEN_COLOURS, from: clock(), issuedAt: issued_at, expiresAt, life });
  demo.tokenIds.push(id);
  demo.rotations = tokens.length - 1;
  if (tokens.length > 1) loadSession();
}

/** Asks the gateway for the session's times. Says whether there is a session; a fault does not mean that none is. */
function loadSession() {
  sessionAsked ??= askSession().finally(() => (sessionAsked = null));
  return sessionAsked;
}

async function askSession() {
  try {
    const answer = await fetch("/oauth2/session", { headers: { accept: "application/json" }, cache: "no-store" });
    if (answer.status === 401) {
      signedOut();
      return false;
    }
    if (answer.ok) {
      session = await answer.json();
      session.readAt = clock();
      showSession();
    }
  } catch {
    // The next one may get through.
  }
  return true;
}

// ---------------------------------------------------------------------------------------------- coming and going

async function begin() {
  if (!(await loadSession())) return;
  running = true;
  startedAt = clock();
  $("signed-out").hidden = true;
  $("signed-in").hidden = false;
  loadUser();
  callApi();
  timers = [setInterval(() => callApi(), POLL_MS), setInterval(loadSession, SESSION_POLL_MS)];
  announce();
  requestAnimationFrame(frame);
}

function signedOut() {
  const wasRunning = running;
  stop();
  $("signed-in").hidden = true;
  $("account").hidden = true;
  $("signed-out").hidden = false;
  if (wasRunning) {
    $("door-title").textContent = "You are signed out.";
    $("door-text").textContent =
      `The session has ended. This tab made ${count(demo.calls, "call")} with ` +
      `${count(tokens.length, "token")}; ${demo.failures === 0 ? "none" : demo.failures} failed.`;
    document.title = "Signed out · Bearward demo";
  }
}

function stop() {
  running = false;
  timers.forEach(clearInterval);
  timers = [];
  leaveTabs();
}

async function loadUser() {
  try {
    const answer = await fetch("/oauth2/userinfo", { headers: { accept: "application/json" }, cache: "no-store" });
    if (!answer.ok) return;
    const { user: subject, email, groups, preferredUsername } = await answer.json();
    showUser({ name: user.name || preferredUsername || subject, email, groups });
  } catch {
    // What the API tells must do.
  }
}

/** Shows who is signed in; the gateway and the API each tell a part. */
function showUser(known) {
  for (const [key, value] of Object.entries(known)) if (value) user[key] = value;
  $("name").textContent = user.name;
  $("email").textContent = user.email;
  $("initials").textContent = initials(user.name || user.email);
  const chips = user.groups.slice(0, 3).map((group) => Object.assign(document.createElement("span"), { textContent: group }));
  $("groups").replaceChildren(...chips);
  $("account").hidden = false;
}

function initials(name) {
  const words = name.split(/[\s._@-]+/).filter(Boolean);
  return words.slice(0, 2).map((word) => word[0]).join("").toUpperCase() || "?";
}

// A form and not a fetch: the answer sends the browser on to the provider.
$("logout-form").addEventListener("submit", stop);
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => event.persisted && location.reload());

// ---------------------------------------------------------------------------------------------- numbers and words

const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

function showCounters() {
  $("calls").textContent = demo.calls;
  $("failures").textContent = demo.failures;
  $("failures").className = demo.failures ? "bad" : "";
  $("rotations").textContent = demo.rotations;
  const failed = demo.failures === 0 ? "no failed call" : count(demo.failures, "failed call");
  $("headline").textContent =
    tokens.length < 2 ? "One login, one token so far." : `One login, ${tokens.length} tokens, ${failed}.`;
}

function showSession() {
  const { session: s, tokens: t } = session;
  const elapsed = clock() - session.readAt;
  $("logged-in").textContent = new Date(instant(s.created_at)).toLocaleTimeString([], { timeStyle: "short" });
  $("ends-in").textContent = duration(s.ends_in_seconds - elapsed);
  $("generation").textContent = s.generation;
  const next = t.next_auto_refresh_in_seconds;
  $("next-refresh").textContent = typeof next === "number" ? duration(next - elapsed) : "–";
  $("cookie").textContent = JSON.stringify(document.cookie);
}

/** Unix seconds or an ISO text. */
const instant = (value) => (typeof value === "number" ? value * 1000 : value);

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** When the present token runs out, by `clock`; the gateway tells it for tokens that nobody else can read. */
function expiry(token) {
  if (token.expiresAt !== null) return token.expiresAt;
  return session ? session.readAt + session.tokens.expire_in_seconds : null;
}

function showToken() {
  const token = tokens.at(-1);
  if (!token) return;
  const end = expiry(token);
  $("token-id").textContent = token.id;
  $("ring").style.stroke = `var(--token-${token.colour + 1})`;
  if (end === null) return;
  const left = Math.max(0, end - clock());
  const life = token.life || end - token.from;
  $("seconds-left").textContent = Math.ceil(left);
  $("ring").setAttribute("stroke-dasharray", `${Math.min(100, (100 * left) / life).toFixed(2)} 100`);
  $("token-note").textContent = "replaced before it expires";
}

// ---------------------------------------------------------------------------------------------- the burst

const cells = Array.from({ length: BURST }, () => document.createElement("i"));
$("cells").replaceChildren(...cells);

$("burst").addEventListener("click", async () => {
  const began = clock();
  const burst = { began, took: 0, done: 0 };
  const button = $("burst");
  button.disabled = true;
  $("burst-result").textContent = "";
  cells.forEach((cell) => (cell.className = ""));
  let ok = 0;
  await Promise.all(
    cells.map(async (cell, index) => {
      const good = (await callApi({ burst, index })) === "ok";
      ok += good;
      cell.className = good ? "ok" : "fail";
    }),
  );
  $("burst-result").textContent = `${ok}/${BURST} ok, ${Math.round((clock() - began) * 1000)} ms`;
  button.disabled = false;
});

// ---------------------------------------------------------------------------------------------- the tabs

const channel = new BroadcastChannel("bearward-demo");
const me = crypto.getRandomValues(new Uint32Array(2)).join("-");
const others = new Map();
let beat = 0;

channel.addEventListener("message", ({ data: { id, gone } }) => {
  if (gone) others.delete(id);
  else if (running) {
    const isNew = !others.has(id);
    others.set(id, clock());
    if (isNew) channel.postMessage({ id: me });
  }
  showTabs();
});

function announce() {
  channel.postMessage({ id: me });
  clearInterval(beat);
  beat = setInterval(() => {
    channel.postMessage({ id: me });
    // Browsers slow hidden tabs down to one step a minute.
    for (const [id, seen] of others) if (clock() - seen > 90) others.delete(id);
    showTabs();
  }, 2000);
}

function leaveTabs() {
  clearInterval(beat);
  channel.postMessage({ id: me, gone: true });
}

function showTabs() {
  const open = others.size + 1;
  [...$("tabs").children].forEach((tab, i) => (tab.className = i < open ? "open" : ""));
  $("tab-count").textContent = `${count(open, "tab")} open`;
}

// One click opens one tab: browsers block more.
$("open-tab").addEventListener("click", () => window.open("/", "_blank", "noopener"));
showTabs();

// ---------------------------------------------------------------------------------------------- the line

const canvas = $("line");
const pen = canvas.getContext("2d");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let lastFrame = 0;
let lastWords = 0;

function frame(time) {
  if (!running) return;
  requestAnimationFrame(frame);
  if (time - lastFrame < (still.matches ? 1000 : 30)) return;
  lastFrame = time;
  draw();
  showToken();
  if (time - lastWords > 1000) {
    lastWords = time;
    if (session) showSession();
    canvas.setAttribute(
      "aria-label",
      `${count(demo.calls, "call")}, ${count(demo.failures, "failure")}, ${count(demo.rotations, "rotation")} so far.`,
    );
  }
}

/** The colours of the style sheet, which change with the scheme. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ...Object.fromEntries(["line", "faint", "text", "soft", "mute", "ok", "fail", "card", "on-token"].map((n) => [n, colour(n)])),
    token: Array.from({ length: TOKEN_COLOURS }, (_, i) => colour(`token-${i + 1}`)),
    sans: style.getPropertyValue("--sans"),
    mono: style.getPropertyValue("--mono"),
  };
}

function draw() {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);

  const now = clock();
  const span = Math.min(SPAN_S[1], Math.max(SPAN_S[0], now - startedAt));
  // The last part of the width is the future: what is left of the token in use.
  const left = 46;
  const nowX = left + (width - left) * 0.86;
  const perSecond = (nowX - left) / span;
  const view = {
    colours: palette(),
    now,
    nowX,
    left,
    right: width,
    x: (t) => nowX + (t - now) * perSecond,
    top: 40,
    dotsBottom: height - 78,
    ribbon: height - 62,
    ribbonHeight: 30,
    axis: height - 12,
    span,
  };
  drawScales(view);
  pen.save();
  pen.beginPath();
  pen.rect(left - 6, 0, width - left + 6, height);
  pen.clip();
  drawTokens(view);
  drawCalls(view);
  pen.restore();
  drawNow(view);
}

/** Quick calls at the bottom, slow ones at the top: one step is ten times as long. */
function latencyY(view, seconds) {
  const steps = Math.log10(Math.min(2, Math.max(0.001, seconds)) / 0.001) / Math.log10(2000);
  return view.dotsBottom - 8 - steps * (view.dotsBottom - view.top - 16);
}

function drawScales(view) {
  const { colours, left, right, nowX } = view;
  pen.font = `11px ${colours.sans}`;
  pen.textBaseline = "middle";
  pen.lineWidth = 1;
  for (const [seconds, label] of [[0.001, "1 ms"], [0.01, "10 ms"], [0.1, "100 ms"], [1, "1 s"]]) {
    const y = Math.round(latencyY(view, seconds)) + 0.5;
    pen.strokeStyle = colours.faint;
    line(left, y, right, y);
    pen.fillStyle = colours.mute;
    pen.textAlign = "right";
    pen.fillText(label, left - 10, y);
  }
  pen.textAlign = "center";
  const step = view.span > 40 ? 10 : 5;
  for (let ago = step; ago < view.span - 1; ago += step) {
    const x = view.x(view.now - ago);
    if (x < left + 14 || x > nowX - 24) continue;
    pen.fillText(`−${ago} s`, x, view.axis);
  }
}

function drawTokens(view) {
  const { colours, now, nowX } = view;
  tokens.forEach((token, i) => {
    const next = tokens[i + 1];
    const from = view.x(token.from);
    const to = next ? view.x(next.from) : nowX;
    const colour = colours.token[token.colour];
    if (!next) drawRest(view, token, colour);
    if (to < view.left - 20) return;
    pen.fillStyle = colour;
    box(from + (i ? 1.5 : 0), view.ribbon, to - from - (i ? 1.5 : 0) - (next ? 1.5 : 0), view.ribbonHeight, 6);
    pen.fill();
    const begin = Math.max(from, view.left);
    if (to - begin > 62) {
      pen.font = `12px ${colours.mono}`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillStyle = colours["on-token"];
      pen.fillText(token.id, (begin + to) / 2, view.ribbon + view.ribbonHeight / 2 + 0.5);
    }
    if (i) drawTurn(view, token, from, colour, now);
  });
}

/** The life that the token in use has left: an outline, because the gateway will not use it up. */
function drawRest(view, token, colour) {
  const end = expiry(token);
  if (end === null || end < view.now) return;
  pen.save();
  pen.setLineDash([3, 3]);
  pen.lineWidth = 1.25;
  pen.strokeStyle = colour;
  pen.globalAlpha = 0.75;
  const to = view.x(end);
  box(view.nowX - 8, view.ribbon + 0.75, Math.max(10, to - view.nowX + 8), view.ribbonHeight - 1.5, 6);
  pen.stroke();
  pen.restore();
}

function drawTurn(view, token, x, colour, now) {
  pen.strokeStyle = colour;
  pen.globalAlpha = 0.55;
  pen.lineWidth = 1.25;
  line(x, view.top - 10, x, view.ribbon - 3);
  pen.globalAlpha = 1;
  // A rotation that just happened rings once.
  const age = now - token.from;
  if (age < 1.2 && !still.matches) {
    pen.globalAlpha = 1 - age / 1.2;
    pen.beginPath();
    pen.arc(x, view.top - 18, 6 + age * 14, 0, 2 * Math.PI);
    pen.stroke();
    pen.globalAlpha = 1;
  }
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, view.top - 18, 5, 0, 2 * Math.PI);
  pen.fill();
  pen.font = `11px ${view.colours.mono}`;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillStyle = view.colours.soft;
  const following = tokens[tokens.indexOf(token) + 1];
  const room = (following ? view.x(following.from) : view.right) - x;
  if (room > 66) pen.fillText(token.id, x + 11, view.top - 17.5);
}

function drawCalls(view) {
  const { colours } = view;
  for (const call of calls) {
    const [x, y, size] = call.place ? swarm(view, call.place) : dot(view, call);
    if (x < view.left - 40) continue;
    if (call.ok) {
      pen.fillStyle = colours.ok;
      pen.strokeStyle = colours.card;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.arc(x, y, size, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    } else {
      pen.strokeStyle = colours.fail;
      pen.lineWidth = 2.25;
      line(x - size, y - size, x + size, y + size);
      line(x - size, y + size, x + size, y - size);
    }
  }
}

function dot(view, call) {
  return [view.x(call.at + call.took), latencyY(view, call.took), 4];
}

/** Fifty answers of one moment would hide each other: they stand as a block around the middle of their burst. */
function swarm(view, { burst, index }) {
  const x = view.x(burst.began + burst.took) + ((index % 10) - 4.5) * 6.5;
  const y = latencyY(view, burst.took) + (Math.floor(index / 10) - 2) * 6.5;
  return [x, y, 2.5];
}

function drawNow(view) {
  const x = Math.round(view.nowX) + 0.5;
  pen.strokeStyle = view.colours.text;
  pen.lineWidth = 1;
  line(x, view.top - 10, x, view.ribbon + view.ribbonHeight + 5);
  pen.font = `600 11px ${view.colours.sans}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = view.colours.text;
  pen.fillText("now", x, view.axis);
}

function line(x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function box(x, y, width, height, radius) {
  pen.beginPath();
  pen.roundRect(x, y, Math.max(0, width), height, Math.min(radius, Math.max(0, width) / 2));
}

begin();
