// npm `oidc-provider` as strict as it gets: every refresh token is good once, a second use destroys the grant.
//
// Started by the tests: `node provider.mjs '{"redirect_uris": [...], ...}'`. Prints one line of JSON when it is
// ready, and ends when its standard input does. A second port takes commands: GET /state, POST /fault, POST /clear.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

import Provider, { errors } from 'oidc-provider';

const options = {
  port: 0,
  token_life: 5,
  delay: [100, 400],
  redirect_uris: [],
  post_logout_redirect_uris: [],
  ...JSON.parse(process.argv[2] ?? '{}'),
};

const RESOURCE = 'https://api.example.com';
const CLIENT = 'bearward';
const SECRET = 'a-secret-for-tests-of-at-least-32-bytes';

// What the tests ask about. Tokens are told by their hash.
const seen = { tokens: [], revocations: [], introspections: 0, logouts: 0, grants: [] };
const hash = (text) => createHash('sha256').update(String(text)).digest('hex').slice(0, 16);

// The fault of the token endpoint for refreshes. Modes that act before the token is spent: `status` (503, 429),
// `invalid_client`, `hang`; after: `slow`, `lost`. `down` closes the listening socket for everything.
let fault = { mode: 'none', times: 0 };

function take() {
  if (fault.mode === 'none' || fault.mode === 'down') return { mode: 'none' };
  const taken = fault;
  if (fault.times > 0 && --fault.times === 0) fault = { mode: 'none', times: 0 };
  return taken;
}

const users = new Map(
  ['alice', 'bob', 'carol'].map((sub) => [sub, { sub, name: `${sub} of the tests`, email: `${sub}@example.com` }]),
);

function provider(issuer) {
  return new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT,
        client_secret: SECRET,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: options.redirect_uris,
        post_logout_redirect_uris: options.post_logout_redirect_uris,
        token_endpoint_auth_method: 'client_secret_basic',
      },
    ],
    cookies: { keys: ['a key for tests only'] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    // Each login is a grant of its own, so that what kills one is told apart from the others.
    loadExistingGrant: async (ctx) => {
      const id = ctx.oidc.result?.consent?.grantId;
      return id ? ctx.oidc.provider.Grant.find(id) : undefined;
    },
    findAccount: async (_ctx, sub) =>
      users.has(sub) ? { accountId: sub, claims: async () => users.get(sub) } : undefined,
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    ttl: {
      AccessToken: options.token_life,
      IdToken: 60,
      RefreshToken: 3600,
      Grant: 3600,
      Session: 3600,
      Interaction: 600,
      AuthorizationCode: 60,
    },
    renderError: async (ctx, out) => {
      console.error(out);
      ctx.type = 'text';
      ctx.body = JSON.stringify(out);
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource },
      resourceIndicators: {
        enabled: true,
        defaultResource: async () => RESOURCE,
        useGrantedResource: async () => true,
        getResourceServerInfo: async (_ctx, resource) => {
          if (resource !== RESOURCE) throw new errors.InvalidTarget();
          return {
            scope: 'api',
            audience: RESOURCE,
            accessTokenFormat: 'jwt',
            accessTokenTTL: options.token_life,
          };
        },
      },
    },
  });
}

async function logoutSource(ctx, form) {
  ctx.body = `<!doctype html><title>Log out?</title>${form}
    <button form="op.logoutForm" name="logout" value="yes">Log out</button>`;
}

