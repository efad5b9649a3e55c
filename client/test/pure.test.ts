import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoomLog } from '../src/log.js';
import { Outbox, outcomeOf } from '../src/outbox.js';
import { decode, readMessage } from '../src/wire.js';
import type { Message } from '../src/types.js';
import { Log } from './world.js';

function messages(count: number, room = 'sala', fork = Infinity): Message[] {
  const log = new Log(room);
  for (let i = 1; i <= count; i++) {
    log.append({ userId: '~a', userName: 'Ana', uuid: `u${i}`, text: i >= fork ? `other ${i}` : `m${i}` });
  }
  return log.frames.map((frame) => readMessage(frame)!);
}

const ours = messages(2000);
const theirs = messages(2000, 'sala', 6);

function holding(from: number, to: number): RoomLog {
  const log = new RoomLog('sala');
  for (let n = from; n <= to; n++) assert.equal(log.offer(ours[n - 1]!), 'next');
  return log;
}

test('a log takes the next message only, and only of its own past', () => {
  const rows: [string, () => RoomLog, Message, string][] = [
    ['the first of an empty log', () => new RoomLog('sala'), ours[4]!, 'next'],
    ['a first message 1 is checked against the room', () => new RoomLog('other'), ours[0]!, 'mismatch'],
    ['the next', () => holding(1, 4), ours[4]!, 'next'],
    ['the same again', () => holding(1, 5), ours[4]!, 'repeat'],
    ['an older one', () => holding(1, 5), ours[1]!, 'repeat'],
    ['one before what is held', () => holding(3, 5), ours[0]!, 'repeat'],
    ['the one after the next', () => holding(1, 5), ours[6]!, 'gap'],
    ['the next of another past', () => holding(1, 6), theirs[6]!, 'mismatch'],
    ['the last of another past', () => holding(1, 6), theirs[5]!, 'mismatch'],
    ['an older one of another past', () => holding(1, 9), theirs[6]!, 'mismatch'],
    ['the next with a text that was changed', () => holding(1, 4), { ...ours[4]!, text: 'x' }, 'mismatch'],
  ];
  for (const [what, make, message, verdict] of rows) {
    const log = make();
    const before = log.held;
    assert.equal(log.offer(message), verdict, what);
    if (verdict !== 'next') assert.deepEqual(log.held, before, what);
  }
});

test('a log begins after a position, and knows the past that it proves', () => {
  const log = new RoomLog('sala');
  assert.equal(log.startAfter('nonsense'), false);
  assert.equal(log.startAfter(ours[4]!.position), true);
  assert.deepEqual(log.held, { from: 6, to: 5, chain: ours[4]!.chain, position: ours[4]!.position });
  assert.equal(log.offer(theirs[6]!), 'gap');
  assert.equal(log.offer(ours[5]!), 'next');
  assert.deepEqual([log.held!.from, log.held!.to], [6, 6]);
});

test('settling says whether the head was reached, and fixes an empty log there', () => {
  assert.equal(holding(1, 5).settle(ours[4]!.position), 'next');
  assert.equal(holding(1, 7).settle(ours[4]!.position), 'next');
  assert.equal(holding(1, 4).settle(ours[4]!.position), 'gap');
  assert.equal(holding(1, 6).settle(theirs[5]!.position), 'mismatch');
  assert.equal(holding(1, 8).settle(theirs[5]!.position), 'mismatch');
  assert.equal(holding(1, 8).settle('x'), 'mismatch');
  const empty = new RoomLog('sala');
  assert.equal(empty.settle(ours[4]!.position), 'next');
  assert.equal(empty.offer(theirs[5]!), 'next'); // message 6 of both continues 5
  assert.equal(empty.offer(ours[6]!), 'mismatch');
});

test('a page must hold together and lead to what is held', () => {
  const page = (from: number, to: number, of = ours): Message[] => of.slice(from - 1, to);
  const after5 = (): RoomLog => {
    const log = new RoomLog('sala');
    log.startAfter(ours[4]!.position);
    return log;
  };
  const rows: [string, RoomLog, Message[], boolean, number][] = [
    ['nothing', holding(9, 10), [], true, 9],
    ['directly before', holding(9, 10), page(4, 8), true, 4],
    ['from the beginning', holding(9, 10), page(1, 8), true, 1],
    ['elsewhere before', holding(9, 10), page(2, 5), true, 9],
    ['over what is held', holding(9, 10), page(7, 10), true, 9],
    ['with a hole', holding(9, 10), [...page(4, 5), ...page(7, 8)], false, 9],
    ['turned around', holding(9, 10), page(4, 8).reverse(), false, 9],
    ['with a changed text', holding(9, 10), [ours[3]!, { ...ours[4]!, text: 'x' }, ...page(6, 8)], false, 9],
    ['elsewhere, with a changed text', holding(9, 10), [ours[1]!, { ...ours[2]!, text: 'x' }, ours[3]!], false, 9],
    ['of another past', holding(9, 10), page(6, 8, theirs), false, 9],
    ['of another past, over what is held', holding(9, 10), page(7, 10, theirs), false, 9],
    ['before a position', after5(), page(2, 5), true, 2],
    ['before a position, of another past', after5(), [...page(1, 4), { ...ours[4]!, chain: theirs[5]!.chain }], false, 6],
    ['a forged first message', new RoomLog('sala'), [{ ...ours[0]!, text: 'x' }], false, 0],
  ];
  for (const [what, log, messages, holds, from] of rows) {
    assert.equal(log.page(messages), holds, what);
    assert.equal(log.held?.from ?? 0, from, what);
  }
});

