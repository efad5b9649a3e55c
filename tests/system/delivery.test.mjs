// A member is a cursor: where delivery begins, what is said of what was left out, and what stands in what place.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { fill, Member, texts } from './lib/member.mjs';
import { assertDense } from './lib/order.mjs';
import { withServer } from './lib/server.mjs';
import { startPosition } from './lib/v2.mjs';

const room = 'room';
const historyCount = 20;
const args = ['--rate-limits', 'off', '--max-messages-history', String(historyCount)];
const invalidParams = -32602, tooMany = -32012, notMember = -32010, uuidReused = -32015;
const isLive = (roomName = room) => ({ method, params }) => method === 'live' && params.roomName === roomName;

/** A room with `count` messages. @returns {Promise<{writer: Member, positions: string[]}>} positions[n-1] is that of n */
async function roomWith(server, count) {
  const writer = await Member.connect(server.address);
  await writer.join(room, 'Writer');
  const positions = await fill(writer, room, count);
  await writer.reaches(room, count);
  return { writer, positions };
}

/** A new member's story up to `live`: what stood between the answer and it. */
async function arrive(server, params, name = `Reader ${randomUUID()}`) {
  const reader = await Member.connect(server.address);
  const head = await reader.join(room, name, params);
  const frames = await reader.hearsUpTo(0, isLive());
  assert.equal(frames[0].result?.head, head.head, 'the answer comes first');
  return { reader, answer: head, frames: frames.slice(1, -1), live: frames.at(-1) };
}

/** Exactly the messages from..to, dense. */
function assertMessages(frames, from, to, what) {
  assert.deepEqual(frames.map(({ method }) => method), Array(Math.max(0, to - from + 1)).fill('textMessage'), what);
  assertDense(frames, from);
}

test('who comes without a past gets the newest `limit`, then `live`', async () => {
  await withServer({ args }, async (server) => {
    const count = 1_100;
    const { positions } = await roomWith(server, count);
    for (const [limit, expected] of [[undefined, historyCount], [0, 0], [1, 1], [999, 999], [1000, 1000]]) {
      const { frames, live, answer } = await arrive(server, { limit });
      assertMessages(frames, count - expected + 1, count, `limit ${limit}`);
      assert.equal(live.params.sequence, count);
      assert.equal(answer.head, positions.at(-1));
    }
    const reader = await Member.connect(server.address);
    for (const limit of [-1, 1001, 1.5, '5'])
      await assert.rejects(reader.join(room, 'Reader', { limit }), { code: invalidParams }, String(limit));
    assert.deepEqual((await reader.call('rooms')).rooms, [], 'a refused join has no effect');
  });
});

test('who comes with a position gets everything after it, or is told what a `limit` left out', async () => {
  await withServer({ args }, async (server) => {
    const count = 700;
    const { positions } = await roomWith(server, count);
    const at = (sequence) => (sequence === 0 ? startPosition(room) : positions[sequence - 1]);
    for (const after of [0, 1, 100, 690, 699, 700]) {
      for (const limit of [undefined, 0, 1, 10, 700 - after, 1000]) {
        const { frames, live } = await arrive(server, { lastMessageId: at(after), limit });
        const what = `after ${after} with limit ${limit}`;
        const isCut = limit !== undefined && count - after > limit;
        const from = isCut ? count - limit + 1 : after + 1;
        if (isCut) {
          const skipped = frames.shift();
          assert.deepEqual([skipped.method, skipped.params], ['skipped', { roomName: room, after, before: from }], what);
        }
        assertMessages(frames, from, count, what);
        assert.equal(live.params.sequence, count, what);
      }
    }
  });
});

test('a position that does not fit is told with `reset`, one that is none is refused', async () => {
  await withServer({ args }, async (server) => {
    const count = 300;
    const { positions } = await roomWith(server, count);
    const chain = (position) => position.slice(position.indexOf('-') + 1);
    const foreign = [
      `${count + 1}-${chain(positions.at(-1))}`, `9007199254740991-${chain(positions[0])}`, `10-${chain(positions[10])}`,
      `1-${chain(startPosition(room))}`, `0-${chain(positions[0])}`, startPosition('another room'), `250-${chain(positions[248])}`,
    ];
    for (const lastMessageId of foreign) {
      const { frames, live, answer } = await arrive(server, { lastMessageId });
      const reset = frames.shift();
      assert.deepEqual([reset.method, reset.params], ['reset', { roomName: room, oldest: 1, head: positions.at(-1) }], lastMessageId);
      assert.equal(answer.head, positions.at(-1));
      assertMessages(frames, count - historyCount + 1, count, lastMessageId);
      assert.equal(live.params.sequence, count);
    }
    const reader = await Member.connect(server.address);
    const malformed = ['', 'x', '5', '-', '5-', `-1-${chain(positions[0])}`, '5-short', `${positions[0]}A`, ` ${positions[0]}`, 5, {}, true,
      `1e1-${chain(positions[9])}`, positions[0].replace('1-', '1_')];
    for (const lastMessageId of malformed)
      await assert.rejects(reader.join(room, 'Reader', { lastMessageId }), { code: invalidParams }, JSON.stringify(lastMessageId));
    assert.deepEqual((await reader.call('rooms')).rooms, []);
  });
});