// Logs in whom `login_hint` names, and grants all that was asked for.
async function interact(op, request, response) {
  const { params, prompt } = await op.interactionDetails(request, response);
  const accountId = params.login_hint ?? 'alice';
  const grant = new op.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope('openid profile email offline_access');
  grant.addResourceScope(RESOURCE, 'api');
  const grantId = await grant.save();
  seen.grants.push({ id: grantId, account: accountId, prompt: prompt.name });
  const result = { login: { accountId }, consent: { grantId } };
  await op.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

// Around every request to the provider: what is counted, what is delayed, what goes wrong.
async function watch(ctx, next) {
  if (ctx.path === '/token' && ctx.method === 'POST') {
    await token(ctx, next);
    return;
  }
  await next();
  if (ctx.path === '/token/revocation') {
    seen.revocations.push({ token: hash(ctx.oidc?.params?.token), status: ctx.status, at: Date.now() });
  } else if (ctx.path === '/token/introspection') {
    seen.introspections += 1;
  } else if (ctx.path === '/session/end/confirm') {
    seen.logouts += 1;
  }
}

async function token(ctx, next) {
  const body = await read(ctx.req);
  ctx.req.body = Object.fromEntries(new URLSearchParams(body));
  const grantType = ctx.req.body.grant_type;
  const refreshing = grantType === 'refresh_token';
  const entry = { grant_type: grantType, at: Date.now(), outcome: 'open' };
  if (refreshing) entry.spent = hash(ctx.req.body.refresh_token);
  seen.tokens.push(entry);

  const now = refreshing ? take() : { mode: 'none' };
  if (now.mode === 'hang') {
    entry.outcome = 'fault:hang';
    ctx.respond = false;
    return;
  }
  if (now.mode === 'status') {
    entry.outcome = `fault:${now.status}`;
    ctx.status = now.status;
    if (now.retry_after) ctx.set('Retry-After', String(now.retry_after));
    ctx.body = 'not now';
    return;
  }
  if (now.mode === 'invalid_client') {
    entry.outcome = 'fault:invalid_client';
    ctx.status = 401;
    ctx.body = { error: 'invalid_client' };
    return;
  }

  await next();

  entry.grant = ctx.oidc?.entities?.Grant?.jti;
  // From here on the token is spent, and the successor exists; the rest is the way of the answer.
  if (ctx.body?.refresh_token) entry.made = hash(ctx.body.refresh_token);
  const [least, most] = options.delay;
  await pause(now.mode === 'slow' ? now.ms : least + Math.random() * (most - least));
  const result = ctx.status === 200 ? 'ok' : `error:${ctx.body?.error}`;
  if (now.mode === 'lost') {
    entry.outcome = `lost:${result}`;
    ctx.respond = false;
    ctx.req.socket.destroy();
    return;
  }
  entry.outcome = result;
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function listen(server, port) {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

let handler = (_request, response) => response.writeHead(503).end();
const answer = (request, response) => handler(request, response);
let front = createServer(answer);
const port = await listen(front, options.port);
const issuer = `http://127.0.0.1:${port}`;
const op = provider(issuer);
op.use(watch);
const callback = op.callback();
handler = (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    interact(op, request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end(String(error));
    });
  } else {
    callback(request, response);
  }
};
for (const event of ['server_error', 'jwks.error', 'userinfo.error']) {
  op.on(event, (_ctx, error) => console.error(event, error));
}

async function goDown() {
  const closed = once(front, 'close');
  front.close();
  front.closeAllConnections();
  await closed;
}

async function comeUp() {
  if (front.listening) return;
  front = createServer(answer);
  await listen(front, port);
}

async function state() {
  const alive = async ({ id, ...rest }) => ({ id, ...rest, alive: Boolean(await op.Grant.find(id)) });
  return { ...seen, grants: await Promise.all(seen.grants.map(alive)) };
}

async function command(request, response) {
  const body = await read(request);
  if (request.url === '/fault') {
    fault = { times: 0, ...JSON.parse(body) };
    if (fault.mode === 'down') await goDown();
  } else if (request.url === '/clear') {
    fault = { mode: 'none', times: 0 };
    await comeUp();
  } else if (request.url !== '/state') {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(await state()));
}

const control = createServer((request, response) => {
  command(request, response).catch((error) => response.writeHead(500).end(String(error)));
});
const controlPort = await listen(control, 0);

// Whoever started this is gone when the pipe is.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

console.log(
  JSON.stringify({
    issuer,
    control: `http://127.0.0.1:${controlPort}`,
    client_id: CLIENT,
    client_secret: SECRET,
    resource: RESOURCE,
  }),
);