test('an old repeat beyond what is remembered is still a repeat', () => {
  const log = holding(1, 2000);
  assert.equal(log.offer(ours[3]!), 'repeat');
  assert.equal(log.offer(theirs[1500]!), 'mismatch');
});

test('on each link the queue goes out in order, and what is unacked is in front', () => {
  const box = new Outbox(10, 1000);
  for (const uuid of ['a', 'b', 'c']) assert.ok(box.push(uuid, uuid, '', 1));
  let request = 0;
  const send = (link: number): string | undefined => {
    const entry = box.next(link);
    if (entry) box.sent(entry, ++request, link);
    return entry?.uuid;
  };
  assert.deepEqual([send(1), send(1)], ['a', 'b']);
  assert.deepEqual([send(2), send(2), send(2), send(2)], ['a', 'b', 'c', undefined]);
  box.acked('b');
  assert.deepEqual([send(1), send(1)], ['c', undefined]);
  assert.equal(box.acked('b'), undefined);
  box.forget(2);
  box.forget(1);
  assert.deepEqual([send(1), send(1), send(1)], ['a', 'c', undefined]);
});

test('a refusal decides only if nothing else may still be answered', () => {
  const box = new Outbox(10, 1000);
  box.push('a', 'a', '', 1);
  const entry = box.next(1)!;
  box.sent(entry, 1, 1);
  box.sent(entry, 2, 2);
  assert.deepEqual(box.refused('a', 1), { kind: 'undecided' });
  assert.deepEqual(box.refused('a', 1), { kind: 'stale' });
  assert.deepEqual(box.refused('a', 2), { kind: 'refused', entry, outcome: 'none' });
  assert.deepEqual(box.refused('a', 2), { kind: 'stale' });
  assert.equal(box.count, 0);

  box.push('b', 'b', '', 1);
  const lost = box.next(1)!;
  assert.equal(outcomeOf(lost), 'none');
  box.sent(lost, 3, 1);
  assert.equal(outcomeOf(lost), 'unknown');
  box.forget(1);
  box.sent(lost, 4, 2);
  assert.deepEqual(box.refused('b', 4), { kind: 'refused', entry: lost, outcome: 'unknown' });
});

test('the queue is bounded, and room that is freed can be used', () => {
  const box = new Outbox(2, 10);
  assert.ok(box.push('a', '', '', 6));
  assert.ok(!box.push('b', '', '', 5));
  assert.ok(box.push('b', '', '', 4));
  assert.ok(!box.push('c', '', '', 0));
  box.acked('a');
  assert.ok(box.push('c', '', '', 6));
  assert.deepEqual(box.take((entry) => entry.uuid === 'b').map((entry) => entry.uuid), ['b']);
  assert.ok(box.push('d', '', '', 4));
});

test('whatever comes in is one of five kinds', () => {
  const push = new Log('sala');
  push.append({ userId: '~a', userName: 'Ana', uuid: 'u', text: 't' });
  const frame = push.frames[0]!;
  const file = {
    ...frame,
    method: 'fileMessage',
    params: { ...(frame['params'] as object), fileName: 'f', fileContents: '', size: 3, contentType: 'c', sha256: 's' },
  };
  const rows: [unknown, string][] = [
    [frame, 'message'],
    [file, 'message'],
    [{ ...file, method: 'imageMessage' }, 'message'],
    [{ ...frame, sequence: 2 }, 'nonsense'],
    [{ ...frame, _id: '1-x' }, 'nonsense'],
    [{ ...frame, params: { ...(frame['params'] as object), text: 5 } }, 'nonsense'],
    [{ ...file, params: { ...(file['params'] as object), size: '3' } }, 'nonsense'],
    [{ jsonrpc: '2.0', result: { status: 'OK' }, id: 3 }, 'answer'],
    [{ jsonrpc: '2.0', result: 'OK', id: 3 }, 'nonsense'],
    [{ jsonrpc: '2.0', error: { code: -32600, message: 'm' }, id: null }, 'failure'],
    [{ jsonrpc: '2.0', error: {}, id: 3 }, 'failure'],
    [{ jsonrpc: '2.0', method: 'heartbeat', params: {} }, 'notice'],
    [{ jsonrpc: '2.0', method: '__proto__' }, 'notice'],
    [{ jsonrpc: '2.0', method: 'constructor' }, 'notice'],
    [null, 'nonsense'],
    [[], 'nonsense'],
    ['x', 'nonsense'],
  ];
  for (const [value, kind] of rows) assert.equal(decode(JSON.stringify(value)).kind, kind, JSON.stringify(value));
  assert.equal(decode('{').kind, 'nonsense');
  assert.equal(decode(new ArrayBuffer(2)).kind, 'nonsense');
});
