// Promise 5, a sender's part: who sends faster than its allowance is read more slowly. Nobody gets an error, nothing is
// dropped or reordered, and nobody else feels it.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { Member, texts } from './lib/member.mjs';
import { assertDense } from './lib/order.mjs';
import { withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const room = 'room';

/** Says them all at once. @returns {Promise<{tookMs: number, answers: any[]}>} once all are answered, in the order sent */
async function saysAll(member, requests, withinMs) {
  const began = performance.now();
  const ids = member.burst(requests);
  const answers = await member.answersTo(ids, withinMs);
  const tookMs = performance.now() - began;
  assert.deepEqual(answers.filter(({ error }) => error), []);
  assert.deepEqual(answers.map(({ id }) => id), ids);
  return { tookMs, answers };
}
const come = async (server, name, more = {}, key = {}) => {
  const member = await Member.connect({ ...server.address, ...more });
  await member.join(room, name, key);
  return member;
};
const all = (t, tests) => Promise.all(tests.map(([name, body]) => t.test(name, body)));

test('allowances', { concurrency: true }, (t) => all(t, [
  ['a fast sender is read at its pace, in order, and a slow one beside it feels nothing', () =>
    withServer({ args: ['--session-messages-per-second', '40', '--session-messages-burst', '20'] }, async (server) => {
      const [fast, slow] = await Promise.all([come(server, 'Fast'), come(server, 'Slow')]);
      const count = 220;
      let done = false;
      const said = saysAll(fast, texts(room, count, 'fast'), 60_000).finally(() => { done = true; });
      for (let i = 0; i < 10; ++i) {
        await slow.text(room, `slow ${i}`);
        assert.equal(done, false, 'the slow one waited for the fast one');
      }
      const { tookMs } = await said;
      const leastMs = (count - 20 - 1) / 40 * 1_000;
      assert.ok(tookMs >= leastMs * 0.95, `${count} messages in ${tookMs} ms, at least ${leastMs} ms are due`);
      for (const member of [fast, slow]) {
        await member.reaches(room, count + 10);
        assertDense(member.messages(room), 1);
        const ofFast = member.messages(room).map(({ params: { text } }) => text).filter((text) => text.startsWith('fast'));
        assert.deepEqual(ofFast, Array.from({ length: count }, (_, i) => `fast ${i + 1}`));
      }
      await Promise.all([fast, slow].map((member) => member.call('ping')));
      assert.ok((await server.metric('tertulia_reads_paused_total')) > 0);
    })],

  ['bytes count as messages do', () =>
    withServer({ args: ['--session-bytes-per-second', '100KiB', '--session-bytes-burst', '64KiB'] }, async (server) => {
      const member = await come(server, 'Fast');
      const requests = texts(room, 60).map(([method, params]) => [method, { ...params, text: params.text.padEnd(10_000, '.') }]);
      const { tookMs } = await saysAll(member, requests, 60_000);
      // What has been read when the last message came is charged, but for the last piece that was read.
      const leastMs = (600_000 - (64 << 10) - (128 << 10)) / (100 << 10) * 1_000;
      assert.ok(tookMs >= leastMs, `${tookMs} ms, at least ${leastMs} ms are due`);
      await member.reaches(room, 60);
      assertDense(member.messages(room), 1);
    })],

  ['a repeat costs no message', () =>
    withServer({ args: ['--session-messages-per-second', '2', '--session-messages-burst', '200'] }, async (server) => {
      const member = await come(server, 'Ana');
      const requests = texts(room, 190);
      await saysAll(member, requests, 30_000);
      // As messages they would take 95 s a time.
      for (let i = 0; i < 5; ++i) {
        const { answers } = await saysAll(member, requests, 30_000);
        assert.ok(answers.every(({ result }) => result.repeated));
      }
    })],

  ['sessions of one address share its allowance, those of another do not', () =>
    withServer({ args: ['--session-messages-per-second', '30', '--session-messages-burst', '30',
      '--address-messages-per-second', '30', '--address-messages-burst', '30'] }, async (server) => {
      const [one, two, elsewhere] = await Promise.all([come(server, 'One'), come(server, 'Two'), come(server, 'Elsewhere', { localAddress: '127.0.0.2' })]);
      const count = 75;
      const began = performance.now();
      let done = false;
      const both = Promise.all([one, two].map((member) => saysAll(member, texts(room, count), 60_000))).finally(() => { done = true; });
      await saysAll(elsewhere, texts(room, 30), 60_000);
      assert.equal(done, false, 'the other address waited too');
      await both;
      const tookMs = performance.now() - began;
      // 30 at once; and what a session had in its own burst may be owed at the end.
      const leastMs = (2 * count - 30 - 30) / 30 * 1_000;
      assert.ok(tookMs >= leastMs, `${tookMs} ms, at least ${leastMs} ms are due`);
    })],

  ['SIGHUP changes it, also for who is being read slowly', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tertulia-allowance-'));
    try {
      const file = join(directory, 'tertulia.toml');
      const configure = (perSecond, more = '') =>
        writeFileSync(file, `session-messages-per-second = ${perSecond}\nsession-messages-burst = 10\n${more}`);
      configure(5);
      await withServer({ args: ['--config', file] }, async (server) => {
        const member = await come(server, 'Fast');
        const reload = async (times) => {
          server.signal('SIGHUP');
          await until('it is reloaded', () => server.log.split('configuration reloaded').length - 1 === times);
        };
        // At first: 10 at once, and 290 in 58 s.
        const said = saysAll(member, texts(room, 300), 40_000);
        await until('some are said', () => member.messages(room).length >= 15);
        configure(200);
        await reload(1);
        const { tookMs } = await said;
        assert.ok(tookMs >= 285 / 200 * 950, `${tookMs} ms`);
        configure(1);
        await reload(2);
        const slowly = saysAll(member, texts(room, 200), 40_000);
        await until('it is read slowly again', async () => (await server.metric('tertulia_sessions_paused')) === 1);
        configure(1, 'rate-limits = false\n');
        await reload(3);
        await slowly;
        assertDense(member.messages(room), 1);
      });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }],
]));
