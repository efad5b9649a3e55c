// A program that belongs to a cluster on this machine: started with a log file of its own, frozen, killed, started again.
// None outlives this process, however it ends: the kernel tells each of them when it dies (setpriv --pdeathsig).
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import {
  accessSync, appendFileSync, chmodSync, closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { until, within } from '../system/lib/until.mjs';

/** Below the range from which the kernel gives ports to connections, so that nobody gets ours between kill and start. */
const [portMin, portMax] = [20_000, 32_000];

/** Ports that this process has chosen: each a file that tells other tests of it. @type {Set<string>} */
const portFiles = new Set();
process.on('exit', () => { for (const file of portFiles) rmSync(file, { force: true }); });

// A server that is just being started again listens nowhere, and its port is still taken.
function reserve(port) {
  const file = join(tmpdir(), `tertulia-port-${port}`);
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
  } catch {
    try {
      process.kill(Number(readFileSync(file, 'utf8')), 0);
    } catch {
      rmSync(file, { force: true });  // whoever had it is gone; next time it is free
    }
    return false;
  }
  portFiles.add(file);
  return true;
}

/** @returns {Promise<number>} a port of 127.0.0.1 on which nobody listens, and that no other test takes while this process lives */
export async function freePort() {
  for (;;) {
    const port = randomInt(portMin, portMax);
    if (reserve(port) && await mayListen(port)) return port;
  }
}

/** @param {number} port @param {string} [host] @returns {Promise<boolean>} */
export function mayListen(port, host = '127.0.0.1') {
  return new Promise((done) => {
    const probe = net.createServer();
    probe.once('error', () => done(false));
    probe.listen(port, host, () => probe.close(() => done(true)));
  });
}

/** @param {string} host @param {number} port @returns {Promise<boolean>} does anybody listen there? */
export function takesConnections(host, port) {
  return new Promise((done) => {
    const socket = net.connect(port, host);
    socket.setTimeout(2_000, () => { socket.destroy(); done(false); });
    socket.once('connect', () => { socket.destroy(); done(true); });
    socket.once('error', () => done(false));
  });
}

/**
 * @param {string} name @param {string[]} [folders] looked through behind PATH
 * @returns {string|undefined} where this program lies
 */
export function findProgram(name, folders = ['/usr/sbin', '/sbin', '/usr/local/bin']) {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...folders]) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch { /* not there */ }
  }
  return undefined;
}

/** @param {string} name @param {string[]} [folders] @returns {string} */
export function needProgram(name, folders) {
  const path = findProgram(name, folders);
  if (!path) throw new Error(`cluster: ${name} is not on the PATH. script/setup --cluster installs what is missing.`);
  return path;
}

/** A temporary directory that goes with this process. @param {string} what */
export function temporaryFolder(what) {
  const path = mkdtempSync(join(tmpdir(), `tertulia-${what}-`));
  // A server of another user (PostgreSQL's) must get through to its own directory in it.
  chmodSync(path, 0o711);
  temporary.add(path);
  return path;
}

/** Removes it at once. @param {string} path */
export function removeFolder(path) {
  temporary.delete(path);
  rmSync(path, { recursive: true, force: true, maxRetries: 5 });
}

/** @type {Set<string>} */ const temporary = new Set();
/** @type {Set<Program>} */ const running = new Set();
process.on('exit', () => {
  for (const program of running) program.signal(program.deathSignal);
  for (const path of temporary) rmSync(path, { recursive: true, force: true, maxRetries: 5 });
});

/** @typedef {{code: number|null, signal: NodeJS.Signals|null}} Ended */

/** How it ended, in a word. @param {Ended} ended */
export function howEnded({ code, signal }) {
  return signal ?? `exit status ${code}`;
}

export class Program {
  /** @type {import('node:child_process').ChildProcess|undefined} */ #child;
  /** @type {Promise<Ended>} */ #ended = Promise.resolve({ code: null, signal: null });
  #wanted = false;
  /** Since when it is frozen; a frozen one is let go before it is asked to end. */
  #paused = false;

