// Promises of DESIGN.md 3 on one node that need no kill: names, own rooms, invisible leaving, where delivery begins, one
// order for all, and the reads and signals around them.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { assertDense, assertOneLog } from './lib/order.mjs';
import { long, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';
import { V2Client, newUserKey, startPosition } from './lib/v2.mjs';

const connect = (server) => V2Client.connect(server.address);
/** A member, with its own key if none is given. */
async function member(server, roomName, userName, more = {}) {
  const client = await connect(server);
  client.joined = await client.join(roomName, userName, more);
  return client;
}
/** Writes `count` messages, as many at a time as a session may have waiting. */
async function fill(client, roomName, count, text = (i) => `message ${i}`) {
  for (let i = 0; i < count; i += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - i) }, (_, k) => client.text(roomName, text(i + k))));
  }
}
const sequences = (messages) => messages.map((each) => each.sequence);
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const kinds = (client) => client.told.map((each) => each.method).filter((each) => !['userJoined', 'userLeft', 'heartbeat', 'membersChanged'].includes(each));

describe('a name is one user’s', () => {
  test('of fifty who want it at once, one gets it', () =>
    withServer({}, async (server) => {
      const clients = await Promise.all(range(1, 50).map(() => connect(server)));
      for (let round = 1; round <= 5; ++round) {
        const spelled = ['Ana', 'ana', 'ANA', ' Ana ', 'Ａｎａ'];
        const outcomes = await Promise.allSettled(clients.map((client, i) => client.join(`race ${round}`, spelled[i % 5])));
        const won = outcomes.filter((each) => each.status === 'fulfilled');
        assert.equal(won.length, 1, `round ${round}`);
        for (const each of outcomes) if (each.status === 'rejected') assert.equal(each.reason.code, -32001);
        assert.equal((await clients[outcomes.findIndex((each) => each.status === 'fulfilled')].call('members', { roomName: `race ${round}` })).total, 1);
      }
      for (const client of clients) client.close();
    }));

  test('it is free at once after a clean leave: leaveRoom, 1000, 1001', () =>
    withServer({}, async (server) => {
      const watcher = await member(server, 'plaza', 'Watcher');
      for (const leave of [(c) => c.call('leaveRoom', { roomName: 'plaza' }), (c) => c.close(1000), (c) => c.close(1001)]) {
        const first = await member(server, 'plaza', 'Ana');
        await watcher.hears('userJoined', (params) => params.userId === first.joined.userId);
        await leave(first);
        const second = await connect(server);
        // The close frame is read by another thread than the join.
        await until('the name is free', () => second.join('plaza', 'Ana').then(() => true, (error) => assert.equal(error.code, -32001)), 2_000);
        await second.close();
      }
      await watcher.close();
    }));

  test('after an unclean end it waits for its user, who has then neither left nor joined', () =>
    withServer({ args: ['--name-grace', '3s'] }, async (server) => {
      const started = performance.now();
      await until('the grace after the start is over', () => performance.now() - started > 3_000);
      const watcher = await member(server, 'plaza', 'Watcher');
      const userKey = newUserKey();
      const first = await member(server, 'plaza', 'Ana', { userKey });
      await first.text('plaza', 'before');
      await first.reaches('plaza', 1);
      await first.cut();
      const other = await connect(server);
      await assert.rejects(other.join('plaza', 'Ana'), (error) => {
        assert.equal(error.code, -32001);
        return true;
      });
      const back = await member(server, 'plaza', 'Ana', { userKey, lastMessageId: first.messages('plaza')[0]._id });
      await back.text('plaza', 'after');
      await watcher.reaches('plaza', 2);
      const aboutAna = watcher.told.filter((each) => ['userJoined', 'userLeft'].includes(each.method) && each.params.userId === first.joined.userId);
      assert.deepEqual(aboutAna.map((each) => each.method), ['userJoined']);
      // And when he does not come back, it is anybody's.
      await back.cut();
      await watcher.hears('userLeft', (params) => params.userId === first.joined.userId);
      await other.join('plaza', 'Ana');
      for (const client of [watcher, other]) await client.close();
    }));

  test('a reload (1001) frees the name but is not shown to the others if he comes back', () =>
    withServer({ args: ['--name-grace', '2s'] }, async (server) => {
      const watcher = await member(server, 'plaza', 'Watcher');
      const userKey = newUserKey();
      const first = await member(server, 'plaza', 'Ana', { userKey });
      await first.close(1001);
      const again = await member(server, 'plaza', 'Ana', { userKey });
      await again.text('plaza', 'back');
      await watcher.reaches('plaza', 1);
      assert.deepEqual(watcher.heard('userLeft'), []);
      assert.equal(watcher.heard('userJoined').length, 1);
      await again.close(1000);
      await watcher.hears('userLeft');
      await watcher.close();
    }));
});

