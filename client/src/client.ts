// Client is one user's way to a server: rooms over one connection that comes back by itself.
import { makeUserKey, makeUuid, systemRandomBytes, type RandomBytes } from './bytes.js';
import { userIdOfKey } from './chain.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { TertuliaError } from './errors.js';
import { clientPhase, type MachineState } from './machine.js';
import { Room, type RoomHost } from './room.js';
import type { ClientEvents, ClientOptions, ClientState, JoinedRoom, Timers, WebSocketConstructor } from './types.js';
import { numberOf, stringOf, type Params } from './wire.js';

const openTimeoutDefaultMs = 10_000;
const queueMessagesDefault = 10_000;
const queueBytesDefault = 16 << 20;
const windowMessagesDefault = 64;

export class Client extends Emitter<ClientEvents> {
  private readonly connection: Connection;
  private readonly rooms_ = new Map<string, Room>();
  private readonly randomBytes: RandomBytes;
  private readonly timers: Timers;
  private readonly now: () => number;
  private readonly queueMessagesMax: number;
  private readonly queueBytesMax: number;
  private key: string | undefined;
  private id: string | undefined;
  private current: ClientState = { phase: 'idle', attempt: 0 };
  private readonly connecting: { resolve(): void; reject(error: TertuliaError): void }[] = [];
  private opened = false;

  /** Throws `invalid` if the address is no WebSocket address or there is no WebSocket to use. */
  constructor(options: ClientOptions) {
    super();
    const WebSocketClass =
      options.WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket as WebSocketConstructor | undefined;
    if (!WebSocketClass) {
      throw new TertuliaError('invalid', 'this platform has no WebSocket: pass one, e.g. new Client({url, WebSocket: ws})');
    }
    let address: URL;
    try {
      address = new URL(options.url);
    } catch {
      throw new TertuliaError('invalid', `${JSON.stringify(options.url)} is no address`);
    }
    if (address.protocol !== 'ws:' && address.protocol !== 'wss:') {
      throw new TertuliaError('invalid', `${options.url} does not begin with ws:// or wss://`);
    }
    this.randomBytes = options.randomBytes ?? systemRandomBytes;
    this.timers = options.timers ?? {
      setTimeout: (callback, ms) => setTimeout(callback, ms),
      clearTimeout: (handle) => clearTimeout(handle),
    };
    this.now = options.now ?? (() => performance.now());
    this.queueMessagesMax = options.queueMessagesMax ?? queueMessagesDefault;
    this.queueBytesMax = options.queueBytesMax ?? queueBytesDefault;
    this.connection = new Connection(
      {
        url: options.url,
        WebSocket: WebSocketClass,
        timers: this.timers,
        now: this.now,
        random: options.random ?? Math.random,
        openTimeoutMs: options.openTimeoutMs ?? openTimeoutDefaultMs,
        windowMessagesMax: options.windowMessagesMax ?? windowMessagesDefault,
      },
      {
        userId: () => this.id,
        onOpened: () => this.onOpened(),
        onError: (error) => this.emit('error', error),
        onState: (state, retryInMs) => this.onState(state, retryInMs),
        onEnd: (state) => this.onEnd(state),
      },
    );
  }

  get state(): ClientState {
    return this.current;
  }

  /** Who this client is, from the first `join` on. */
  get user(): { userId: string; userKey: string } | null {
    return this.key !== undefined && this.id !== undefined ? { userId: this.id, userKey: this.key } : null;
  }

  /** The newest connection's session, a secret: uploads carry it. Undefined while nothing is joined. */
  get sessionId(): string | undefined {
    return this.connection.sessionId;
  }

  /**
   * Connects, and comes back by itself until `close`. Resolves at the first open connection, however long that takes;
   * rejects with `serverRefuses` or `closed`.
   */
  connect(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      const { phase } = this.connection.state;
      if (phase === 'closed' || phase === 'refused') throw new TertuliaError('closed', 'the client is closed');
      if (this.opened) return resolve();
      this.connecting.push({ resolve, reject });
      this.connection.dispatch({ on: 'connect' });
    });
    promise.catch(() => {});
    return promise;
  }

  /** While `waiting`: tries now. For a button, and for when the network is back. */
  retryNow(): void {
    this.connection.dispatch({ on: 'retryNow' });
  }

  /** The room of this name: always the same object. */
  room(name: string): Room {
    let room = this.rooms_.get(name);
    if (!room) {
      room = new Room(name, this.host(), this.queueMessagesMax, this.queueBytesMax);
      this.rooms_.set(name, room);
    }
    return room;
  }

  /** The rooms that this client's session has joined, as the server sees it. Waits for a connection with a joined room. */
  async rooms(): Promise<JoinedRoom[]> {
    const result = await this.connection.call(null, 'rooms', {});
    return (Array.isArray(result['rooms']) ? (result['rooms'] as Params[]) : []).map((each) => ({
      roomName: stringOf(each, 'roomName'),
      head: stringOf(each, 'head'),
      read: numberOf(each, 'read'),
      members: numberOf(each, 'members'),
    }));
  }

  /**
   * Ends, for good: leaves all rooms cleanly and closes. What is pending fails with `closed` (`flush` first). Resolves when
   * the connection is down, at the latest after 3 s.
   */
  close(): Promise<void> {
    this.connection.dispatch({ on: 'close' });
    return this.connection.down();
  }

  private host(): RoomHost {
    return {
      connection: this.connection,
      timers: this.timers,
      now: this.now,
      adopt: (userKey) => this.adopt(userKey),
      adoptMade: (userKey) => this.setKey(userKey),
      userKey: () => this.key!,
      userId: () => this.id,
      makeUuid: () => makeUuid(this.randomBytes),
    };
  }

  // The key is made here, not left to the server: if the first join's answer is lost, the next try is still the same user,
  // and its name is not taken by a ghost of its own.
  private adopt(userKey: string | undefined): string {
    if (userKey !== undefined && !/^[A-Za-z0-9_-]{43}$/.test(userKey)) {
      throw new TertuliaError('invalid', 'a user key is 43 characters of base64url');
    }
    if (this.key === undefined) this.setKey(userKey ?? makeUserKey(this.randomBytes));
    else if (userKey !== undefined && userKey !== this.key) {
      throw new TertuliaError('notAuthorised', 'this client is another user already: one client is one user');
    }
    return this.key!;
  }

  private setKey(userKey: string): void {
    this.key = userKey;
    this.id = userIdOfKey(userKey);
  }

  private onOpened(): void {
    this.opened = true;
    for (const waiting of this.connecting.splice(0)) waiting.resolve();
  }

  private onState(state: MachineState, retryInMs: number | undefined): void {
    const next: ClientState = { phase: clientPhase(state), attempt: state.attempt };
    if (retryInMs !== undefined) next.retryInMs = retryInMs;
    if (state.closeCode !== null && (next.phase === 'waiting' || next.phase === 'refused')) next.closeCode = state.closeCode;
    const { phase, attempt } = this.current;
    const same = next.phase === phase && (next.phase !== 'waiting' || next.attempt === attempt);
    this.current = next;
    if (!same) this.emit('state', next);
  }

  private onEnd(state: MachineState): void {
    const error =
      state.phase === 'refused'
        ? new TertuliaError('serverRefuses', 'the server asks not to come back', { closeCode: state.closeCode ?? 0 })
        : new TertuliaError('closed', 'the client was closed');
    for (const waiting of this.connecting.splice(0)) waiting.reject(error);
  }
}