  /**
   * @param {object} options
   * @param {string} options.name as people call it
   * @param {string[]} options.command
   * @param {string} options.logFile both of its streams are appended there
   * @param {Record<string, string>} [options.env] besides this process's own
   * @param {string} [options.user] as whom it runs; only root may choose
   * @param {NodeJS.Signals} [options.deathSignal] what ends it at once and safely: SIGKILL
   * @param {() => Promise<boolean>} [options.isReady] does it serve?
   */
  constructor(options) {
    this.options = options;
    this.name = options.name;
    this.deathSignal = options.deathSignal ?? 'SIGKILL';
    this.starts = 0;
    /** Told when it has ended and nobody here wanted that. @type {((ended: Ended) => void)|undefined} */
    this.onDeath = undefined;
  }

  get running() {
    return this.#child !== undefined;
  }
  get paused() {
    return this.#paused;
  }
  get pid() {
    return this.#child?.pid;
  }
  get logFile() {
    return this.options.logFile;
  }
  /** How the newest run ended, once it has. */
  get ended() {
    return this.#ended;
  }

  /** Starts it and waits until it is ready. Fails with the end of its log. */
  async start(withinMs = 30_000) {
    this.spawn();
    await this.ready(withinMs);
    return this;
  }

  /** Starts it and does not wait. */
  spawn() {
    if (this.#child) throw new Error(`${this.name} runs already`);
    const { command, env, user, logFile } = this.options;
    const asWhom = user ? [`--reuid=${user}`, `--regid=${user}`, '--clear-groups'] : [];
    appendFileSync(logFile, `--- start ${++this.starts}: ${command.join(' ')}\n`);
    const log = openSync(logFile, 'a');
    const child = spawn('setpriv', [...asWhom, '--pdeathsig', this.deathSignal.slice(3), '--', ...command],
      { stdio: ['ignore', log, log], env: { ...process.env, ...env }, cwd: user ? '/' : undefined });
    closeSync(log);
    child.unref();
    this.#child = child;
    this.#wanted = true;
    this.#paused = false;
    running.add(this);
    this.#ended = new Promise((done) => {
      const end = (code, signal) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        running.delete(this);
        try { appendFileSync(logFile, `--- ended: ${signal ?? code}\n`); } catch { /* its directory has gone before it */ }
        done({ code, signal });
        if (this.#wanted) this.onDeath?.({ code, signal });
      };
      child.once('error', (error) => end(String(error), null));
      child.once('exit', end);
    });
  }

  async ready(withinMs = 30_000) {
    const child = this.#child;
    try {
      await until(`${this.name} is ready`, () => {
        if (!child || this.#child !== child) throw new Error(`${this.name} ended before it was ready`);
        return this.options.isReady?.() ?? true;
      }, withinMs);
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** kill -9. @returns {Promise<Ended>} */
  kill() {
    return this.end('SIGKILL');
  }
  /** Asks it to end and waits. @param {NodeJS.Signals} signal */
  async end(signal, withinMs = 30_000) {
    if (!this.#child) return this.#ended;
    this.#wanted = false;
    this.signal(signal);
    if (this.#paused && signal !== 'SIGKILL') this.resume();
    return within(`${this.name} ends after ${signal}`, this.#ended, withinMs).catch(async (error) => {
      this.signal('SIGKILL');
      throw this.explain(error);
    });
  }
  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#child?.kill(signal);
  }
  /** Freezes it: it keeps its sockets and answers nobody. */
  pause() {
    this.signal('SIGSTOP');
    this.#paused = this.running;
  }
  resume() {
    this.signal('SIGCONT');
    this.#paused = false;
  }

  /** The newest part of what all runs wrote. */
  get log() {
    const bytesMax = 1 << 20;
    const size = statSync(this.logFile).size;
    const buffer = Buffer.alloc(Math.min(size, bytesMax));
    const file = openSync(this.logFile, 'r');
    readSync(file, buffer, 0, buffer.length, size - buffer.length);
    closeSync(file);
    return buffer.toString('utf8');
  }

  /** The error, with the newest part of the log in its message. @param {any} error */
  explain(error) {
    let tail = '(nothing)';
    try {
      tail = this.log.trimEnd().split('\n').slice(-25).join('\n    ');
    } catch { /* no log yet */ }
    error.message += `\n  ${this.name}, the end of ${this.logFile}:\n    ${tail}`;
    return error;
  }
}