describe('own room only', () => {
  test('nobody hears or reads a room he has not joined, or has left', () =>
    withServer({}, async (server) => {
      const [ana, bo] = [await member(server, 'plaza', 'Ana'), await member(server, 'market', 'Bo')];
      await ana.text('plaza', 'for the plaza');
      await bo.text('market', 'for the market');
      await bo.reaches('market', 1);
      assert.deepEqual(bo.messages('plaza'), []);
      for (const [method, params] of [['history', {}], ['members', {}], ['read', { sequence: 1 }], ['typing', {}], ['leaveRoom', {}],
        ['textMessage', { text: 'x', uuid: 'x', date: '' }]]) {
        await assert.rejects(bo.call(method, { roomName: 'plaza', ...params }), { code: -32010 }, method);
      }
      await bo.join('plaza', 'Bo', { limit: 0 });
      await ana.text('plaza', 'both hear this');
      await bo.reaches('plaza', 2);
      await bo.call('leaveRoom', { roomName: 'plaza' });
      await ana.text('plaza', 'Bo has left');
      await ana.reaches('plaza', 3);
      await bo.call('ping');
      assert.deepEqual(sequences(bo.messages('plaza')), [2]);
      assert.deepEqual((await bo.call('rooms')).rooms.map((each) => each.roomName), ['market']);
      await Promise.all([ana.close(), bo.close()]);
    }));

  test('several rooms on one connection, each with its own order', () =>
    withServer({}, async (server) => {
      const client = await connect(server);
      const names = range(1, 20).map((i) => `room ${i}`);
      for (const name of names) await client.join(name, 'Ana');
      for (let i = 0; i < 10; ++i) await Promise.all(names.map((name) => client.text(name, `${name}: ${i}`)));
      for (const name of names) {
        await client.reaches(name, 10);
        assert.deepEqual(sequences(client.messages(name)), range(1, 10));
        assert.ok(client.messages(name).every((each, i) => each.params.text === `${name}: ${i}`));
      }
      const { rooms } = await client.call('rooms');
      assert.deepEqual(rooms.map((each) => [each.roomName, each.head.split('-')[0], each.members]).sort(), names.map((name) => [name, '10', 1]).sort());
      await client.close();
    }));
});

