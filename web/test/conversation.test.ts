import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { TertuliaError, type Message } from 'tertulia-client';
import { Conversation } from '../src/conversation.js';
import { FakeRoom, message, own, range, sequences, turns } from './world.js';

const position = (sequence: number): string => `${sequence}-${'c'.repeat(16)}`;
const of = (from: number, to: number): Message[] => range(from, to).map((sequence) => message(sequence));
const open: Conversation[] = [];

function world() {
  const room = new FakeRoom();
  const heard: Message[] = [];
  const told: string[] = [];
  let clock = 0;
  let uuids = 0;
  const conversation = new Conversation(
    room,
    { changed: () => {}, waits: () => {}, heard: (each) => heard.push(each), told: (text) => told.push(text) },
    () => `uuid-${uuids++}`,
    () => clock,
  );
  open.push(conversation);
  return { room, conversation, heard, told, pass: (ms: number) => (clock += ms), texts: () => conversation.outbound.all.map(({ text }) => text) };
}

afterEach(() => {
  for (const conversation of open.splice(0)) conversation.end();
});

test('a newcomer sees the newest, hears nothing of it, and reads upwards to the first', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.head = 150;
  w.room.deliver(...of(51, 150));
  w.room.live();
  assert.deepEqual([w.heard.length, w.conversation.unseen, w.conversation.lineAfter], [0, 0, null]);
  assert.equal(w.room.askedCount, 0);
  const reading = w.conversation.older();
  void w.conversation.older(); // while a page is read no other is
  assert.equal(w.room.askedCount, 1);
  await w.room.answer();
  await reading;
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(1, 150));
  assert.ok(!w.conversation.timeline.hasOlder);
});

test('who returns with a position and missed nothing still sees what was said before', async () => {
  const w = world();
  w.room.head = 100;
  await w.conversation.join('me', undefined, position(100));
  w.room.live();
  await w.room.answer();
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(41, 100));
  assert.equal(w.conversation.lineAfter, null);
  w.room.deliver(message(101));
  assert.deepEqual(sequences(w.heard), [101]);
});

test('who returns and missed something sees a line above it', async () => {
  const w = world();
  w.room.head = 105;
  await w.conversation.join('me', undefined, position(100));
  w.room.deliver(...of(101, 105));
  w.room.live();
  assert.equal(w.conversation.lineAfter, 100);
  await w.room.answer();
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(41, 105));
  w.conversation.send('hello');
  assert.equal(w.conversation.lineAfter, null);
});

test('a message that comes while the page before it is read is shown behind it', async () => {
  const w = world();
  w.room.head = 10;
  await w.conversation.join('me', undefined, position(10));
  w.room.live();
  w.room.deliver(message(11));
  await w.room.answer();
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(1, 11));
});

test('after a reset nothing of the former past is shown, also not a page that was on its way', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.deliver(...of(71, 170));
  w.room.live();
  void w.conversation.older();
  w.room.held = null;
  w.room.head = 50;
  w.room.emit('reset', { oldest: 1, head: position(50) });
  w.room.deliver(...of(49, 50));
  await w.room.answer();
  assert.deepEqual(sequences(w.conversation.timeline.messages), [49, 50]);
  assert.ok(w.conversation.wentBack);
  assert.equal(w.told.length, 1);
  assert.equal(w.conversation.reading, 'no');
});

test('what was skipped can be read upwards from what follows', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.deliver(...of(1, 10));
  w.room.live();
  w.room.head = 2000;
  w.room.emit('skipped', { after: 10, before: 1901 });
  w.room.held = null;
  w.room.deliver(...of(1901, 2000));
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(1901, 2000));
  void w.conversation.older();
  await w.room.answer();
  assert.deepEqual(sequences(w.conversation.timeline.messages), range(1841, 2000));
});

test('who reads further up comes back to the newest without a gap', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.head = 1000;
  w.room.deliver(...of(901, 1000));
  w.room.live();
  w.conversation.setFollowing(false);
  for (let i = 0; i < 6; i++) {
    void w.conversation.older();
    await w.room.answer();
  }
  const { timeline } = w.conversation;
  assert.equal(timeline.messages.length, 300);
  assert.ok(!timeline.atEnd);
  w.room.deliver(...of(1001, 1003));
  assert.equal(w.conversation.unseen, 3);
  void w.conversation.newer(); // the reader scrolls, and then does not want to wait
  const coming = w.conversation.toEnd();
  w.room.deliver(message(1004)); // while the newest are read
  w.conversation.setFollowing(true); // the view scrolls down at once
  assert.equal(w.conversation.unseen, 4);
  await w.room.answer();
  await coming;
  assert.ok(timeline.atEnd);
  assert.equal(timeline.last?.sequence, 1004);
  assert.equal(w.conversation.unseen, 0);
  const all = sequences(timeline.messages);
  assert.deepEqual(all, range(all[0]!, 1004));
});

