// Life: who is there hears from the server and is kept; who is silent, takes nothing or joins nothing is closed with
// 4008, in its time and not before, and has missed nothing when it comes back.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { fill, Member } from './lib/member.mjs';
import { assertDense } from './lib/order.mjs';
import { long, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';
import { WebSocketPeer } from './lib/websocket.mjs';

const room = 'room';
const idle = 4008;
const tickMs = 1_000;  // the server looks so often
const slackMs = 8_000;  // of a machine with much else to do
const times = long ? { heartbeat: 20_000, ping: 15_000, silent: 25_000, stalled: 60_000, noRoom: 70_000, classicSilent: 80_000 }
  : { heartbeat: 3_000, ping: 700, silent: 3_000, stalled: 4_000, noRoom: 5_000, classicSilent: 6_000 };
const args = ['--heartbeat', `${times.heartbeat}ms`, '--ping-interval', `${times.ping}ms`, '--silent', `${times.silent}ms`,
  '--stalled', `${times.stalled}ms`, '--no-room', `${times.noRoom}ms`, '--classic-silent', `${times.classicSilent}ms`];

/** @returns {Promise<{code: number, afterMs: number}>} */
const end = async (closed, withinMs) => {
  const began = performance.now();
  const { code } = await within('it is closed', closed, withinMs + slackMs);
  return { code, afterMs: performance.now() - began };
};
async function assertClosedAfter(closed, ms, what) {
  const { code, afterMs } = await end(closed, ms + 2 * tickMs);
  assert.equal(code, idle, what);
  // Its last sign may have been on the way when the clock was started here.
  assert.ok(afterMs >= ms - 100, `${what}: closed after ${afterMs} ms of ${ms}`);
}

test('life', { concurrency: true }, async (t) => {
  await withServer({ args }, async (server) => {
    const come = async (name, options = {}, roomName = room) => {
      const member = await Member.connect({ ...server.address, ...options });
      const answer = await member.join(roomName, name);
      assert.equal(answer.heartbeatMs, times.heartbeat);
      return member;
    };
    // Answers every ping and says nothing else, all the time.
    const quiet = await come('Quiet', {}, 'quiet room');
    const began = performance.now();

    await Promise.all([
      t.test('who neither sends nor answers pings is closed', async () => {
        const silent = await come('Silent', { autoPong: false });
        await assertClosedAfter(silent.closed, times.silent, 'silent');
        const again = await come('Silent again', { autoPong: false });
        await assertClosedAfter(again.closed, times.silent, 'silent again');
      }),

      t.test('a sign of any kind is enough', async () => {
        const talker = await come('Talker', { autoPong: false }, 'talk');
        const timer = setInterval(() => talker.call('ping').catch(() => {}), times.silent / 4);
        try {
          // Two silences one after the other are the clock.
          for (const name of ['One', 'Two']) {
            const silent = await come(`Silent as a clock ${name}`, { autoPong: false });
            await within('the silent one is closed', silent.closed, times.silent + 2 * tickMs + slackMs);
          }
          await talker.call('ping');
        } finally {
          clearInterval(timer);
        }
      }),

      t.test('an idle member gets heartbeats, one who hears something gets none', async () => {
        const busy = await come('Busy', {}, 'busy room');
        let talking = true;
        const talk = (async () => {
          for (let i = 0; talking; ++i) {
            await busy.text('busy room', `text ${i}`);
            await new Promise((passed) => setTimeout(passed, times.heartbeat / 10));
          }
        })();
        const idler = await come('Idler', {}, 'idle room');
        const heardAt = [performance.now()];
        idler.peer.on('text', (text) => { if (JSON.parse(text).method === 'heartbeat') heardAt.push(performance.now()); });
        await until('two heartbeats', () => heardAt.length === 3, 5 * times.heartbeat + slackMs);
        talking = false;
        await talk;
        assert.deepEqual(idler.told.filter(({ method }) => method !== 'live').map(({ method, params }) => [method, params]), [['heartbeat', {}], ['heartbeat', {}]]);
        assert.deepEqual(busy.heard('heartbeat'), []);
        for (let i = 1; i < heardAt.length; ++i) {
          const gapMs = heardAt[i] - heardAt[i - 1];
          // It goes out with the last ping before it is due. Heard later than it was sent, the one may be, and the next not.
          assert.ok(gapMs >= (times.heartbeat - times.ping) / 2, `after ${gapMs} ms`);
          // A client that has heard nothing for 2.5 × heartbeatMs gives up.
          assert.ok(gapMs < 2.5 * times.heartbeat, `only after ${gapMs} ms`);
        }
      }),

      t.test('who takes nothing is closed later, and has missed nothing when it comes back', async () => {
        const stalled = await come('Stalled', { autoPong: false }, 'stall');
        const writer = await come('Writer', {}, 'stall');
        let last = await fill(writer, 'stall', 10);
        await stalled.reaches('stall', 10);
        stalled.peer.stopReading();
        const told = () => server.metrics().then((all) => [...all].filter(([name]) => /^tertulia_closes_total\{.*stalled/.test(name)).reduce((sum, [, value]) => sum + value, 0));
        assert.equal(await told(), 0);
        // Until the kernel takes no more: its buffers on both sides.
        let count = 10;
        const until4008 = (async () => {
          const startedAt = performance.now();
          await until('it is closed as stalled', async () => {
            if (count < 4_000) {
              const texts = Array.from({ length: 50 }, () => ['textMessage', { roomName: 'stall', text: 'x'.repeat(4_000), uuid: randomUUID(), date: '' }]);
              last = (await writer.answersTo(writer.burst(texts))).map(({ result }) => result._id);
              count += 50;
            }
            return (await told()) === 1;
          }, 2 * times.stalled + 30_000 + slackMs);
          return performance.now() - startedAt;
        })();
        const tookMs = await until4008;
        assert.ok(tookMs >= times.stalled - 100, `closed after ${tookMs} ms of ${times.stalled}`);
        stalled.peer.startReading();
        await within('it sees the end', stalled.closed);
        const held = stalled.messages('stall');
        assertDense(held, 1);
        const back = await Member.connect(server.address);
        const { userKey } = stalled.answers[0].result;
        await back.join('stall', 'Stalled', { userKey, lastMessageId: held.at(-1)._id });
        await back.reaches('stall', count, 30_000);
        assertDense(back.messages('stall'), held.at(-1).sequence + 1);
        assert.equal(back.messages('stall').at(-1)._id, last.at(-1));
      }),

      t.test('a connection without a room may idle for its time, and no longer', async () => {
        const roomless = await Member.connect(server.address);
        await assertClosedAfter(roomless.closed, times.noRoom, 'no room');
      }),

      t.test('a classic session may be silent for longer', async () => {
        const peer = await WebSocketPeer.connect({ ...server.address, autoPong: false });
        const params = { userId: 'blocked', userName: 'Blocked', roomName: room, lastMessageId: null };
        peer.send(JSON.stringify({ jsonrpc: '2.0', method: 'joinRoom', params, id: 1 }));
        await assertClosedAfter(peer.closed, times.classicSilent, 'classic');
      }),
    ]);

    assert.ok(performance.now() - began > 2 * times.silent);
    await quiet.call('ping');
    assert.deepEqual(quiet.messages('quiet room'), []);
  });
});