describe('leaving is invisible', () => {
  test('in a drain v2 members are told, stay until the deadline, are closed with 1012, and nothing is lost', () =>
    withServer({ args: ['--drain-window', '2s'] }, async (server) => {
      const keys = range(1, 10).map(() => newUserKey());
      const clients = await Promise.all(keys.map((userKey, i) => member(server, 'plaza', `user ${i}`, { userKey })));
      await fill(clients[0], 'plaza', 20);
      const early = await connect(server);  // no member yet
      server.signal('SIGTERM');
      const told = await Promise.all(clients.map((client) => client.hears('reconnect')));
      for (const { afterMs, deadlineMs, reason } of told) {
        assert.ok(afterMs >= 0 && afterMs < deadlineMs && deadlineMs <= 2_000, JSON.stringify({ afterMs, deadlineMs }));
        assert.equal(reason, 'drain');
      }
      assert.ok(Math.max(...told.map((each) => each.afterMs)) >= 600, 'spread over the window');
      // No other node is there: writing goes on, joins are refused, and new connections find the door shut.
      await assert.rejects(early.join('plaza', 'late'), (error) => error.code === -32016 && error.data.retryable);
      await clients[1].text('plaza', 'in the drain');
      const refused = await connect(server).then(() => assert.fail('let in'), (error) => error);
      assert.equal(refused.status, 503);
      assert.match(refused.head, /^Retry-After: \d+$/im);
      const closes = await Promise.all(clients.map((client) => client.closed));
      assert.ok(closes.every((how) => how.code === 1012 && how.byServer), JSON.stringify(closes));
      assert.equal((await server.ended).code, 0);

      await server.start();
      const back = await Promise.all(keys.map((userKey, i) =>
        member(server, 'plaza', `user ${i}`, { userKey, lastMessageId: clients[i].messages('plaza').at(-1)._id })));
      await back[0].text('plaza', 'after the drain');
      for (const [i, client] of back.entries()) {
        await client.reaches('plaza', 22);
        assertDense([...clients[i].messages('plaza'), ...client.messages('plaza')], 1);
        assert.deepEqual(client.heard('reset'), []);
      }
      for (const client of back) client.close();
    }));

  test('who opens the new connection before the old one ends hears everything once on each, and has never left', () =>
    withServer({}, async (server) => {
      const watcher = await member(server, 'plaza', 'Watcher');
      const userKey = newUserKey();
      const old = await member(server, 'plaza', 'Ana', { userKey });
      await fill(watcher, 'plaza', 10);
      await old.reaches('plaza', 10);
      const next = await member(server, 'plaza', 'Ana', { userKey, lastMessageId: old.messages('plaza')[4]._id });
      await fill(watcher, 'plaza', 10);
      await Promise.all([old.reaches('plaza', 20), next.reaches('plaza', 20)]);
      await old.close(1000);
      await watcher.text('plaza', 'the last');
      await next.reaches('plaza', 21);
      assertDense(old.messages('plaza'), 1);
      assertDense(next.messages('plaza'), 6);
      assertOneLog(old.messages('plaza'), next.messages('plaza'));
      assert.equal(watcher.heard('userJoined').length, 1);
      assert.deepEqual(watcher.heard('userLeft'), []);
      await Promise.all([next.close(), watcher.close()]);
    }));
});

