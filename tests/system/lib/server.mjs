// The server as a program under test: started on free ports over a data directory of its own, killed, started again on
// the same ports and the same directory. Its log is kept, and shown when a test fails.
//
// TERTULIA_TEST_SETUP says on what: the same tests run over another store, or on several nodes (setup.mjs).
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readStore } from '../../checker/store.mjs';
import { freePort, takesConnections } from '../../cluster/program.mjs';
import { until, within } from './until.mjs';

export { freePort };

export const repository = process.env.TERTULIA_SOURCE ?? resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
/** The server as released (in a dev build: that build's). */
export const releasedBinary = process.env.TERTULIA_BINARY ?? join(repository, 'build/dev/tertulia');
/** The server with failpoints. */
export const testBinary = process.env.TERTULIA_TEST_BINARY ?? join(repository, 'build/dev/tertulia');
/** Durations at their defaults. */
export const long = process.env.TERTULIA_TEST_LONG === '1';

const logBytesMax = 1 << 20;
const startWithinMs = 20_000;
const endWithinMs = 20_000;
/** sqlite, postgresql, mongodb, cluster, cluster-mongodb or proxied. */
export const setup = process.env.TERTULIA_TEST_SETUP || 'sqlite';
/** Is it HAProxy that clients connect to? */
export const isCluster = setup.startsWith('cluster') || setup === 'proxied';
/** What the setups need that are not one node over SQLite. */
const elsewhere = () => import('./setup.mjs');

/**
 * @typedef {object} ServerOptions
 * @property {string} [binary] default: the released one; the one with failpoints if there is a failpoint
 * @property {string[]} [args] further arguments, kept over restarts
 * @property {Record<string, string>} [env] further environment, kept over restarts
 * @property {string} [dataDir] default: a temporary one, removed by remove()
 * @property {{url: string, read: () => Promise<import('../../checker/store.mjs').Store>}} [store] default: what
 *   TERTULIA_TEST_SETUP says; if that is SQLite, in dataDir
 * @property {string} [bus] what --bus takes
 * @property {string} [logFile] its log is also written there
 * @property {string[]} [wrapper] a command that runs the server's command line, e.g. ['unshare', '-m', 'sh', '-c', …]
 */

/** @typedef {{code: number|null, signal: string|null}} Ended */