test('while others write, `live` stands directly behind the head that the answer told', async () => {
  await withServer({ args }, async (server) => {
    const { writer, positions } = await roomWith(server, 400);
    let writing = true;
    const talk = (async () => { while (writing) await fill(writer, room, 50); })();
    try {
      for (let i = 0; i < 25; ++i) {
        const params = [{}, { lastMessageId: positions[i] }, { lastMessageId: positions[i], limit: 7 }, { limit: 0 }][i % 4];
        const { reader, answer, frames, live } = await arrive(server, params);
        const head = Number(answer.head.split('-')[0]);
        assert.equal(live.params.sequence, head);
        const before = frames.filter(({ method }) => method === 'textMessage');
        assertDense(before);
        if (before.length > 0) assert.equal(before.at(-1).sequence, head, `case ${i}`);
        await reader.reaches(room, head + 1);
        assertDense(reader.messages(room), before[0]?.sequence ?? head + 1);
        await reader.close();
      }
    } finally {
      writing = false;
      await talk;
    }
  });
});

test('one connection serves 128 rooms, each dense, and no more', async () => {
  await withServer({ args }, async (server) => {
    const member = await Member.connect(server.address);
    const { userKey } = await member.join('room 0', 'Ana');
    const joins = Array.from({ length: 127 }, (_, i) => ['joinRoom', { roomName: `room ${i + 1}`, userName: 'Ana' }]);
    for (const { error } of await member.answersTo(member.burst(joins))) assert.equal(error, undefined);
    await assert.rejects(member.join('room 128', 'Ana'), { code: tooMany });
    await member.join('room 5', 'Ana');  // joined already: no further room

    const other = await Member.connect(server.address);
    const few = [0, 1, 63, 126, 127].map((i) => `room ${i}`);
    for (const roomName of few) await other.join(roomName, 'Ben');
    const each = few.map((roomName) => texts(roomName, 40, roomName));
    const requests = each[0].flatMap((_, i) => each.map((ofRoom) => ofRoom[i]));  // round robin
    for (const { error } of await other.answersTo(other.burst(requests))) assert.equal(error, undefined);
    for (const roomName of few) {
      await member.reaches(roomName, 40);
      assertDense(member.messages(roomName), 1);
      assert.ok(member.messages(roomName).every(({ params: { text } }) => text.startsWith(`${roomName} `)));
    }
    const { rooms } = await member.call('rooms');
    assert.deepEqual(rooms.map(({ roomName }) => roomName).sort(), Array.from({ length: 128 }, (_, i) => `room ${i}`).sort());
    const busy = rooms.find(({ roomName }) => roomName === 'room 63');
    assert.deepEqual([busy.members, busy.head], [2, member.messages('room 63').at(-1)._id]);

    await member.call('leaveRoom', { roomName: 'room 7' });
    await member.join('room 128', 'Ana', { userKey });
    await assert.rejects(member.join('room 129', 'Ana'), { code: tooMany });
  });
});

test('joining a joined room moves the cursor, back and forth', async () => {
  await withServer({ args }, async (server) => {
    const count = 300;
    const { positions } = await roomWith(server, count);
    const { reader } = await arrive(server, { limit: 0 }, 'Reader');
    for (const after of [0, 250, 10, 299, 300, 150]) {
      const from = reader.all.length;
      await reader.join(room, 'Reader', { lastMessageId: after === 0 ? startPosition(room) : positions[after - 1] });
      const frames = await reader.hearsUpTo(from, isLive());
      assertMessages(frames.slice(1, -1), after + 1, count, `after ${after}`);
    }
    await assert.rejects(reader.join(room, 'Another'), { code: invalidParams });
    // What comes next is the next.
    const { sequence } = await reader.text(room, 'next');
    await reader.reaches(room, sequence);
    assert.equal(reader.messages(room).at(-1).sequence, count + 1);
    assert.equal((await reader.call('members', { roomName: room })).total, 2);
  });
});

