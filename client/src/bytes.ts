// Bytes and texts: base64url, UTF-8 lengths, random identifiers.
import { randomBytes } from '@noble/hashes/utils';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const values = new Int8Array(128).fill(-1);
for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;

/** Without padding, as everywhere on the wire. */
export function base64url(bytes: Uint8Array): string {
  let out = '';
  let i = 0;
  for (; i + 2 < bytes.length; i += 3) {
    const n = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    out += alphabet[n >> 18]! + alphabet[(n >> 12) & 63]! + alphabet[(n >> 6) & 63]! + alphabet[n & 63]!;
  }
  const left = bytes.length - i;
  if (left === 1) {
    const n = bytes[i]!;
    out += alphabet[n >> 2]! + alphabet[(n << 4) & 63]!;
  } else if (left === 2) {
    const n = (bytes[i]! << 8) | bytes[i + 1]!;
    out += alphabet[n >> 10]! + alphabet[(n >> 4) & 63]! + alphabet[(n << 2) & 63]!;
  }
  return out;
}

/** The bytes of a text whose length is a multiple of 4; undefined if a character is foreign. */
export function base64urlBytes(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const out = new Uint8Array((text.length / 4) * 3);
  for (let i = 0, o = 0; i < text.length; i += 4) {
    let n = 0;
    for (let j = 0; j < 4; j++) {
      const code = text.charCodeAt(i + j);
      const value = code < 128 ? values[code]! : -1;
      if (value < 0) return undefined;
      n = (n << 6) | value;
    }
    out[o++] = n >> 16;
    out[o++] = (n >> 8) & 255;
    out[o++] = n & 255;
  }
  return out;
}

/** How many bytes this text is in UTF-8. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code < 0x800) bytes += 1;
    else if (code >= 0xd800 && code <= 0xdbff && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2;
      i++;
    } else bytes += 2;
  }
  return bytes;
}

/** Replaces what a server does not read at all: halves of surrogate pairs, which no UTF-8 can carry, and NUL. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}|\u0000/gu, '\ufffd');
}

export type RandomBytes = (count: number) => Uint8Array;
export const systemRandomBytes: RandomBytes = (count) => randomBytes(count);

/** 128 random bits: nobody else's message has it. */
export function makeUuid(random: RandomBytes): string {
  const hex = Array.from(random(16), (b) => b.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** 256 random bits: the secret that makes its holder a user. */
export function makeUserKey(random: RandomBytes): string {
  return base64url(random(32));
}
