// What the library hands to its user: messages, states and events. An event says when it fires and when it does not.
import type { Chained, Position } from './chain.js';
import type { Outcome, TertuliaError } from './errors.js';

/** An entry of a room's log. `sequence` is its number in the room: dense, from 1. */
export interface Message extends Chained {
  kind: 'text' | 'image' | 'file';
  method: 'textMessage' | 'imageMessage' | 'fileMessage';
  roomName: string;
  /** `sequence-chain`: what to keep and to give to the next `join` as `lastMessageId`. */
  position: string;
  /** 16 characters of base64url. */
  chain: string;
  /** The sender's, as the sender spelled it; nothing is ordered by it. */
  date: string;
  /** The server's clock before the commit, in ms since 1970; nothing is ordered by it. */
  sentAt: number;
  /** Was it this client's user who said it? */
  own: boolean;
}

/** A contiguous range of a room's log, all of it seen and checked. */
export interface Held {
  /** First sequence held; `to + 1` when only the place is known, and no message. */
  from: number;
  /** Last sequence held. */
  to: number;
  /** The chain at `to`, 16 characters of base64url. */
  chain: string;
  /** `to-chain`. */
  position: string;
}

export interface JoinOptions {
  userName: string;
  /** The secret of an earlier `join`. Without one, a key is made and returned. One client is one user. */
  userKey?: string;
  /**
   * The position up to which the room has been seen: everything after it is delivered. Without: the newest messages.
   * If the server's log never had it, `reset` fires and the newest messages come.
   */
  lastMessageId?: string | null;
  /** At most so many messages at this join, 0 to 1000. What is left out is told by `skipped`. Default: the server's. */
  limit?: number;
  /**
   * At most so many messages when the library comes back by itself after an absence, 0 to 1000; what is left out is told
   * by `skipped`. Default: all of them, however many.
   */
  catchUpLimit?: number;
}

export interface Joined {
  userId: string;
  /** Whoever holds it is this user: keep it, show it to nobody. */
  userKey: string;
  /** The newest position of the log when the join was answered. */
  head: string;
  /** The first sequence that the server still has. */
  oldest: number;
  membersCount: number;
  /** This user's own read marker. */
  read: number;
  messageBytesMax: number;
  serverVersion: string;
  node: string;
}

export interface SendOptions {
  /** 1 to 64 of [A-Za-z0-9_-]; default: 128 random bits. The same uuid in a room is the same message, for ever. */
  uuid?: string;
  /** At most 64 bytes, comes back as it was. Default: the time of queueing, ISO 8601. */
  date?: string;
}

export interface Sent {
  uuid: string;
  position: string;
  sequence: number;
  /** Had the log this message already when the answered send came, because an earlier send of it had arrived? */
  repeated: boolean;
}

/** A message that is queued or sent, and not acked. */
export interface Pending {
  uuid: string;
  text: string;
  date: string;
  /** Was it written to a connection at least once? Then it may be in the log. */
  sent: boolean;
}

export interface HistoryOptions {
  /** Messages before this sequence, exclusive. */
  before?: number;
  /** Messages after this sequence, exclusive. Not together with `before`; with neither: the newest. */
  after?: number;
  /** Default 50; the server gives at most 200. */
  limit?: number;
}

export interface History {
  /** Ascending and contiguous; each one's chain was checked against its predecessor's. */
  messages: Message[];
  /** Are there more in the direction asked for? */
  more: boolean;
}

export interface Member {
  userId: string;
  userName: string;
  /** Read marker. */
  read: number;
}

export interface Members {
  members: Member[];
  total: number;
  /** Give it to the next call as `after`; null at the end. */
  next: string | null;
}

export interface JoinedRoom {
  roomName: string;
  head: string;
  read: number;
  members: number;
}

/**
 * - `idle`: `connect` was not called yet.
 * - `connecting`: a connection is being opened.
 * - `online`: there is an open connection.
 * - `waiting`: there is none; the next attempt comes in `retryInMs`.
 * - `closed`: `close` was called.
 * - `refused`: the server closed with a code that forbids coming back (`closeCode`), for good.
 */
export type ClientPhase = 'idle' | 'connecting' | 'online' | 'waiting' | 'closed' | 'refused';