test('paging the history both ways covers the log exactly, each message equal to its push', async () => {
  await withServer({ args }, async (server) => {
    const count = 730;
    const { writer } = await roomWith(server, count);
    const log = writer.messages(room);
    for (const limit of [1, 50, 73, 200]) {
      const backwards = [], forwards = [];
      const first = limit === 1 ? count - 20 : 1;  // one at a time: a piece of it says as much
      for (let before, more = true; more && (before ?? Infinity) > first;) {
        const page = await writer.call('history', { roomName: room, before, limit });
        assert.ok(page.messages.length > 0);
        backwards.unshift(...page.messages);
        ({ more } = page);
        before = page.messages[0].sequence;
        if (before === 1) assert.equal(more, false, 'there is nothing before the first');
      }
      assert.deepEqual(backwards, log.slice(first - 1));
      for (let after = first - 1, more = true; more;) {
        const page = await writer.call('history', { roomName: room, after, limit });
        forwards.push(...page.messages);
        ({ more } = page);
        after = forwards.at(-1).sequence;
      }
      assert.deepEqual(forwards, log.slice(first - 1));
    }
    assert.equal((await writer.call('history', { roomName: room })).messages.length, 50);
    const most = await writer.call('history', { roomName: room, limit: 500 });
    assert.deepEqual([most.messages.length, most.more], [200, true]);
    assert.deepEqual(await writer.call('history', { roomName: room, after: count }).then(({ messages, more }) => [messages, more]), [[], false]);
    assert.deepEqual(await writer.call('history', { roomName: room, before: 1 }).then(({ messages, more }) => [messages, more]), [[], false]);
    await assert.rejects(writer.call('history', { roomName: room, before: 5, after: 2 }), { code: invalidParams });
  });
});

test('texts are answered in the order sent, whatever becomes of each', async () => {
  await withServer({ args }, async (server) => {
    const { writer } = await roomWith(server, 10);
    const known = writer.messages(room)[3].params;
    const requests = texts(room, 600);
    // Among them: repeats and conflicts, of what is committed and of what has just been written.
    requests.splice(500, 0, ['textMessage', { ...requests[498][1] }], ['textMessage', { ...requests[499][1], text: 'another' }]);
    requests.splice(200, 0, ['textMessage', { roomName: room, text: known.text, uuid: known.uuid, date: 'later' }]);
    requests.splice(100, 0, ['textMessage', { roomName: room, text: 'another', uuid: known.uuid, date: '' }]);
    const ids = writer.burst(requests);
    const answers = await writer.answersTo(ids);
    assert.deepEqual(answers.map(({ id }) => id), ids);
    const refused = answers.flatMap(({ error }, i) => (error ? [[i, error.code]] : []));
    assert.deepEqual(refused, [[100, uuidReused], [503, uuidReused]]);
    assert.deepEqual(answers.flatMap(({ result }, i) => (result?.repeated ? [i] : [])), [201, 502]);
    await writer.reaches(room, 610);
    const said = writer.messages(room).slice(10).map(({ params: { text } }) => text);
    assert.deepEqual(said, Array.from({ length: 600 }, (_, i) => `text ${i + 1}`));
  });
});

test('what is written in one breath takes effect in that order', async () => {
  await withServer({ args }, async (server) => {
    const member = await Member.connect(server.address);
    const join = ['joinRoom', { roomName: room, userName: 'Ana' }], leave = ['leaveRoom', { roomName: room }];
    const requests = [...texts(room, 1, 'too early'), join, ...texts(room, 50, 'first'), leave, ...texts(room, 1, 'too late'), join,
      ...texts(room, 50, 'second')];
    const ids = member.burst(requests);
    const answers = new Map((await member.answersTo(ids)).map((answer) => [answer.id, answer]));
    const refused = ids.flatMap((id, i) => (answers.get(id).error ? [[i, answers.get(id).error.code]] : []));
    assert.deepEqual(refused, [[0, notMember], [53, notMember]]);
    await member.reaches(room, 100);
    const { messages } = await member.call('history', { roomName: room, limit: 200 });
    assert.deepEqual(messages.map(({ params: { text } }) => text), ['first', 'second'].flatMap((what) => Array.from({ length: 50 }, (_, i) => `${what} ${i + 1}`)));
  });
});
