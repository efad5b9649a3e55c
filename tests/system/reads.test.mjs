// What members ask and are told besides messages: history, read markers, who is here, who came, went and types; and long
// catch-ups. Their promises about order, names, rooms and drains have files of their own here.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { assertDense, assertOneLog } from './lib/order.mjs';
import { long, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';
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

describe('long and doubled deliveries', () => {
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

describe('reads', () => {
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
      await watcher.hears('membersChanged');
      assert.equal((await watcher.call('members', { roomName: 'plaza' })).total, 121);
      assert.ok(watcher.heard('userJoined').length <= 20 * seconds * 2, `${watcher.heard('userJoined').length} in ${seconds} s`);
      assert.ok(watcher.heard('userJoined').length < 120);
      // Who left last may be told one by one: each is told of, or the list has changed after he was gone.
      const before = watcher.heard('membersChanged').length;
      for (const client of clients) client.close();
      await until('the list has changed again', () => watcher.heard('membersChanged').length > before);
      await until('all are gone', async () => (await watcher.call('members', { roomName: 'plaza' })).total === 1);
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