export interface ClientState {
  phase: ClientPhase;
  /** Of `waiting`. */
  retryInMs?: number;
  /** Attempts since the last successful join. */
  attempt: number;
  /** Of `waiting` and `refused`: the close code that led here. 1005: none was given; 1006: cut, or never opened. */
  closeCode?: number;
}

/**
 * - `idle`: not joined, and not about to be.
 * - `offline`: to be joined as soon as there is a connection.
 * - `joining`: the server is being asked.
 * - `catchingUp`: joined; what was missed is on its way.
 * - `live`: joined and up to date.
 * - `waiting`: the server did not let us in now (`error`); the next try comes in `retryInMs`.
 */
export type RoomPhase = 'idle' | 'offline' | 'joining' | 'catchingUp' | 'live' | 'waiting';

export interface RoomState {
  phase: RoomPhase;
  /** Of `waiting`. */
  retryInMs?: number;
  /** Of `waiting`: why, e.g. `nameTaken` after a reconnection. Of `idle`: why the room was lost, if it was not left. */
  error?: TertuliaError;
}

export interface ClientEvents {
  /** At every change of the client's state. Not when a hand-over to another server goes on unseen beneath it. */
  state: ClientState;
  /** Something went wrong that no promise tells of: the server said what cannot be understood. The client goes on. */
  error: TertuliaError;
}

export interface RoomEvents {
  /**
   * A message of the log, own ones included: n+1 directly after n, each once, its chain checked. Not for what `history`
   * returns. The first message after a join without a position, after `reset` and after `skipped` may have any sequence.
   */
  message: Message;
  /** At every change of the room's state. */
  state: RoomState;
  /**
   * Everything up to the head that the join named has been delivered: what comes now is new. Once per join, so also after
   * each reconnection that had to catch up; not after an unseen hand-over.
   */
  live: { sequence: number };
  /**
   * The log that this client has seen is not the server's any more: everything held of this room has been dropped, and so
   * should what was shown. The newest messages follow.
   */
  reset: { oldest: number; head: string };
  /** Messages between (both exclusive) were left out because of a limit; `history` has them. `held` begins anew behind them. */
  skipped: { after: number; before: number };
  /** Somebody came into the room. Not for oneself, not when somebody was away for a moment, and dropped when there are many. */
  joined: { userId: string; userName: string };
  /** Somebody left the room or has been gone for longer than the grace. Dropped when there are many. */
  left: { userId: string; userName: string };
  /** Joins or leaves were dropped: read the list again. At most once a second. */
  membersChanged: { members: number };
  /** Somebody is typing; it holds for 5 s. Never in rooms above 500 members. */
  typing: { userId: string; userName: string };
  /** Somebody has read up to there. Never in rooms above 500 members. */
  read: { userId: string; sequence: number };
  /** A message of this client was acked. Fires besides the promise of `send`. */
  sent: Sent;
  /** A message of this client failed for good. Fires besides the promise of `send`. */
  failed: { uuid: string; text: string; outcome: Outcome; error: TertuliaError };
  /** Something went wrong that no promise tells of, e.g. a chain that did not fit. The room mends itself. */
  error: TertuliaError;
}

/** What the library needs of a WebSocket: the browser's, Node's (22 and later), and `ws` have it. */
export interface WebSocketLike {
  readonly protocol: string;
  readonly bufferedAmount?: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface Timers {
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(handle: never): void;
}

export interface ClientOptions {
  /** ws:// or wss://, with the path: `wss://chat.example.org/chat`. */
  url: string;
  /** Default: the platform's. Node before 22 has none: give it `ws`. */
  WebSocket?: WebSocketConstructor;
  /** Chance in [0, 1), for jitter only. Default: Math.random. */
  random?: () => number;
  /** Random bytes for keys and uuids. Default: the platform's cryptographic ones. */
  randomBytes?: (count: number) => Uint8Array;
  /** A clock in ms that never goes back, for silence only. Default: performance.now. */
  now?: () => number;
  /** Default: the platform's. */
  timers?: Timers;
  /** A connection that does not open within this is given up. In ms; default 10 000. */
  openTimeoutMs?: number;
  /** Messages that a room's outgoing queue holds. Default 10 000. */
  queueMessagesMax?: number;
  /** Bytes of text that a room's outgoing queue holds. Default 16 MiB. */
  queueBytesMax?: number;
  /** Messages sent on a connection and not answered. Default 64; the server reads on up to 128. */
  windowMessagesMax?: number;
}

export type { Position };
