import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from 'tertulia-client';
import { Memory } from '../src/memory.js';
import { Outbound } from '../src/outgoing.js';
import { People } from '../src/people.js';
import { Timeline, rowsOf } from '../src/timeline.js';
import { dayOf, initialsOf, lineOf, otherName, toneOf, wrongWithName } from '../src/words.js';
import { message, range, sequences } from './world.js';

const of = (from: number, to: number): Message[] => range(from, to).map((sequence) => message(sequence));

test('the timeline shows n+1 directly after n, and a repeat not at all', () => {
  const timeline = new Timeline(10);
  for (const each of [...of(5, 7), ...of(6, 9)]) timeline.append(each, true);
  assert.deepEqual(sequences(timeline.messages), range(5, 9));
  assert.ok(timeline.hasOlder);
});

test('a message behind a gap begins anew', () => {
  const timeline = new Timeline(10);
  for (const each of [...of(1, 3), message(9)]) timeline.append(each, true);
  assert.deepEqual(sequences(timeline.messages), [9]);
});

test('who follows sees the newest and never more than the most', () => {
  const timeline = new Timeline(10);
  for (const each of of(1, 1000)) timeline.append(each, true);
  assert.deepEqual(sequences(timeline.messages), range(991, 1000));
  assert.ok(timeline.hasOlder && timeline.atEnd);
});

test('under who reads further up nothing moves, and the rest is read on the way down', () => {
  const timeline = new Timeline(10);
  for (const each of of(1, 14)) timeline.append(each, each.sequence <= 10);
  assert.deepEqual(sequences(timeline.messages), range(1, 10));
  assert.ok(!timeline.atEnd);
  assert.ok(timeline.extend(of(11, 13), 14));
  assert.deepEqual(sequences(timeline.messages), range(4, 13));
  assert.ok(!timeline.atEnd);
  assert.ok(timeline.extend(of(14, 14), 14));
  assert.ok(timeline.atEnd);
});

test('older pages let go of the newest, and a page that does not fit is not taken', () => {
  const timeline = new Timeline(10);
  for (const each of of(21, 28)) timeline.append(each, true);
  assert.ok(!timeline.prepend(of(10, 19), true, 28));
  assert.ok(timeline.prepend(of(15, 20), true, 28));
  assert.deepEqual(sequences(timeline.messages), range(15, 24));
  assert.ok(!timeline.atEnd);
  timeline.append(message(29), true);
  assert.deepEqual(sequences(timeline.messages), range(15, 24));
  timeline.replace(of(20, 28), true, 29);
  assert.ok(!timeline.atEnd);
  timeline.replace(of(20, 29), true, 29);
  assert.ok(timeline.atEnd);
});

test('rows: one head a group; a line above what is new; a note where it was noted', () => {
  const said = [message(4), message(5), message(6, { userId: '~b' }), message(7, { userId: '~b' }), message(8, { userId: '~b' })];
  const rows = rowsOf(said, [{ key: 'n', after: 6, text: 'x' }], 7);
  assert.deepEqual(
    rows.map((row) => (row.kind === 'note' ? 'note' : `${row.message.sequence}${row.head ? ' head' : ''}${row.line ? ' new' : ''}`)),
    ['4 head', '5', '6 head', 'note', '7 head', '8 head new'],
  );
  const far = rowsOf([message(1), message(2, { sentAt: message(1).sentAt + 6 * 60_000 })], [], null);
  assert.ok(far.every((row) => row.kind === 'message' && row.head));
});

test('who came in before anything was said is shown', () => {
  const note = { key: 'n', after: 0, text: 'x' };
  assert.deepEqual(rowsOf([], [note], null).map(({ key }) => key), ['n']);
  assert.deepEqual(rowsOf(of(1, 1), [note], null).map(({ kind }) => kind), ['note', 'message']);
  assert.deepEqual(rowsOf(of(5, 5), [note], null).map(({ kind }) => kind), ['message']);
});

test('the line "new" does not stand inside an older page whose first message is new', () => {
  assert.deepEqual(rowsOf(of(5, 6), [], 9).map((row) => row.kind === 'message' && row.line), [false, false]);
  assert.deepEqual(rowsOf(of(11, 12), [], 9).map((row) => row.kind === 'message' && row.line), [true, false]);
});

test('what is on its way out keeps its order; a retry stands behind what was said since', () => {
  const outbound = new Outbound();
  for (const uuid of ['a', 'b', 'c']) outbound.add(uuid, uuid, '');
  outbound.failed('a', 'why');
  assert.deepEqual(outbound.waiting.map(({ uuid }) => uuid), ['b', 'c']);
  outbound.again('a');
  assert.deepEqual(outbound.waiting.map(({ uuid }) => uuid), ['b', 'c', 'a']);
  outbound.delivered('b');
  assert.deepEqual(outbound.all.map(({ uuid }) => uuid), ['c', 'a']);
});

test('an acked message is shown until the log shows it', () => {
  const outbound = new Outbound();
  outbound.add('a', 'a', '');
  outbound.acked('a', 7, 6);
  assert.equal(outbound.all.length, 1);
  assert.equal(outbound.waiting.length, 0);
  outbound.settle(7);
  assert.equal(outbound.all.length, 0);
});