describe('where delivery begins', () => {
  test('limit 0, 1 and 1000, the default, and live in its place', () =>
    withServer({ args: ['--rate-limits', 'off', '--max-messages-history', '7'] }, async (server) => {
      const writer = await member(server, 'plaza', 'Writer');
      await fill(writer, 'plaza', 1_200);
      for (const [limit, count] of [[0, 0], [1, 1], [1000, 1000], [undefined, 7]]) {
        const reader = await member(server, 'plaza', `reader ${limit}`, { limit });
        assert.equal(reader.joined.head.split('-')[0], '1200');
        assert.deepEqual(await reader.hears('live'), { roomName: 'plaza', sequence: 1200 });
        assert.deepEqual(sequences(reader.messages('plaza')), range(1201 - count, 1200));
        assert.deepEqual(kinds(reader).at(-1), 'live', 'directly after the newest of the past');
        await reader.close();
      }
      // While messages go on, live stands where the head was.
      const talking = fill(writer, 'plaza', 300);
      const reader = await member(server, 'plaza', 'in the middle', { limit: 50 });
      const { sequence } = await reader.hears('live');
      await talking;
      await reader.reaches('plaza', 1_500);
      const at = reader.told.findIndex((each) => each.method === 'live');
      const before = reader.told.slice(0, at).filter((each) => each.method === 'textMessage');
      assert.equal(before.at(-1).sequence, sequence);
      assert.equal(before.length, 50);
      assertDense(reader.messages('plaza'));
      await Promise.all([reader.close(), writer.close()]);
    }));

  test('a position with a limit skips what is too old, and says so', () =>
    withServer({ args: ['--rate-limits', 'off'] }, async (server) => {
      const writer = await member(server, 'plaza', 'Writer', { lastMessageId: startPosition('plaza') });
      await fill(writer, 'plaza', 100);
      await writer.reaches('plaza', 100);
      const at = (sequence) => writer.messages('plaza')[sequence - 1]._id;
      const cases = [
        [20, 10, { after: 20, before: 91 }, range(91, 100)], [90, 10, undefined, range(91, 100)], [89, 10, { after: 89, before: 91 }, range(91, 100)],
        [20, 0, { after: 20, before: 101 }, []], [100, 0, undefined, []], [100, 10, undefined, []], [20, undefined, undefined, range(21, 100)],
      ];
      for (const [sequence, limit, skipped, expected] of cases) {
        const reader = await member(server, 'plaza', `reader ${randomUUID()}`, { lastMessageId: at(sequence), limit });
        await reader.hears('live');
        assert.deepEqual(reader.heard('skipped'), skipped ? [{ roomName: 'plaza', ...skipped }] : [], `${sequence}, ${limit}`);
        if (skipped) assert.equal(kinds(reader)[0], 'skipped');
        assert.deepEqual(sequences(reader.messages('plaza')), expected, `${sequence}, ${limit}`);
        await reader.close();
      }
      await writer.close();
    }));

  test('joining the joined room again moves the cursor', () =>
    withServer({}, async (server) => {
      const client = await member(server, 'plaza', 'Ana', { lastMessageId: startPosition('plaza') });
      await fill(client, 'plaza', 10);
      await client.reaches('plaza', 10);
      await client.join('plaza', 'Ana', { lastMessageId: client.messages('plaza')[6]._id });
      await until('what stands behind the position has come again', () => client.messages('plaza').length === 13);
      assert.deepEqual(sequences(client.messages('plaza')), [...range(1, 10), 8, 9, 10]);
      await client.text('plaza', 'and on');
      await until('it goes on', () => client.messages('plaza').at(-1).sequence === 11);
      await client.close();
    }));

  test('a catch-up of any length', () =>
    withServer({ args: ['--rate-limits', 'off'] }, async (server) => {
      const count = long ? 50_000 : 20_000;
      const writers = await Promise.all(range(1, 4).map((i) => member(server, 'plaza', `writer ${i}`, { limit: 0 })));
      await Promise.all(writers.map((writer) => fill(writer, 'plaza', count / 4)));
      const readers = await Promise.all(range(1, 3).map((i) => member(server, 'plaza', `reader ${i}`, { lastMessageId: startPosition('plaza') })));
      // And meanwhile it grows.
      await fill(writers[0], 'plaza', 50);
      for (const reader of readers) {
        await reader.reaches('plaza', count + 50, 60_000);
        assert.deepEqual(sequences(reader.messages('plaza')), range(1, count + 50));
        assert.equal(new Set(reader.messages('plaza').map((each) => each.params.uuid)).size, count + 50);
      }
      assertOneLog(...readers.map((reader) => reader.messages('plaza')));
      for (const client of [...writers, ...readers]) client.close();
    }));
});

