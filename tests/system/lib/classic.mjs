// An existing client of the reference system, as docs/protocol.md tells how it behaves (its library, version 3.2.0): scripted
// faults and all. What it must never meet is written down in `violations`; a test ends with looking there.
//
// What it does, and a well-made client would not:
// - it connects when it is made; what is asked of it while its socket is still connecting is lost, but a text is kept;
// - before every send it writes all its unacked messages again;
// - every socket it ever opened is opened again a while after it closed, for ever, and only the newest is used;
// - on a socket opened again it says `reconnect`, also when no room was ever joined, and all unacked messages with it;
// - its position is the oldest that it holds, of whatever room; it learns none from its own messages.
import { EventEmitter } from 'node:events';
import { randomUUID } from 'node:crypto';
import { WebSocketPeer } from './websocket.mjs';
import { until } from './until.mjs';

/**
 * @typedef {{jsonrpc: string, method: string, id: string|number, sequence: number, _id: string,
 *   params: {userId: string, roomName: string, userName: string, text: string, ack: boolean, uuid: string,
 *   date: string, sentAt: number}}} Push a message as the server sends it
 */

export class ClassicClient extends EventEmitter {
  #stopped = false;
  #nextId = 1;
  /** @type {Set<NodeJS.Timeout>} */ #timers = new Set();
  /** @type {Map<string|number, {kind: string, resolve: (result: string) => void, reject: (error: Error) => void}>} */
  #joins = new Map();

  /**
   * @param {{address: {host?: string, port: number} | (() => {host?: string, port: number}), userId?: string,
   *   userName: string, reconnectAfterMs?: number, localAddress?: string, autoPong?: boolean}} options
   *   reconnectAfterMs: 5000 in the original.
   */
  constructor(options) {
    super();
    this.options = options;
    this.userName = options.userName;
    this.userId = options.userId ?? randomUUID();
    this.roomName = '';
    /** Written and not yet acked, in the order sent: uuid → the frame. @type {Map<string, string>} */
    this.pending = new Map();
    /** Own messages that came back with ack, in that order: repeats of old ones may overtake each other. @type {Push[]} */
    this.acked = [];
    /** All uuids in the order sent. @type {string[]} */
    this.sent = [];
    /** Others' messages, each once: uuid → the push. Where its position comes from. @type {Map<string, Push>} */
    this.received = new Map();
    /** Every message event raised, repeats too. @type {{socket: number, push: Push}[]} */
    this.events = [];
    /** The pushes by their text: who comes back is told everything again, and that often. @type {Map<string, Push>} */
    this.pushes = new Map();
    /** @type {string[]} */ this.newUsers = [];
    /** Errors about anything. @type {{code: number, message: string, id: unknown}[]} */
    this.errors = [];
    /** How each of its sockets ended. @type {{code: number, reason: string}[]} */
    this.closes = [];
    /** What breaks such a client. @type {string[]} */
    this.violations = [];
    /** @type {Set<WebSocketPeer>} */ this.open = new Set();
    /** @type {WebSocketPeer|undefined} The newest, if it is open. */ this.current = undefined;
    this.socketsOpened = 0;
    this.#connect(false);
  }

  get connected() {
    return this.current !== undefined;
  }

  /** The oldest position it holds, of whatever room. */
  get lastMessageId() {
    for (const push of this.received.values()) return push._id;
    return null;
  }

  /**
   * @param {string} roomName
   * @returns {Promise<string>} "OK"; rejects with the error; for ever undecided where the original would never know
   */
  joinRoom(roomName) {
    this.roomName = roomName;
    return this.#request('joinRoom', { lastMessageId: null });
  }

