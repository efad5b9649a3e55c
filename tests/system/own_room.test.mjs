// Promise 6: a session reads and writes only the rooms that it has joined.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { fill, Member, texts } from './lib/member.mjs';
import { random } from './lib/random.mjs';
import { withServer } from './lib/server.mjs';
import { newUserKey, Refused } from './lib/v2.mjs';
import { ClassicClient } from './lib/classic.mjs';
import { until } from './lib/until.mjs';

const notMember = -32010, notAuthorised = -32011;

/** Everything one can ask of a room. @param {string} roomName @returns {[string, object][]} */
const requestsOf = (roomName) => [
  ['textMessage', { roomName, text: 'from outside', uuid: randomUUID(), date: '' }],
  ['history', { roomName }],
  ['history', { roomName, after: 0, limit: 200 }],
  ['members', { roomName }],
  ['read', { roomName, sequence: 1 }],
  ['typing', { roomName }],
  ['leaveRoom', { roomName }],
];

test('whatever is asked of a room not joined is refused and has no effect', async () => {
  await withServer({}, async (server) => {
    const insider = await Member.connect(server.address);
    await insider.join('theirs', 'Insider');
    await fill(insider, 'theirs', 3);
    const stranger = await Member.connect(server.address);
    const situations = {
      'without any room': async () => {},
      'in another room': () => stranger.join('mine', 'Stranger'),
      'after leaving it': async () => {
        await stranger.join('theirs', 'Stranger', { limit: 0 });
        await stranger.call('leaveRoom', { roomName: 'theirs' });
      },
    };
    for (const [situation, come] of Object.entries(situations)) {
      await come();
      const told = insider.all.length;
      const requests = requestsOf('theirs');
      for (const [method, params] of requests) {
        await assert.rejects(stranger.call(method, params), (error) => {
          assert.ok(error instanceof Refused);
          assert.equal(error.code, notMember, `${method} ${situation}: ${error.message}`);
          assert.equal(error.data.retryable, false);
          return true;
        });
      }
      // The next of the log is the insider's own, also under the uuid that was refused; nobody types or has read.
      const head = insider.messages('theirs').at(-1).sequence;
      const said = await insider.text('theirs', 'from inside', requests[0][1].uuid);
      assert.deepEqual([said.sequence, said.repeated], [head + 1, false], situation);
      await insider.reaches('theirs', head + 1);
      assert.deepEqual(insider.all.slice(told).filter(({ method }) => method === 'typing' || method === 'read'), []);
    }
    // What was refused did not leak by another way: the stranger has heard nothing of that room.
    assert.deepEqual(stranger.messages('theirs'), []);
  });
});

test('a session is one user: another key is refused, and what a message says of its sender is not believed', async () => {
  await withServer({}, async (server) => {
    const userKey = newUserKey();
    const member = await Member.connect(server.address);
    const { userId } = await member.join('one', 'Ana', { userKey });
    await assert.rejects(member.join('two', 'Ana', { userKey: newUserKey() }), { code: notAuthorised });
    await assert.rejects(member.text('two', 'not in there'), { code: notMember });
    await assert.rejects(member.join('one', 'Ana', { userKey: newUserKey() }), { code: notAuthorised });
    assert.equal((await member.join('two', 'Ana')).userId, userId);
    assert.equal((await member.join('three', 'Ana', { userKey })).userId, userId);
    assert.deepEqual((await member.call('rooms')).rooms.map(({ roomName }) => roomName).sort(), ['one', 'three', 'two']);

    const victim = await Member.connect(server.address);
    const theirs = await victim.join('one', 'Ben');
    const { sequence } = await member.call('textMessage',
      { roomName: 'one', text: 'I am Ben', uuid: randomUUID(), date: '', userId: theirs.userId, userName: 'Ben' });
    await victim.reaches('one', sequence);
    const { params } = victim.messages('one').at(-1);
    assert.deepEqual([params.userId, params.userName], [userId, 'Ana']);
  });
});

test('a classic session speaks for one user, and not for a v2 user', async () => {
  await withServer({}, async (server) => {
    const witness = await Member.connect(server.address);
    const { userId: theirs } = await witness.join('room', 'Witness');
    const classic = new ClassicClient({ address: server.address, userName: 'Classic' });
    try {
      await classic.isConnected();
      await classic.joinRoom('room');
      const say = (roomName, userId, id) => classic.current?.send(JSON.stringify({ jsonrpc: '2.0', method: 'textMessage', id,
        params: { userId, roomName, userName: 'Classic', text: 'stolen', ack: false, uuid: randomUUID(), date: '' } }));
      const asked = [['room', randomUUID(), 'm1', notAuthorised], ['room', theirs, 'm2', undefined], ['elsewhere', classic.userId, 'm3', notMember]];
      for (const [roomName, userId, id] of asked) say(roomName, userId, id);
      await until('all are refused', () => classic.errors.length === asked.length, 10_000, () => classic.errors);
      for (const [, , id, code] of asked) {
        const error = classic.errors.find((each) => each.id === id);
        assert.ok(error, `${id} is not refused`);
        if (code !== undefined) assert.equal(error.code, code, id);
      }
      const { sequence } = await witness.text('room', 'the only one');
      assert.equal(sequence, 1);
      assert.deepEqual(classic.closes, []);
    } finally {
      await classic.stop();
    }
  });
});

test('nobody hears anything of a room that he has not joined, or has left', async () => {
  await withServer({ args: ['--rate-limits', 'off', '--shards', '2'] }, async (server) => {
    const chance = random('rooms');
    const rooms = ['a', 'b', 'c', 'd'];
    const people = [];
    for (let i = 0; i < 8; ++i) {
      const member = await Member.connect(server.address);
      const mine = new Set(rooms.filter((_, at) => (i + at) % 4 < 2));
      for (const roomName of mine) await member.join(roomName, `Person ${i}`);
      people.push({ member, mine });
    }
    // In rounds: each says something, types and reads in its rooms, and some leave one room for another.
    for (let round = 0; round < 12; ++round) {
      await Promise.all(people.map(async ({ member, mine }, i) => {
        if (chance.below(3) === 0) {
          const from = [...mine][0], to = rooms.find((roomName) => !mine.has(roomName));
          mine.delete(from);
          mine.add(to);
          await member.call('leaveRoom', { roomName: from });
          await member.join(to, `Person ${i}`, { limit: 5 });
        }
        const requests = [...mine].flatMap((roomName) => [
          ...texts(roomName, 3, `Person ${i} in ${roomName}`), ['typing', { roomName }], ['read', { roomName, sequence: round }],
        ]);
        for (const { error } of await member.answersTo(member.burst(requests))) assert.equal(error, undefined);
      }));
    }
    let heard = 0;
    for (const { member } of people) {
      // Its own story, in the order of its frames: between the answer to a join and the answer to the leaving.
      const inside = new Set();
      for (const frame of member.all) {
        const asked = frame.method === undefined ? member.asked.get(frame.id) : undefined;
        if (asked?.method === 'joinRoom' && frame.result) inside.add(asked.params.roomName);
        else if (asked?.method === 'leaveRoom' && frame.result) inside.delete(asked.params.roomName);
        else if (frame.params?.roomName !== undefined) {
          ++heard;
          assert.ok(inside.has(frame.params.roomName), `heard of ${frame.params.roomName}: ${JSON.stringify(frame)}`);
        }
      }
    }
    assert.ok(heard > 1_000, `only ${heard} frames`);
  });
});