describe('one order for all', () => {
  test('on two shards all members see the same message at each place, and each sender’s in the order sent', () =>
    withServer({ args: ['--rate-limits', 'off', '--shards', '2'] }, async (server) => {
      const clients = await Promise.all(range(1, 12).map((i) => member(server, 'plaza', `user ${i}`, { lastMessageId: startPosition('plaza') })));
      const each = 250;
      await Promise.all(clients.map((client, i) => fill(client, 'plaza', each, (k) => `${i} ${k}`)));
      const total = clients.length * each;
      for (const client of clients) {
        await client.reaches('plaza', total);
        assert.deepEqual(sequences(client.messages('plaza')), range(1, total));
      }
      assertOneLog(...clients.map((client) => client.messages('plaza')));
      clients.forEach((_, i) => {
        const own = clients[0].messages('plaza').map((message) => message.params.text.split(' ')).filter(([from]) => from === String(i));
        assert.deepEqual(own.map(([, k]) => Number(k)), range(0, each - 1));
      });
      for (const client of clients) client.close();
    }));

  test('answers to texts come in the order sent, repeats among them', () =>
    withServer({}, async (server) => {
      const client = await member(server, 'plaza', 'Ana');
      const uuids = range(0, 19).map(() => randomUUID());
      const order = [...uuids, ...uuids.slice(0, 5), randomUUID(), ...uuids.slice(3, 6)];
      const before = client.answers.length;
      const results = await Promise.all(order.map((uuid, i) => client.text('plaza', uuids.includes(uuid) ? `text of ${uuid}` : `new ${i}`, uuid)));
      const ids = client.answers.slice(before).map((each) => each.id);
      assert.deepEqual(ids, [...ids].sort((a, b) => a - b));
      assert.deepEqual(results.map((each) => each.repeated), [...range(0, 19).map(() => false), ...range(0, 4).map(() => true), false, true, true, true]);
      assert.deepEqual(results.slice(20, 25).map((each) => each._id), results.slice(0, 5).map((each) => each._id));
      await client.close();
    }));

  test('who sends faster than its allowance is read more slowly: no error, nothing dropped', () =>
    withServer({ args: ['--session-messages-per-second', '50', '--session-messages-burst', '20'] }, async (server) => {
      const [fast, calm] = [await member(server, 'plaza', 'Fast'), await member(server, 'plaza', 'Calm')];
      const begun = performance.now();
      const count = 120;
      const all = Promise.all(range(1, count).map((i) => fast.text('plaza', `fast ${i}`)));
      await within('another is not held up', calm.text('plaza', 'calm'), 1_500);
      const results = await all;
      const seconds = (performance.now() - begun) / 1_000;
      assert.ok(seconds > 1.2, `${count} messages in ${seconds} s`);
      assert.ok(results.every((each) => each.repeated === false));
      await calm.reaches('plaza', count + 1);
      const texts = calm.messages('plaza').map((each) => each.params.text).filter((text) => text !== 'calm');
      assert.deepEqual(texts, range(1, count).map((i) => `fast ${i}`));
      assert.ok((await server.metric('tertulia_reads_paused_total')) > 0);
      await Promise.all([fast.close(), calm.close()]);
    }));
});

describe('reads', () => {
  test('history is read in pages, backwards and forwards, each message equal to its push', () =>
    withServer({ args: ['--rate-limits', 'off'] }, async (server) => {
      const client = await member(server, 'plaza', 'Ana');
      await fill(client, 'plaza', 230);
      await client.reaches('plaza', 230);
      const page = (params) => client.call('history', { roomName: 'plaza', ...params });
      const newest = await page({});
      assert.deepEqual(newest.messages, client.messages('plaza').slice(-50));
      assert.equal(newest.more, true);
      const seen = [];
      for (let before; ;) {
        const { messages, more } = await page({ before, limit: 100 });
        seen.unshift(...messages);
        before = messages[0].sequence;
        if (!more) break;
      }
      assert.deepEqual(seen, client.messages('plaza'));
      const forwards = [];
      for (let after = 0; ;) {
        const { messages, more } = await page({ after, limit: 100 });
        forwards.push(...messages);
        after = messages.at(-1).sequence;
        if (!more) break;
      }
      assert.deepEqual(forwards, client.messages('plaza'));
      assert.equal((await page({ limit: 5000 })).messages.length, 200, 'above 200: 200');
      assert.deepEqual(await page({ after: 230 }), { status: 'OK', messages: [], more: false });
      assert.deepEqual(await page({ before: 1 }), { status: 'OK', messages: [], more: false });
      assert.deepEqual(sequences((await page({ before: 3 })).messages), [1, 2]);
      await client.close();
    }));

  test('a page of long messages ends at 256 KiB, with at least one, and says there are more', () =>
    withServer({ args: ['--rate-limits', 'off'] }, async (server) => {
      const client = await member(server, 'plaza', 'Ana', { limit: 0 });
      await fill(client, 'plaza', 12, (i) => `${i} ${'x'.repeat(50_000)}`);
      const { messages, more } = await client.call('history', { roomName: 'plaza' });
      assert.ok(messages.length >= 4 && messages.length <= 6, `${messages.length}`);
      assert.equal(more, true);
      assert.equal(messages.at(-1).sequence, 12);
      await client.close();
    }));

  test('a read marker only moves forwards, is told to the others, and is there when he comes back', () =>
    withServer({}, async (server) => {
      const userKey = newUserKey();
      const [ana, bo] = [await member(server, 'plaza', 'Ana', { userKey }), await member(server, 'plaza', 'Bo')];
      await fill(bo, 'plaza', 5);
      await ana.reaches('plaza', 5);
      const read = (sequence) => ana.call('read', { roomName: 'plaza', sequence });
      await read(3);
      assert.deepEqual(await bo.hears('read'), { roomName: 'plaza', userId: ana.joined.userId, sequence: 3 });
      await read(2);
      await read(4);
      await bo.hears('read', (params) => params.sequence === 4);
      assert.ok(!bo.heard('read').some((params) => params.sequence === 2));
      await until('the list shows it', async () => {
        const { members } = await bo.call('members', { roomName: 'plaza' });
        return members.find((each) => each.userId === ana.joined.userId).read === 4;
      });
      assert.equal((await ana.call('rooms')).rooms[0].read, 4);
      await ana.close(1000);
      const back = await member(server, 'plaza', 'Ana', { userKey });
      assert.equal(back.joined.read, 4);
      await server.stop();
      await server.start();
      const later = await member(server, 'plaza', 'Ana', { userKey });
      assert.equal(later.joined.read, 4, 'after a restart');
      await later.close();
    }));

  test('members are listed in pages', () =>
    withServer({}, async (server) => {
      const clients = [];
      for (let i = 0; i < 25; ++i) clients.push(await member(server, 'plaza', `user ${String(i).padStart(2, '0')}`));
      const seen = [];
      for (let after; ;) {
        const { members, total, next } = await clients[0].call('members', { roomName: 'plaza', limit: 10, after });
        assert.equal(total, 25);
        seen.push(...members.map((each) => each.userName));
        if (next === null) break;
        after = next;
      }
      assert.deepEqual([...seen].sort(), clients.map((_, i) => `user ${String(i).padStart(2, '0')}`));
      assert.equal(clients.at(-1).joined.members, 25);
      for (const client of clients) client.close();
    }));
});

