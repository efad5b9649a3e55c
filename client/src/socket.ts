// Socket is one WebSocket connection: what was asked on it and not answered, and when it was last heard. It never acts by
// itself: opened, frames, end and silence are handed on. After `shut`, or its end, it hands on nothing more.
import type { Timers, WebSocketConstructor, WebSocketLike } from './types.js';
import { encodeRequest, subprotocol, type Params } from './wire.js';

/** What an answer will mean when it comes. */
export type Asked =
  | { for: 'join'; room: string }
  | { for: 'send'; room: string; uuid: string; bytes: number }
  | { for: 'call'; call: Call }
  | { for: 'leave'; done: () => void }
  | { for: 'nothing' };

/** A question that outlives connections: it is asked again until it is answered. */
export interface Call {
  /** The room that must be joined for it; null: any. */
  room: string | null;
  method: string;
  params: Params;
  attempts: number;
  resolve(result: Params): void;
  reject(error: Error): void;
}

export interface SocketHooks {
  opened(): void;
  frame(data: unknown): void;
  closed(code: number): void;
  silent(): void;
}

export const heartbeatDefaultMs = 20_000;
export const silenceHeartbeats = 2.5;
const shutTimeoutMs = 3000;
const lateMs = 1000;

export class Socket {
  /** By request id. */
  readonly asked = new Map<number, Asked>();
  unansweredSends = 0;
  unansweredBytes = 0;
  /** Per room: the request whose answer counts, and the head that the last answer named. */
  readonly joinRequest = new Map<string, number>();
  readonly heads = new Map<string, string>();
  /** Rooms that a newer link has told to begin anew: what comes here is of a past that is gone. */
  readonly muted = new Set<string>();
  sessionId: string | undefined;
  heartbeatMs = heartbeatDefaultMs;

  private ws: WebSocketLike;
  private open = false;
  private ended = false;
  private heardAt: number;
  private watch: unknown;
  private readonly ends: (() => void)[] = [];

  constructor(
    readonly id: number,
    url: string,
    WebSocketClass: WebSocketConstructor,
    private readonly timers: Timers,
    private readonly now: () => number,
    private readonly hooks: SocketHooks,
  ) {
    this.heardAt = now();
    this.ws = new WebSocketClass(url, [subprotocol]);
    this.ws.onopen = () => {
      this.open = true;
      this.heardAt = now();
      this.watchFor(this.silenceMs);
      hooks.opened();
    };
    this.ws.onmessage = (event: { data: unknown }) => {
      this.heardAt = now();
      hooks.frame(event.data);
    };
    this.ws.onclose = (event: { code?: number }) => {
      this.finish();
      hooks.closed(event.code ?? 1006);
    };
    this.ws.onerror = () => {}; // a close follows, and says more
  }

  get protocol(): string {
    return this.ws.protocol;
  }

  get bufferedBytes(): number {
    return this.ws.bufferedAmount ?? 0;
  }

  ask(id: number, method: string, params: Params, asked: Asked): void {
    if (!this.open || this.ended) return;
    this.asked.set(id, asked);
    if (asked.for === 'send') {
      this.unansweredSends++;
      this.unansweredBytes += asked.bytes;
    }
    try {
      this.ws.send(encodeRequest(id, method, params));
    } catch {
      // It is closing: its end comes, and everything unanswered is asked again elsewhere.
    }
  }

  answered(id: number): Asked | undefined {
    const asked = this.asked.get(id);
    this.asked.delete(id);
    if (asked?.for === 'send') {
      this.unansweredSends--;
      this.unansweredBytes -= asked.bytes;
    }
    return asked;
  }

  /** Ends it from here. Nothing is handed on any more; what was written still goes out. */
  shut(code: number, reason: string): void {
    if (this.ended) return;
    const { ws } = this;
    this.stopWatching();
    this.ended = true;
    ws.onopen = null;
    ws.onmessage = null;
    const last = this.timers.setTimeout(() => {
      ws.terminate?.();
      this.finish();
    }, shutTimeoutMs);
    ws.onclose = () => {
      this.timers.clearTimeout(last as never);
      this.finish();
    };
    try {
      ws.close(code, reason);
    } catch {
      ws.terminate?.();
    }
  }

  /** Resolves when the connection is down; at once if it is. */
  down(): Promise<void> {
    return new Promise((resolve) => (this.isDown ? resolve() : this.ends.push(resolve)));
  }

  private isDown = false;

  private finish(): void {
    this.stopWatching();
    this.ended = true;
    this.isDown = true;
    for (const end of this.ends.splice(0)) end();
  }

  private get silenceMs(): number {
    return this.heartbeatMs * silenceHeartbeats;
  }

  private stopWatching(): void {
    if (this.watch !== undefined) this.timers.clearTimeout(this.watch as never);
    this.watch = undefined;
  }

  // One timer, set anew only when it fires: a message costs one look at the clock.
  private watchFor(ms: number, last = false): void {
    const due = this.now() + ms;
    this.watch = this.timers.setTimeout(() => {
      this.watch = undefined;
      if (this.ended) return;
      const now = this.now();
      const left = this.heardAt + this.silenceMs - now;
      // A program that was held up has not listened: what came meanwhile must be read before it counts as silence. Once
      // only, since the timers of a page in the background are always late.
      if (left > 0) this.watchFor(left);
      else if (now - due > lateMs && !last) this.watchFor(lateMs, true);
      else this.hooks.silent();
    }, ms);
  }

  /** The server has named its heartbeat. */
  setHeartbeat(ms: number): void {
    if (ms === this.heartbeatMs || !(ms > 0)) return;
    this.heartbeatMs = ms;
    this.stopWatching();
    this.watchFor(this.silenceMs);
  }
}
