// Stands between one node and what it depends on, and takes the network away: in one direction, in both, or cleanly.
// Bytes that cannot go on wait in their sockets as they would in a network that lost its way: after healing they come
// late, or never.
import net from 'node:net';
import { freePort } from './program.mjs';

/** @typedef {'there'|'back'} Way there: to the server. back: to the node */

export class FaultProxy {
  /** @type {Set<{near: net.Socket, far: net.Socket|undefined, isEnded: boolean, join: () => void}>} */ #pairs = new Set();
  /** @type {Set<Way>} */ #shut = new Set();
  /** @type {net.Server|undefined} */ #server;
  port = 0;
  /** How often something was really held up: bytes that waited, or a connection that got no further. */ held = 0;
  /** Connections cut. */ cut = 0;
  /** Bytes that got through. @type {Record<Way, number>} */ passed = { there: 0, back: 0 };

  /** @param {{host?: string, port: number}} target */
  constructor(target) {
    this.target = { host: '127.0.0.1', ...target };
  }

  /** @param {{host?: string, port: number}} target @returns {Promise<FaultProxy>} */
  static async start(target) {
    const proxy = new FaultProxy(target);
    proxy.port = await freePort();
    proxy.#server = net.createServer({ pauseOnConnect: true }, (near) => proxy.#take(near));
    await new Promise((done, failed) => {
      proxy.#server?.once('error', failed).listen(proxy.port, '127.0.0.1', () => done(undefined));
    });
    proxy.#server.unref();
    return proxy;
  }

  get isWhole() {
    return this.#shut.size === 0;
  }
  get connections() {
    return this.#pairs.size;
  }

  #take(near) {
    const pair = { near, far: undefined, isEnded: false, join: () => this.#join(pair, end('back')) };
    this.#pairs.add(pair);
    near.setNoDelay(true);
    // The end of one side is told to the other, unless the way there is shut: then after healing.
    const end = (/** @type {Way} */ way) => () => {
      if (this.#shut.has(way)) pair.isEnded = true;
      else this.#drop(pair);
    };
    near.on('error', () => {}).on('close', end('there'));
    // Whoever comes while a way is shut has a connection that leads nowhere, as with a network that drops packets.
    if (this.isWhole) pair.join();
    else ++this.held;
  }

  #drop(pair) {
    if (!this.#pairs.delete(pair)) return;
    pair.near.destroy();
    pair.far?.destroy();
  }

  #join(pair, farEnded) {
    const { near } = pair;
    const far = net.connect(this.target);
    pair.far = far;
    far.setNoDelay(true);
    far.on('error', () => {}).on('close', farEnded);
    this.#pump(near, far, 'there');
    this.#pump(far, near, 'back');
    this.#apply(pair);
  }

  /** Hands on what comes, unless the way is shut: then it stays in the kernel, and behind that with its sender. */
  #pump(from, to, way) {
    from.on('data', (bytes) => {
      if (this.#shut.has(way)) {  // was on its way here when the way was shut
        ++this.held;
        from.pause();
        from.unshift(bytes);
        return;
      }
      this.passed[way] += bytes.length;
      if (!to.write(bytes)) from.pause();
    });
    to.on('drain', () => { if (!this.#shut.has(way)) from.resume(); });
    from.on('end', () => to.end());
  }

  #apply(pair) {
    const { near, far } = pair;
    if (!far) return;
    for (const [from, way] of /** @type {[net.Socket, Way][]} */ ([[near, 'there'], [far, 'back']])) {
      if (this.#shut.has(way)) from.pause();
      else from.resume();
    }
  }

  /** Takes ways away until heal(). @param {Way[]} ways */
  shut(ways) {
    this.#shut = new Set(ways);
    for (const pair of this.#pairs) this.#apply(pair);
    this.held += this.#pairs.size;
  }

  /** @param {{late: boolean}} how late: what waited comes now; else the connections are cut, and it never comes */
  heal({ late }) {
    this.#shut.clear();
    for (const pair of [...this.#pairs]) {
      if (!late || pair.isEnded) this.#cutPair(pair);
      else if (pair.far) this.#apply(pair);
      else pair.join();
    }
  }

  /** Cuts all connections; new ones are taken at once. */
  cutAll() {
    for (const pair of [...this.#pairs]) this.#cutPair(pair);
  }
  #cutPair(pair) {
    ++this.cut;
    this.#drop(pair);
  }

  close() {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far?.destroy();
    }
    this.#server?.close();
  }
}