describe('signals', () => {
  test('typing goes to the others, joined and left too, and not to who causes them', () =>
    withServer({}, async (server) => {
      const [ana, bo] = [await member(server, 'plaza', 'Ana'), await member(server, 'plaza', 'Bo')];
      const { userId } = bo.joined;
      assert.deepEqual(await ana.hears('userJoined'), { roomName: 'plaza', userId, userName: 'Bo' });
      await bo.call('typing', { roomName: 'plaza' });
      assert.deepEqual(await ana.hears('typing'), { roomName: 'plaza', userId, userName: 'Bo' });
      await bo.call('leaveRoom', { roomName: 'plaza' });
      assert.deepEqual(await ana.hears('userLeft'), { roomName: 'plaza', userId, userName: 'Bo' });
      assert.deepEqual([bo.heard('userJoined'), bo.heard('userLeft')], [[], []]);
      await Promise.all([ana.close(), bo.close()]);
    }));

  test('beyond twenty a second they are dropped, and membersChanged says so', () =>
    withServer({}, async (server) => {
      const watcher = await member(server, 'plaza', 'Watcher');
      const clients = await Promise.all(range(1, 120).map(() => connect(server)));
      const begun = performance.now();
      await Promise.all(clients.map((client, i) => client.join('plaza', `user ${i}`)));
      const seconds = Math.ceil((performance.now() - begun) / 1_000) + 1;
      const { members } = await watcher.hears('membersChanged', (params) => params.members === 121);
      assert.equal(members, 121);
      assert.ok(watcher.heard('userJoined').length <= 20 * seconds * 2, `${watcher.heard('userJoined').length} in ${seconds} s`);
      assert.ok(watcher.heard('userJoined').length < 120);
      for (const client of clients) client.close();
      await watcher.hears('membersChanged', (params) => params.members === 1);
      await watcher.close();
    }));

  test('a session that gets nothing else gets a heartbeat', () =>
    withServer({ args: ['--heartbeat', '300ms'] }, async (server) => {
      const client = await member(server, 'plaza', 'Ana');
      assert.equal(client.joined.heartbeatMs, 300);
      assert.deepEqual(await client.hears('heartbeat', () => true, 5_000), {});
      await client.close();
    }));
});
