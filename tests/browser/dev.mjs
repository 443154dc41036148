// A running `bearward dev`.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** The life of an access token in seconds: rotation begins about half way. */
export const TOKEN_LIFE = 6;

/** Starts one on free ports and waits until it is ready. */
export async function startDev(bearward) {
  const [port, admin] = [await freePort(), await freePort()];
  const args = ['dev', '--listen', `127.0.0.1:${port}`, '--admin', `127.0.0.1:${admin}`];
  const child = spawn(bearward, [...args, '--access-token-life', `${TOKEN_LIFE}s`]);
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const exited = once(child, 'exit');
  const deadline = performance.now() + 20_000;
  while (!(await ready(admin))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`bearward dev does not become ready: ${output}`);
    }
    await pause(50);
  }
  return {
    url: `http://localhost:${port}`,
    output: () => output,
    async stop() {
      child.kill('SIGTERM');
      const late = pause(10_000, 'late', { ref: false });
      if ((await Promise.race([exited, late])) === 'late') child.kill('SIGKILL');
    },
  };
}

async function ready(admin) {
  try {
    return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok;
  } catch {
    return false;
  }
}

/** Below the range from which the system takes ports for outgoing connections: one of those could take it first. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
