// What people do with the demo, by name.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

import { TOKEN_LIFE } from './dev.mjs';

const TABS = 5;
const ROTATIONS = 5;
const SLOW = { timeout: 90_000 };

export const scenarios = {
  async 'a login at the provider leads back to a page that knows alice'({ context, shot }) {
    const page = await context.newPage();
    await page.goto('/');
    await page.locator('#signed-out').waitFor();
    await shot(page, 'signed-out');
    await page.locator('#login').click();
    await page.locator('#user-alice').waitFor();
    await shot(page, 'provider');
    await page.locator('#user-alice').click();
    await page.locator('#signed-in').waitFor();
    await page.waitForFunction(() => document.querySelector('#name').textContent.toLowerCase().includes('alice'));
    await page.waitForFunction(() => window.bearwardDemo.rotations >= 1, null, SLOW);
    await shot(page, 'signed-in');
    assert.equal(new URL(page.url()).pathname, '/');
  },

  async 'no script can read the session, and no answer holds a token'({ context }) {
    const page = await context.newPage();
    const bodies = [];
    page.on('response', async (response) => bodies.push(await response.text().catch(() => '')));
    await logIn(page);
    const cookies = (await context.cookies()).filter(({ name }) => name.startsWith('bearward'));
    assert.ok(cookies.length > 0, 'the gateway set no cookie');
    for (const cookie of cookies) assert.equal(cookie.httpOnly, true, `${cookie.name} is not HttpOnly`);
    assert.equal(await page.evaluate(() => document.cookie), '');
    await page.waitForFunction(() => window.bearwardDemo.calls >= 3);
    assert.ok(bodies.length > 3);
    for (const body of bodies) assert.doesNotMatch(body, /eyJ[\w-]{10,}\.[\w-]{10,}/, 'a JSON Web Token');
    for (const store of ['localStorage', 'sessionStorage']) {
      assert.equal(await page.evaluate((name) => window[name].length, store), 0);
    }
  },

  async 'five tabs poll through five rotations and none is refused'({ context, shot }) {
    const tabs = await signedInTabs(context);
    await Promise.all(
      tabs.map((tab) => tab.waitForFunction((n) => window.bearwardDemo.rotations >= n, ROTATIONS, SLOW)),
    );
    await shot(tabs[0], 'five-rotations');
    const all = await Promise.all(tabs.map(numbers));
    for (const demo of all) {
      assert.deepEqual([demo.failures, demo.unauthorized], [0, 0], JSON.stringify(all));
      assert.ok(demo.rotations >= ROTATIONS && demo.calls > ROTATIONS, JSON.stringify(demo));
    }
    // Every tab was served with the same tokens: there was one line of rotations, not five.
    const common = all.map(({ tokenIds }) => tokenIds).reduce((a, b) => a.filter((id) => b.includes(id)));
    assert.ok(common.length >= ROTATIONS, `tabs saw different tokens: ${JSON.stringify(all)}`);
  },

  async 'bursts of fifty from five tabs are answered fifty times each'({ context, shot }) {
    const tabs = await signedInTabs(context);
    const seen = (await numbers(tabs[0])).rotations;
    // One burst with a fresh token, one around a rotation.
    for (const rotations of [seen, seen + 1]) {
      await tabs[0].waitForFunction((n) => window.bearwardDemo.rotations >= n, rotations, SLOW);
      await Promise.all(tabs.map((tab) => tab.locator('#burst').click()));
      for (const tab of tabs) {
        const result = tab.locator('#burst-result');
        await tab.waitForFunction(() => document.querySelector('#burst-result').textContent !== '', null, SLOW);
        assert.match(await result.textContent(), /^50\/50 ok/);
      }
    }
    await shot(tabs[0], 'burst');
    for (const tab of tabs) assert.deepEqual((await numbers(tab)).failures, 0);
  },

  async 'five tabs that open after the token ran out share one rotation'({ context }) {
    const first = await context.newPage();
    await logIn(first);
    const before = await first.evaluate(async () => (await fetch('/oauth2/session')).json());
    await first.goto('about:blank');
    await pause((TOKEN_LIFE + 1) * 1000);
    const tabs = await openTabs(context);
    await Promise.all(tabs.map((tab) => tab.locator('#signed-in').waitFor()));
    await Promise.all(tabs.map((tab) => tab.waitForFunction(() => window.bearwardDemo.calls >= 1)));
    const after = await tabs[0].evaluate(async () => (await fetch('/oauth2/session')).json());
    assert.equal(after.session.created_at, before.session.created_at, 'it is another session');
    for (const tab of tabs) {
      const demo = await numbers(tab);
      assert.deepEqual([demo.failures, demo.unauthorized], [0, 0], JSON.stringify(demo));
    }
  },

  async 'five tabs that begin a login at once all end signed in'({ context }) {
    const tabs = await openTabs(context);
    await Promise.all(tabs.map((tab) => tab.locator('#signed-out').waitFor()));
    await Promise.all(tabs.map((tab) => tab.locator('#login').click()));
    await Promise.all(tabs.map((tab) => tab.locator('#user-alice').waitFor()));
    await Promise.all(tabs.map((tab) => tab.locator('#user-alice').click()));
    await Promise.all(tabs.map((tab) => tab.locator('#signed-in').waitFor()));
    await Promise.all(tabs.map((tab) => tab.waitForFunction(() => window.bearwardDemo.rotations >= 1, null, SLOW)));
    for (const tab of tabs) {
      const demo = await numbers(tab);
      assert.deepEqual([demo.failures, demo.unauthorized], [0, 0], JSON.stringify(demo));
    }
  },

  async 'a logout in one tab is noticed in all, and a copied cookie is dead'({ context, dev, shot }) {
    const tabs = await signedInTabs(context);
    const copied = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    const replay = () => fetch(`${dev.url}/api/whoami`, { headers: { cookie: copied }, redirect: 'manual' });
    assert.equal((await replay()).status, 200, 'the copied cookie works while the session lives');
    await tabs[0].locator('#logout').click();
    await Promise.all(tabs.slice(1).map((tab) => tab.locator('#signed-out').waitFor()));
    await shot(tabs[1], 'signed-out-elsewhere');
    assert.equal((await replay()).status, 401, 'the copied cookie outlived the session');
    const left = (await context.cookies()).filter(({ name }) => /^bearward(\.\d)?$/.test(name));
    assert.deepEqual(left, [], 'the session cookie is still there');
    await shot(tabs[0], 'logged-out');

    const again = await context.newPage();
    await again.goto('/');
    await again.locator('#signed-out').waitFor();
    assert.equal((await replay()).status, 401);
  },

  async 'a tab that never hears of a rotation is not logged out'({ context }) {
    const page = await context.newPage();
    await logIn(page);
    const old = await context.cookies();
    const generation = async (tab) =>
      (await tab.evaluate(async () => (await fetch('/oauth2/session')).json())).session.generation;
    const before = await generation(page);
    await page.waitForFunction(() => window.bearwardDemo.rotations >= 2, null, SLOW);
    await page.goto('about:blank');
    // A crash brought yesterday's cookies back, so to speak.
    await context.clearCookies();
    await context.addCookies(old);
    await page.goto('/');
    await page.locator('#signed-in').waitFor();
    assert.ok((await generation(page)) > before, 'the newest generation was sent again');
    await page.waitForFunction(() => window.bearwardDemo.rotations >= 1, null, SLOW);
    assert.deepEqual((await numbers(page)).failures, 0);
  },
};

/** Logs alice in, from the page's own button on. */
async function logIn(page) {
  await page.goto('/');
  await page.locator('#login').click();
  await page.locator('#user-alice').click();
  await page.locator('#signed-in').waitFor();
}

async function openTabs(context) {
  const tabs = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));
  await Promise.all(tabs.map((tab) => tab.goto('/')));
  return tabs;
}

/** Five tabs of one session; the first of them logged in. */
async function signedInTabs(context) {
  const first = await context.newPage();
  await logIn(first);
  const others = await Promise.all(Array.from({ length: TABS - 1 }, () => context.newPage()));
  await Promise.all(others.map((tab) => tab.goto('/')));
  const tabs = [first, ...others];
  await Promise.all(tabs.map((tab) => tab.locator('#signed-in').waitFor()));
  return tabs;
}

const numbers = (page) => page.evaluate(() => ({ ...window.bearwardDemo }));