test('what is said is shown as queued, until it comes in the log', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.live();
  w.conversation.send('one');
  w.conversation.send('two');
  assert.deepEqual(w.room.sent.map(({ text }) => text), ['one', 'two']);
  assert.deepEqual(w.texts(), ['one', 'two']);
  w.room.deliver(message(1, { userId: own, uuid: 'uuid-0' }));
  assert.deepEqual(w.texts(), ['two']);
  assert.equal(w.heard.length, 0);
  w.room.emit('sent', { uuid: 'uuid-1', position: position(2), sequence: 2, repeated: false });
  assert.deepEqual(w.texts(), ['two']); // acked, and not shown in the log yet
  w.room.deliver(message(2, { userId: own, uuid: 'uuid-1' }));
  assert.deepEqual(w.texts(), []);
});

test('a text is too long when its frame is, however it is written', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  for (const [text, bytes] of [['a', 1], ['é', 2], ['"', 2], ['\n', 2], ['\u0001', 6], ['😀', 4]] as const) {
    const most = Math.floor((65536 - 300) / bytes);
    assert.equal(w.conversation.tooLongBy(text.repeat(most)), 0, JSON.stringify(text));
    assert.ok(w.conversation.tooLongBy(text.repeat(most + 300)) > 0, JSON.stringify(text));
  }
});

test('what failed stays with its reason, and is sent again as the same message', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.conversation.send('one');
  const error = new TertuliaError('refused', 'no', { outcome: 'none' });
  w.room.emit('failed', { uuid: 'uuid-0', text: 'one', outcome: 'none', error });
  assert.equal(w.conversation.outbound.all[0]?.state, 'failed');
  w.conversation.retry('uuid-0');
  assert.deepEqual(w.room.sent.map(({ uuid }) => uuid), ['uuid-0', 'uuid-0']);
  assert.equal(w.conversation.outbound.all[0]?.state, 'queued');
  w.conversation.remove('uuid-0');
  assert.deepEqual(w.texts(), []);
});

test('under another name what waited goes out first, as the same messages, in its order', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.deliver(...of(1, 3));
  w.conversation.send('one');
  w.conversation.send('two');
  await w.conversation.stepOut();
  assert.deepEqual(w.conversation.outbound.all.map(({ state }) => state), ['queued', 'queued']);
  await w.conversation.join('other', undefined, w.conversation.heldPosition ?? null);
  w.conversation.send('three');
  assert.equal(w.room.joins[1]?.lastMessageId, position(3));
  assert.deepEqual(w.room.sent.map(({ uuid }) => uuid), ['uuid-0', 'uuid-1', 'uuid-2']);
});

test('leaving waits for what is not sent yet; coming back before stays', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.conversation.send('one');
  const first = w.conversation.leave(1000);
  await turns();
  assert.equal(w.room.left, 0);
  w.conversation.stay();
  w.room.ackAll();
  assert.equal(await first, false);
  assert.equal(w.room.left, 0);
  assert.equal(await w.conversation.leave(1000), true);
  assert.equal(w.room.left, 1);
  assert.equal(w.room.listenersCount, 0);
});

test('who looks away finds a line above what came meanwhile', async () => {
  const w = world();
  await w.conversation.join('me', undefined, null);
  w.room.deliver(...of(1, 3));
  w.room.live();
  assert.equal(w.conversation.seenPosition, position(3));
  w.conversation.setLooking(false);
  assert.equal(w.conversation.seenPosition, undefined);
  w.conversation.setLooking(true); // nothing came
  assert.equal(w.conversation.lineAfter, null);
  w.conversation.setLooking(false);
  w.room.deliver(...of(4, 5));
  assert.equal(w.conversation.unseen, 2);
  w.conversation.setLooking(true);
  assert.deepEqual([w.conversation.lineAfter, w.conversation.unseen], [3, 0]);
  assert.equal(w.conversation.seenPosition, position(5));
});

test('who was here before the connection was lost does not seem to come in when the server is back', async () => {
  const w = world();
  w.room.membersNow = { members: [{ userId: '~b', userName: 'Bo', read: 0 }], total: 1, next: null };
  await w.conversation.join('me', undefined, null);
  w.room.live();
  w.conversation.people.read(w.room.membersNow.members, 1);
  w.room.phase('offline');
  w.conversation.people.read([], 0);
  w.room.live();
  w.pass(5000);
  w.room.emit('joined', { userId: '~b', userName: 'Bo' });
  assert.deepEqual(w.conversation.notes, []);
  assert.ok(w.conversation.people.has('~b'));
  w.room.emit('left', { userId: '~b', userName: 'Bo' });
  w.pass(60_000);
  w.room.emit('joined', { userId: '~b', userName: 'Bo' });
  assert.deepEqual(w.conversation.notes.map(({ text }) => text), ['Bo left', 'Bo came in']);
});