  /** @param {string} text @returns {string} its uuid */
  sendText(text) {
    const uuid = randomUUID();
    const { userId, roomName, userName } = this;
    const params = { userId, roomName, userName, text, ack: false, uuid, date: new Date().toISOString() };
    const before = [...this.pending.values()];
    const frame = JSON.stringify({ jsonrpc: '2.0', method: 'textMessage', params, id: this.#nextId++ });
    this.pending.set(uuid, frame);
    this.sent.push(uuid);
    this.current?.sendAll([...before, frame]);
    return uuid;
  }

  /** Own messages of a room that are acked, in the order sent. @param {string} roomName */
  ackedIn(roomName) {
    const pushes = new Map(this.acked.map((push) => [push.params.uuid, push]));
    return this.sent.map((uuid) => pushes.get(uuid)).filter((push) => push?.params.roomName === roomName);
  }
  /** Own and others' messages of a room, each once, in the order in which they came first. @param {string} roomName */
  heard(roomName) {
    const seen = new Set();
    return this.events
      .map((event) => event.push)
      .filter((push) => push.params.roomName === roomName && !seen.has(push.params.uuid) && seen.add(push.params.uuid));
  }

  /** @param {number} [withinMs] */
  async allAcked(withinMs = 20_000) {
    const left = () => ({ pending: this.pending.size, oldest: [...this.pending.values()].slice(0, 12).map((frame) => JSON.parse(frame).params.text.slice(0, 40)), errors: this.errors.slice(-3), closes: this.closes.slice(-3) });
    await until(`${this.userName} has nothing unacked`, () => this.pending.size === 0, withinMs, left);
  }
  /** @param {number} [withinMs] */
  async isConnected(withinMs = 20_000) {
    await until(`${this.userName} is connected`, () => this.connected, withinMs);
  }

  /** A script that blocks: nothing is read, no ping answered, until release(). */
  block() {
    for (const peer of this.open) peer.stopReading();
  }
  release() {
    for (const peer of this.open) peer.startReading();
  }

  /** The page is closed. @param {number} [code] */
  async stop(code = 1001) {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    const open = [...this.open];
    for (const peer of open) peer.close(code);
    const late = setTimeout(() => open.forEach((peer) => peer.cut()), 5_000);
    await Promise.all(open.map((peer) => peer.closed));
    clearTimeout(late);
  }

  /** @param {string} method @param {object} more @returns {Promise<string>} */
  #request(method, more) {
    const { userId, userName, roomName } = this;
    const id = this.#nextId++;
    const promise = new Promise((resolve, reject) => this.#joins.set(id, { kind: method, resolve, reject }));
    promise.catch(() => {});  // also in `errors`
    this.current?.send(JSON.stringify({ jsonrpc: '2.0', method, params: { userId, userName, roomName, ...more }, id }));
    return /** @type {Promise<string>} */ (promise);
  }

  /** @param {boolean} again */
  async #connect(again) {
    const { address, localAddress, autoPong } = this.options;
    let peer;
    try {
      const to = typeof address === 'function' ? address() : address;
      peer = await WebSocketPeer.connect({ ...to, localAddress, autoPong });
    } catch {
      this.#connectLater();
      return;
    }
    if (this.#stopped) {
      peer.cut();
      return;
    }
    const number = this.socketsOpened++;
    this.open.add(peer);
    this.current = peer;
    peer.on('text', (text) => this.#take(number, text));
    peer.on('close', (how) => {
      this.closes.push(how);
      this.open.delete(/** @type {WebSocketPeer} */ (peer));
      if (this.current === peer) this.current = undefined;
      this.#connectLater();
    });
    if (again) {
      void this.#request('reconnect', { sessionId: 'of no use', lastMessageId: this.lastMessageId });
      peer.sendAll([...this.pending.values()]);
    }
    this.emit('connected');
  }

  #connectLater() {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#connect(true);
    }, this.options.reconnectAfterMs ?? 5_000);
    timer.unref();  // a test that failed ends, although its clients would go on for ever
    this.#timers.add(timer);
  }

  /** @param {number} socket @param {string} text */
  #take(socket, text) {
    const said = JSON.parse(text);
    if (said.jsonrpc !== '2.0') this.violations.push(`no JSON-RPC: ${text}`);
    if ('error' in said) {
      this.errors.push({ ...said.error, id: said.id });
      const join = this.#joins.get(said.id);
      this.#joins.delete(said.id);
      // eslint-disable-next-line eqeqeq -- as loosely as they do
      if (join) join.reject(Object.assign(new Error(said.error.message), { code: said.error.code, isTaken: said.error.code == '-32001' }));
    } else if ('result' in said) {
      const join = this.#joins.get(said.id);
      this.#joins.delete(said.id);
      if (!join) this.violations.push(`a response that was not asked for: ${text}`);
      else if (said.result == 'OK') {
        join.resolve(said.result);
        this.emit('joined');
      } else this.violations.push(`not OK: ${text}`);
    } else if (said.method === 'newUser') {
      if ('id' in said) this.violations.push(`newUser with an id: ${text}`);
      this.newUsers.push(said.params.text);
    } else if (said.method === 'textMessage') {
      this.#message(socket, said, text);
    } else if (said.method === 'reconnect') {
      // It would open one more socket, and have two for ever.
      this.violations.push(`asked to reconnect: ${text}`);
      void this.#connect(true);
    } else {
      this.violations.push(`unknown: ${text}`);
    }
  }

  /** @param {number} socket @param {Push} push @param {string} text */
  #message(socket, push, text) {
    const { uuid, userId, ack } = push.params;
    const known = this.pushes.get(text);
    if (known) push = known;
    else this.pushes.set(text, push);
    if (push.id === undefined || ack !== true || typeof push._id !== 'string') this.violations.push(`no push: ${text}`);
    this.events.push({ socket, push });
    if (userId === this.userId) {
      if (this.pending.delete(uuid)) this.acked.push(push);
    } else if (!this.received.has(uuid)) {
      this.received.set(uuid, push);
    }
    this.emit('message', push);
  }
}
