// What HAProxy before the nodes must and must not change. The nodes know nothing of one another here: each has its own
// memory for a store, for this is about connections.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Member, refusedUpgrade, texts } from './lib/member.mjs';
import { until, within } from './lib/until.mjs';
import { withCluster } from './lib/with_cluster.mjs';

const alone = /** @type {const} */ ({ store: 'memory', busUrl: 'local' });
const room = 'room';
const all = (t, tests) => Promise.all(tests.map(([name, body]) => t.test(name, body)));
const sessions = (cluster) => Promise.all(cluster.nodes.map((node) => node.metric('tertulia_sessions')));

test('behind a balancer', { concurrency: true }, (t) => all(t, [
  ['a limit for one address hits one client, not all, whatever it says of itself', () =>
    withCluster({ ...alone, nodesCount: 1, args: ['--address-messages-per-second', '20', '--address-messages-burst', '20', '--session-messages-per-second', '20', '--session-messages-burst', '20', '--address-connections-max', '4'] }, async (cluster) => {
      const from = (localAddress, more = {}) => Member.connect({ ...cluster.address, localAddress, ...more });
      const [fast, slow] = await Promise.all([from('127.0.0.2'), from('127.0.0.3')]);
      await fast.join(room, 'Fast');
      await slow.join(room, 'Slow');
      const began = performance.now();
      let done = false;
      const ids = fast.burst(texts(room, 100, 'fast'));
      const said = fast.answersTo(ids, 60_000).finally(() => { done = true; });
      let slowestMs = 0;
      for (let i = 0; i < 10; ++i) {
        const asked = performance.now();
        await slow.text(room, `slow ${i}`);
        slowestMs = Math.max(slowestMs, performance.now() - asked);
        assert.equal(done, false, 'the slow one waited for the fast one');
      }
      await said;
      assert.ok(performance.now() - began >= 3_800, 'the limit was not looked at: 80 messages more than the burst take 4 s');

      // Connections are counted by address too; what a client writes into the header itself is not believed.
      const more = await Promise.all([2, 3, 4].map(() => from('127.0.0.2')));
      const spoofed = { localAddress: '127.0.0.2', headers: ['X-Forwarded-For: 10.1.2.3'] };
      assert.equal((await refusedUpgrade({ ...cluster.address, ...spoofed })).status, 429);
      const other = await from('127.0.0.3');
      for (const member of [fast, slow, other, ...more]) await member.close();
    })],

  ['a node that drains gets nobody new and keeps whom it has until they go', () =>
    withCluster({ ...alone, nodesCount: 2, args: ['--drain-window', '20s'] }, async (cluster) => {
      const members = [];
      for (let i = 0; i < 8; ++i) {
        members.push(await Member.connect(cluster.address));
        await members[i].join(room, `Member ${i}`);
      }
      const [one, two] = await sessions(cluster);
      assert.ok(one === 4 && two === 4, `connections go where there are fewest: ${one} and ${two}`);
      cluster.nodes[0].signal('SIGTERM');
      await until('the balancer knows', async () => (await cluster.haproxy?.nodes())?.get('node1')?.status === 'NOLB');
      for (let i = 8; i < 12; ++i) {
        members.push(await Member.connect(cluster.address));
        await members[i].join(room, `Member ${i}`);
      }
      assert.deepEqual(await sessions(cluster), [4, 8]);
      for (const member of members) await member.call('ping');
      for (const member of members) await member.close();
    })],

  ['an upgrade that a node refuses because it drains is given to another, before any check has told', () =>
    withCluster({ ...alone, nodesCount: 2, args: ['--drain-window', '20s'] }, async (cluster) => {
      const stays = await Member.connect({ ...cluster.nodes[0].address });
      await stays.join(room, 'Stays');
      cluster.nodes[0].signal('SIGTERM');
      await until('it drains', async () => (await cluster.nodes[0].metric('tertulia_draining')) === 1).catch(() => {});
      const came = await Promise.all(Array.from({ length: 10 }, () => Member.connect(cluster.address)));
      for (const member of came) await member.close();
      await stays.close();
    })],

  ['the connections of a frozen node are cut, and its clients come to another', () =>
    withCluster({ ...alone, nodesCount: 2 }, async (cluster) => {
      const members = await Promise.all([0, 1, 2, 3].map(() => Member.connect(cluster.address)));
      assert.deepEqual(await sessions(cluster), [2, 2]);
      const frozen = cluster.nodes[0];
      frozen.signal('SIGSTOP');
      const began = performance.now();
      const closed = members.map(async (member) => { await member.closed; return member; });
      await within('the first is cut', Promise.race(closed), 10_000);
      assert.ok(performance.now() - began < 8_000);
      const again = await within('another node takes them', Member.connect(cluster.address), 5_000);
      await again.join(room, 'Again');
      frozen.signal('SIGCONT');
      await cluster.allUp();
      for (const member of [again, ...members]) member.cut();
    })],

  ['a node that dies costs nobody a failed connection', () =>
    withCluster({ ...alone, nodesCount: 3 }, async (cluster) => {
      await cluster.nodes[1].kill();
      const came = await Promise.all(Array.from({ length: 12 }, () => Member.connect(cluster.address)));
      assert.deepEqual((await Promise.all([0, 2].map((i) => cluster.nodes[i].metric('tertulia_sessions')))).reduce((a, b) => a + b), 12);
      for (const member of came) await member.close();
    })],
]));