test('people: a list that is bounded, a number that is not', () => {
  const people = new People(2);
  people.read([{ userId: '~b', userName: 'Bo', read: 0 }, { userId: '~a', userName: 'Al', read: 0 }], 5);
  people.joined('~c', 'Cy');
  assert.deepEqual(people.shown.map(({ userName }) => userName), ['Al', 'Bo']);
  assert.equal(people.total, 6);
  assert.equal(people.hidden, 4);
  people.joined('~a', 'Al');
  assert.equal(people.total, 6);
  people.left('~a');
  people.left('~z');
  assert.deepEqual([people.shown.length, people.total], [1, 4]);
});

class Shelf {
  readonly kept = new Map<string, string>();
  full = false;
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (this.full) throw new Error('full');
    this.kept.set(key, value);
  }
}

const key = 'k'.repeat(43);

test('the browser remembers one key, and per room name and position; the newest fifty rooms', () => {
  const shelf = new Shelf();
  const memory = new Memory(shelf);
  memory.userKey = key;
  for (let i = 0; i < 60; i++) memory.note(`room ${i}`, { userName: 'Ana', position: `${i}-${'c'.repeat(16)}`, here: true });
  memory.note('room 20', { here: false });
  const again = new Memory(shelf);
  assert.equal(again.userKey, key);
  assert.equal(again.roomNames.length, 50);
  assert.equal(again.roomNames[0], 'room 20');
  assert.deepEqual(again.room('room 20'), { userName: 'Ana', position: `20-${'c'.repeat(16)}`, here: false });
  assert.equal(again.room('room 1'), undefined);
});

test('a room may be called as a property of an object', () => {
  const memory = new Memory(new Shelf());
  assert.equal(memory.room('__proto__'), undefined);
  memory.note('__proto__', { userName: 'Ana' });
  assert.equal(memory.room('__proto__')?.userName, 'Ana');
  assert.equal(memory.room('constructor'), undefined);
});

test('what is spoilt is forgotten, and a full or forbidden shelf remembers for as long as the page lives', () => {
  const shelf = new Shelf();
  shelf.kept.set('tertulia.key', 'short');
  for (const spoilt of ['{', '{}', '[1]', '[["x"]]', 'null', '[["x",{"userName":1}]]']) {
    shelf.kept.set('tertulia.rooms', spoilt);
    assert.deepEqual(new Memory(shelf).roomNames, [], spoilt);
  }
  shelf.kept.set('tertulia.rooms', '[["x",{"userName":"Ana","position":"-1-x"}]]');
  assert.equal(new Memory(shelf).room('x')?.position, null);
  assert.equal(new Memory(shelf).userKey, undefined);
  shelf.full = true;
  for (const memory of [new Memory(shelf), new Memory(null)]) {
    memory.userKey = key;
    memory.note('y', { userName: 'Bo' });
    assert.equal(memory.userKey, key);
    assert.equal(memory.room('y')?.userName, 'Bo');
  }
});

test('the line says what is, and how long', () => {
  const waiting = { phase: 'waiting', attempt: 2, retryInMs: 4000 } as const;
  assert.equal(lineOf(waiting, { phase: 'offline' }, true, 3200).text, 'Reconnecting in 4 s');
  assert.ok(lineOf(waiting, { phase: 'offline' }, true, 3200).retry);
  assert.equal(lineOf(waiting, undefined, true, -5).text, 'Reconnecting in 1 s');
  assert.equal(lineOf(waiting, undefined, false, 1).text, 'You are offline.');
  assert.equal(lineOf({ phase: 'online', attempt: 0 }, { phase: 'live' }, true, 0).tone, 'none');
  assert.equal(lineOf({ phase: 'refused', attempt: 0 }, { phase: 'idle' }, true, 0).tone, 'bad');
});

test('names: what is wrong with one, and one that is likely free', () => {
  assert.equal(wrongWithName('Ana', 'name'), '');
  assert.equal(wrongWithName('> * ../', 'room'), '');
  for (const bad of ['', 'x'.repeat(65), '😀'.repeat(65), 'a\u0000', 'a\u202eb']) assert.notEqual(wrongWithName(bad, 'name'), '', bad);
  assert.equal(wrongWithName('😀'.repeat(64), 'name'), '');
  assert.deepEqual(['Ana', 'Ana 2', 'R2D2', '42', 'x'.repeat(64)].map(otherName), ['Ana 2', 'Ana 3', 'R2D 3', '42 2', 'Guest 2']);
});

test('days, initials and tones', () => {
  const now = new Date(2026, 2, 1, 12).getTime();
  assert.equal(dayOf(now - 3600e3, now), 'Today');
  assert.equal(dayOf(new Date(2026, 1, 28, 23, 59).getTime(), now), 'Yesterday');
  assert.equal(dayOf(new Date(2026, 0, 5).getTime(), now), 'Monday, January 5');
  assert.equal(dayOf(new Date(2025, 0, 5).getTime(), now), 'January 5, 2025');
  assert.deepEqual(['ana', 'Bruno Díaz', ' 😀 x y ', ''].map(initialsOf), ['A', 'BD', '😀Y', '']);
  const tones = new Set(range(1, 500).map((i) => toneOf(`~${i}`)));
  assert.deepEqual([...tones].sort((a, b) => a - b), range(0, 11));
});
