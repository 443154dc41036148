// `bearward dev` as people meet it: in Chromium, in several tabs at once.
//
// `node run.mjs` from anywhere. BEARWARD is the binary (default: target/debug/bearward), CHROMIUM the browser.
// Screenshots go to target/browser/. What cannot be had here is said loudly and skipped; with CI=true it fails.

import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startDev } from './dev.mjs';
import { scenarios } from './scenarios.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
const shots = join(root, 'target/browser');

const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The longest that one scenario may take. */
const LIMIT_MS = 150_000;

async function main() {
  const bearward = process.env.BEARWARD ?? join(target, 'debug/bearward');
  const chromium = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
    .filter(Boolean)
    .find((path) => existsSync(path));
  if (!existsSync(bearward)) return missing(`no ${bearward}; run \`cargo build\``);
  if (!chromium) return missing('no Chromium; `scripts/test.sh` installs it');
  let playwright;
  try {
    playwright = await import('playwright-core');
  } catch {
    return missing('no node_modules; run `npm ci` in tests/browser');
  }

  mkdirSync(shots, { recursive: true });
  const browser = await playwright.chromium.launch({ executablePath: chromium, args: CHROMIUM_ARGS });
  const counts = { passed: 0, failed: 0 };
  try {
    for (const [name, scenario] of Object.entries(scenarios)) {
      const passed = await attempt(browser, bearward, name, scenario);
      counts[passed ? 'passed' : 'failed'] += 1;
    }
  } finally {
    await browser.close();
  }
  console.log(`\n${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
}

/** Runs one scenario with a gateway and a browser profile of its own. */
async function attempt(browser, bearward, name, scenario) {
  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
  const dev = await startDev(bearward);
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, baseURL: dev.url });
  const faults = watch(context);
  const shot = (page, file) => page.screenshot({ path: join(shots, `${file}.png`) });
  let timer;
  try {
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not over after ${LIMIT_MS / 1000} s`)), LIMIT_MS);
    });
    await Promise.race([scenario({ context, dev, shot }), limit]);
    if (faults.length > 0) throw new Error(`errors on the page: ${faults.join('; ')}`);
    console.log(`test ${name} ... ok (${seconds()} s)`);
    return true;
  } catch (error) {
    console.log(`test ${name} ... FAILED (${seconds()} s)\n${error.stack}`);
    for (const [i, page] of context.pages().entries()) {
      const file = `failed-${name.replaceAll(/\W+/g, '-')}-${i}`;
      console.log(`  tab ${i}: ${page.url()}, see target/browser/${file}.png`);
      await shot(page, file).catch(() => {});
    }
    console.log(`--- what the gateway printed\n${dev.output().split('\n').slice(-40).join('\n')}`);
    return false;
  } finally {
    clearTimeout(timer);
    await context.close();
    await dev.stop();
  }
}

/** Collects what goes wrong inside pages. */
function watch(context) {
  const faults = [];
  context.on('weberror', (error) => faults.push(String(error.error())));
  context.on('console', (message) => {
    // That a request was refused is what some scenarios are about.
    const refused = /Failed to load resource: .* (401|403)/.test(message.text());
    if (message.type() === 'error' && !refused) faults.push(message.text());
  });
  return faults;
}

function missing(why) {
  console.log(`SKIPPED the browser tests: ${why}`);
  console.log(`\n0 passed, ${process.env.CI ? 1 : 0} failed, ${Object.keys(scenarios).length} skipped`);
  return process.env.CI ? 1 : 0;
}

process.exitCode = await main();
