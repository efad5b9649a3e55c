import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { base64url, base64urlBytes, utf8Length, wellFormed } from '../src/bytes.js';
import { chainNext, chainOfText, chainStart, chainText, parsePosition, userIdOfKey, type Chained } from '../src/chain.js';
import { RoomLog } from '../src/log.js';
import { decode } from '../src/wire.js';
import { Log, seeded } from './world.js';

interface Vectors {
  logs: {
    room: string;
    start: string;
    messages: { sequence: number; previous: string; message: Omit<Chained, 'sequence'>; chain: string }[];
  }[];
  userIds: { userKey: string; userId: string }[];
}

const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/chain.json', import.meta.url), 'utf8'),
) as Vectors;

test('the chain is the one that the shared vectors show', () => {
  let seen = 0;
  for (const log of vectors.logs) {
    let chain = chainStart(log.room);
    assert.equal(chainText(chain), log.start);
    for (const { sequence, previous, message, chain: expected } of log.messages) {
      assert.equal(chainText(chain), previous);
      chain = chainNext(chain, { sequence, ...message });
      assert.equal(chainText(chain), expected, `${log.room} ${sequence}`);
      seen++;
    }
  }
  assert.ok(seen >= 3);
});

test('who holds a key is the user that the shared vectors show', () => {
  assert.ok(vectors.userIds.length > 0);
  for (const { userKey, userId } of vectors.userIds) assert.equal(userIdOfKey(userKey), userId);
});

test('any change of any field changes the chain', () => {
  const text: Chained = {
    sequence: 7,
    method: 'textMessage',
    uuid: 'u',
    userId: '~a',
    userName: 'Ana',
    date: 'd',
    sentAt: 5,
    text: 'hi',
  };
  const file: Chained = { ...text, method: 'fileMessage', fileName: 'f', contentType: 'c', size: 3, sha256: 'ab' };
  const zero = chainStart('room');
  for (const base of [text, file]) {
    const chain = chainText(chainNext(zero, base));
    for (const key of Object.keys(base) as (keyof Chained)[]) {
      if (key === 'text' && base === file) continue;
      const value = base[key];
      const changed = { ...base, [key]: typeof value === 'number' ? value + 1 : key === 'method' ? 'imageMessage' : `${value}x` };
      assert.notEqual(chainText(chainNext(zero, changed as Chained)), chain, key);
    }
  }
});

test('a position is a decimal without leading zeros, a dash and 16 characters', () => {
  const chain = 'AAAAAAAAAAAAAAA-';
  for (const [text, sequence] of [
    [`0-${chain}`, 0],
    [`42-${chain}`, 42],
    [`9007199254740991-${chain}`, 9007199254740991],
  ] as const) {
    assert.deepEqual(parsePosition(text), { sequence, chain });
  }
  for (const text of ['', '42', `-${chain}`, `042-${chain}`, `4.2-${chain}`, `42-${chain}A`, '42-AAAA', `42-${'+'.repeat(16)}`, `9007199254740992-${chain}`]) {
    assert.equal(parsePosition(text), undefined, text);
  }
});

test('base64url and UTF-8 lengths agree with Node', () => {
  const random = seeded(1);
  for (let length = 0; length < 40; length++) {
    const bytes = Uint8Array.from({ length }, () => Math.floor(random() * 256));
    const text = base64url(bytes);
    assert.equal(text, Buffer.from(bytes).toString('base64url'));
    if (length % 3 === 0) assert.deepEqual(base64urlBytes(text), bytes);
  }
  assert.equal(base64urlBytes('AAA='), undefined);
  assert.equal(chainOfText('short'), undefined);
  for (const text of ['', 'a', 'é', '日本', '🍵', 'a🍵b\ud800', '\udc00', '\ud83c']) {
    assert.equal(utf8Length(text), Buffer.byteLength(text), JSON.stringify(text));
  }
});

test('halves of surrogate pairs are replaced, whole ones stay', () => {
  assert.equal(wellFormed('a\ud800b\udc00c🍵'), 'a\ufffdb\ufffdc🍵');
});

test('decoding and checking goes at many thousands of messages a second', () => {
  const log = new Log('busy');
  const count = 20_000;
  for (let i = 0; i < count; i++) log.append({ userId: '~a', userName: 'Ana', uuid: `u${i}`, text: `message ${i} ${'x'.repeat(150)}` });
  const frames = log.frames.map((frame) => JSON.stringify(frame));
  const held = new RoomLog('busy');
  // Processor time, not the clock's: other tests run beside this one.
  const begin = process.cpuUsage();
  for (const frame of frames) {
    const inbound = decode(frame);
    assert.equal(inbound.kind === 'message' && held.offer(inbound.message), 'next');
  }
  const used = process.cpuUsage(begin);
  const seconds = (used.user + used.system) / 1e6;
  console.log(`decoded and checked ${Math.round(count / seconds)} messages a second`);
  assert.equal(held.held?.position, log.position(count));
  assert.ok(count / seconds > 5000, `only ${Math.round(count / seconds)} a second`);
});
