// The reference system's own load test, with default limits: 20 users behind one address whose scripts block. Each in
// turn sends a message and rewrites all it has sent before; nothing is read and no pong sent until the end. They are read
// more slowly where they are too fast; no error, nobody closed, nothing missing at the end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runBlockingLoop } from './lib/run_blocking_loop.mjs';
import { long, withServer } from './lib/server.mjs';

test('the load test of the reference system passes without an error and without a message missing', () =>
  withServer({}, async (server) => {
    // Short: the same quantity of bytes a second a user at the end, and more unread than the kernel holds for anybody.
    const messagesEach = long ? 199 : 40;
    const load = { messagesEach, intervalMs: long ? 125 : 25, textBytes: 1_000 };
    const userNames = Array.from({ length: 20 }, (_, i) => `user ${String(i).padStart(2, '0')}`);
    // What had been delivered when nobody had read anything yet.
    let looping = true;
    let deliveredUnread = 0;
    const watch = setInterval(async () => {
      const deliveries = await server.metric('tertulia_deliveries_total').catch(() => 0);
      if (looping) deliveredUnread = deliveries;
    }, 250);
    const { users, blockedMs, framesWritten } = await runBlockingLoop({
      address: server.address, roomName: 'load', userNames, ...load, settleWithinMs: 120_000,
    }, () => { looping = false; }).finally(() => clearInterval(watch));
    const total = userNames.length * messagesEach;
    assert.ok(blockedMs >= (total - 1) * load.intervalMs);
    assert.equal(framesWritten, (userNames.length * messagesEach * (messagesEach + 1)) / 2);
    const sent = userNames.flatMap((name) => Array.from({ length: messagesEach }, (_, i) => `${name} ${i} `.padEnd(load.textBytes, '.'))).sort();
    for (const user of users) {
      assert.deepEqual([user.closes, user.errors, user.violations], [[], [], []], user.userName);
      assert.deepEqual([user.acked, user.open], [messagesEach, 1], user.userName);
      assert.deepEqual(user.heard, users[0].heard, `${user.userName} hears the same log`);
      assert.deepEqual([...user.texts].sort(), sent, user.userName);
    }
    assert.equal(await server.metric('tertulia_messages_total'), total);
    // Else this has shown nothing about those who do not read.
    console.log(`# ${total} messages, ${framesWritten} frames in ${Math.round(blockedMs)} ms; ${deliveredUnread} deliveries before anybody read`);
    assert.ok(deliveredUnread < total * users.length, 'the kernel held everything: make the texts longer');
  }));
