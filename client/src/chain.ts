// The chain: a running hash over a room's log. Whoever holds chain(n) has seen exactly the messages 1 to n that everybody
// else with chain(n) has seen. Pure; the form is docs/protocol.md's.
import { sha256 } from '@noble/hashes/sha2';
import { base64url, base64urlBytes } from './bytes.js';

export const chainBytes = 12;

export interface Position {
  sequence: number;
  /** 16 characters of base64url. */
  chain: string;
}

/** What of a message goes into the chain. */
export interface Chained {
  sequence: number;
  method: string;
  uuid: string;
  userId: string;
  userName: string;
  date: string;
  sentAt: number;
  /** Of a text. */
  text?: string;
  /** Of an image or a file. */
  fileName?: string;
  contentType?: string;
  size?: number;
  sha256?: string;
}

const encoder = new TextEncoder();
let buffer = new Uint8Array(4096);
let used = 0;

function room(bytes: number): void {
  if (used + bytes <= buffer.length) return;
  const larger = new Uint8Array(Math.max(buffer.length * 2, used + bytes));
  larger.set(buffer.subarray(0, used));
  buffer = larger;
}

function ascii(text: string): void {
  room(text.length);
  for (let i = 0; i < text.length; i++) buffer[used++] = text.charCodeAt(i);
}

// A field is its length in bytes, ':', its bytes, ','. Short ASCII, which nearly all fields are, goes the short way.
function field(text: string): void {
  if (text.length <= 64) {
    let plain = true;
    for (let i = 0; plain && i < text.length; i++) plain = text.charCodeAt(i) < 0x80;
    if (plain) {
      ascii(`${text.length}:${text},`);
      return;
    }
  }
  const bytes = encoder.encode(text);
  ascii(`${bytes.length}:`);
  room(bytes.length + 1);
  buffer.set(bytes, used);
  used += bytes.length;
  buffer[used++] = 0x2c;
}

/** chain(0): the place before the room's first message. */
export function chainStart(roomName: string): Uint8Array {
  return sha256(encoder.encode(`tertulia:${roomName}`)).slice(0, chainBytes);
}

/** chain(n) from chain(n−1) and message n. */
export function chainNext(previous: Uint8Array, message: Chained): Uint8Array {
  used = 0;
  room(chainBytes);
  buffer.set(previous, 0);
  used = chainBytes;
  field(String(message.sequence));
  field(message.method);
  field(message.uuid);
  field(message.userId);
  field(message.userName);
  field(message.date);
  field(String(message.sentAt));
  if (message.method === 'textMessage') {
    field(message.text ?? '');
  } else {
    field(message.method === 'imageMessage' ? '' : (message.fileName ?? ''));
    field(message.contentType ?? '');
    field(String(message.size ?? 0));
    field(message.sha256 ?? '');
  }
  return sha256(buffer.subarray(0, used)).slice(0, chainBytes);
}

export function chainText(chain: Uint8Array): string {
  return base64url(chain);
}

export function chainOfText(text: string): Uint8Array | undefined {
  return text.length === 16 ? base64urlBytes(text) : undefined;
}

export function positionText(position: Position): string {
  return `${position.sequence}-${position.chain}`;
}

/** Undefined unless it is a decimal sequence without leading zeros, '-', and 16 characters of base64url. */
export function parsePosition(text: string): Position | undefined {
  const match = /^(0|[1-9][0-9]{0,15})-([A-Za-z0-9_-]{16})$/.exec(text);
  if (!match) return undefined;
  const sequence = Number(match[1]);
  return Number.isSafeInteger(sequence) ? { sequence, chain: match[2]! } : undefined;
}

/** '~' and the first 22 characters of base64url(SHA-256(user key)): who holds the key is this user. */
export function userIdOfKey(userKey: string): string {
  return `~${base64url(sha256(encoder.encode(userKey))).slice(0, 22)}`;
}