/** What must not outlive this process. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

export class Server {
  /** @type {import('node:child_process').ChildProcess|undefined} */ #child;
  /** @type {Promise<Ended>} */ #ended = Promise.resolve({ code: null, signal: null });
  /** @type {string[]} */ #log = [];
  #logBytes = 0;
  #owned = false;

  /** @param {ServerOptions} [options] */
  constructor(options = {}) {
    this.options = options;
    this.host = '127.0.0.1';
    this.port = 0;
    this.internalPort = 0;
    this.dataDir = options.dataDir ?? '';
    this.store = options.store;
    this.starts = 0;
  }

  /**
   * A server that is ready.
   * @param {ServerOptions & {failpoint?: string}} [options]
   */
  static async start(options = {}) {
    const server = await newServer(options);
    await server.start({ failpoint: options.failpoint });
    return server;
  }

  get address() {
    return { host: this.host, port: this.port };
  }
  get url() {
    return `ws://${this.host}:${this.port}/chat`;
  }
  get httpUrl() {
    return `http://${this.host}:${this.port}`;
  }
  get internalUrl() {
    return `http://${this.host}:${this.internalPort}`;
  }
  get running() {
    return this.#child !== undefined;
  }
  /** Of the server itself, or of the wrapper that runs it. */
  get pid() {
    return this.#child?.pid;
  }
  /** How the newest run ended, once it has. @returns {Promise<Ended>} */
  get ended() {
    return this.#ended;
  }
  /** Told at each end. @type {((ended: Ended) => void)|undefined} */
  onEnd = undefined;
  /** The newest part of what all runs wrote. */
  get log() {
    return this.#log.join('');
  }

  /**
   * Starts, the second time on the same ports and directory, and waits until it is ready.
   * @param {{failpoint?: string, args?: string[], env?: Record<string, string>, binary?: string, waitReady?: boolean}} [now]
   *   only for this run. failpoint: as in base/failpoint.h. waitReady: false where it is meant to die while it starts.
   */
  async start(now = {}) {
    if (this.#child) throw new Error('the server runs already');
    if (this.dataDir === '') {
      this.dataDir = mkdtempSync(join(tmpdir(), 'tertulia-test-'));
      this.#owned = true;
    }
    if (this.starts === 0 && !this.store && !isCluster && setup !== 'sqlite') this.store = await (await elsewhere()).emptyStore();
    for (let attempt = 1; ; ++attempt) {
      if (this.starts === 0) {
        this.port = await freePort();
        do this.internalPort = await freePort(); while (this.internalPort === this.port);
      }
      this.#spawn(now);
      if (now.waitReady === false) break;
      try {
        await this.ready();
        break;
      } catch (error) {
        // Somebody took the port between our look and the server's: only before anybody knows it.
        if (this.starts > 0 || attempt >= 5 || !/address already in use/i.test(this.log)) throw this.explain(error);
      }
    }
    ++this.starts;
  }

  #spawn(now) {
    const binary = now.binary ?? this.options.binary ?? (now.failpoint ? testBinary : releasedBinary);
    // A test that is killed takes its server along.
    const command = [
      'setpriv', '--pdeathsig', 'KILL', '--', ...(this.options.wrapper ?? []), binary, 'serve', '--listen', `${this.host}:${this.port}`,
      '--internal-listen', `${this.host}:${this.internalPort}`, '--data-dir', this.dataDir,
      ...(this.options.args ?? []), ...(now.args ?? []),
    ];
    const env = { ...process.env, ...this.options.env, ...now.env };
    // Not as a flag: there may be a password in it, and everybody sees flags.
    if (this.store) env.TERTULIA_STORE = this.store.url;
    if (this.options.bus) env.TERTULIA_BUS = this.options.bus;
    delete env.TERTULIA_FAILPOINT;
    if (now.failpoint) env.TERTULIA_FAILPOINT = now.failpoint;
    this.#write(`--- start ${this.starts + 1}${now.failpoint ? `, TERTULIA_FAILPOINT=${now.failpoint}` : ''}\n`);
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#child = child;
    children.add(child);
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => this.#write(text));
    this.#ended = new Promise((done) => {
      const end = (code, signal) => {
        children.delete(child);
        this.#write(`--- ended: ${signal ?? code}\n`);
        if (this.#child === child) this.#child = undefined;
        done({ code, signal });
        this.onEnd?.({ code, signal });
      };
      child.once('error', (error) => end(String(error), null));
      child.once('close', end);
    });
  }

  #write(text) {
    if (this.options.logFile) appendFileSync(this.options.logFile, text);
    this.#log.push(text);
    this.#logBytes += text.length;
    while (this.#logBytes > logBytesMax && this.#log.length > 1) this.#logBytes -= this.#log.shift().length;
  }

  /** Waits until it takes connections. Fails at once if it ends before. */
  async ready() {
    const child = this.#child;
    await until('the server is ready', async () => {
      if (this.#child !== child || !child) throw new Error('the server ended before it was ready');
      return takesConnections(this.host, this.port);
    }, startWithinMs);
  }

  /** kill -9, as a power cut for the process. @returns {Promise<Ended>} */
  kill() {
    return this.#end('SIGKILL');
  }
  /** SIGTERM: it drains and ends. @returns {Promise<Ended>} */
  stop() {
    return this.#end('SIGTERM');
  }
  /** SIGINT: it ends at once, safely. @returns {Promise<Ended>} */
  interrupt() {
    return this.#end('SIGINT');
  }
  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#child?.kill(signal);
  }

  async #end(signal) {
    this.#child?.kill(signal);
    return within(`the server ends after ${signal}`, this.#ended, endWithinMs);
  }

  /** Waits until it ends by itself, as a failpoint makes it. @returns {Promise<Ended>} */
  async dies(withinMs = 20_000) {
    return within('the server dies by itself', this.#ended, withinMs);
  }

  /** What it has stored, read without it. @returns {Promise<import('../../checker/store.mjs').Store>} */
  readStore() {
    return this.store ? this.store.read() : readStore(this.dataDir);
  }

  /** All metrics of the internal listener: name (with labels, as written) → value. @returns {Promise<Map<string, number>>} */
  async metrics() {
    const { status, body } = await get(`${this.internalUrl}/metrics`);
    if (status !== 200) throw new Error(`/metrics answered ${status}`);
    const all = new Map();
    for (const line of body.split('\n')) {
      const found = /^([^#\s][^\s]*(?:\{.*\})?)\s+(\S+)/.exec(line);
      if (found) all.set(found[1], Number(found[2]));
    }
    return all;
  }

  /** One metric, summed over its labels; 0 if there is none. @param {string} name */
  async metric(name) {
    let sum = 0;
    for (const [key, value] of await this.metrics()) if (key === name || key.startsWith(`${name}{`)) sum += value;
    return sum;
  }

  /** Kills it if it runs, and removes its directory if it made it. */
  async remove() {
    if (this.#child) await this.kill();
    if (this.#owned) rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** The error, with the newest part of the log in its message. @param {any} error */
  explain(error) {
    const lines = this.log.split('\n');
    error.message += `\n  server (${this.dataDir}), the end of its log:\n    ${lines.slice(-60).join('\n    ')}`;
    return error;
  }
}

/** Not started yet. @param {ServerOptions} options @returns {Promise<Server>} */
async function newServer(options) {
  return isCluster ? new (await elsewhere()).ClusterServer(options) : new Server(options);
}

/**
 * Runs `body` with a server; at its end the server is killed and its directory removed. If the body fails, the error
 * shows the end of the server's log and the directory stays.
 * @template T
 * @param {ServerOptions & {failpoint?: string}} options
 * @param {(server: Server) => Promise<T>} body
 */
export async function withServer(options, body) {
  const server = await newServer(options);
  let result;
  try {
    await server.start({ failpoint: options.failpoint });
    result = await body(server);
  } catch (error) {
    if (server.running) await server.kill().catch(() => {});
    throw server.explain(error);
  }
  await server.remove();
  return result;
}

/** @param {string} url @returns {Promise<{status: number, body: string}>} */
export function get(url) {
  return new Promise((done, failed) => {
    http.get(url, { agent: false, timeout: 10_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; });
      response.on('end', () => done({ status: response.statusCode ?? 0, body }));
      response.on('error', failed);
    }).on('error', failed).on('timeout', function late() { this.destroy(new Error(`${url} does not answer`)); });
  });
}
