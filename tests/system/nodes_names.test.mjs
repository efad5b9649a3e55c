// Promise 7 over nodes: a name is one user's, whichever node he is on, and what becomes of it when that node dies.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { Member } from './lib/member.mjs';
import { random } from './lib/random.mjs';
import { until } from './lib/until.mjs';
import { newUserKey, Refused } from './lib/v2.mjs';
import { clusterStore, withCluster } from './lib/with_cluster.mjs';

const nameTaken = -32001;
const racersCount = 100;
const roundsCount = clusterStore === 'mongodb' ? 5 : 50;
const leaseMs = 6_000, graceMs = 3_000;
/** A peer looks for the dead once a renewal; and then somebody must ask. */
const noticedMs = 3_000;

const attempt = (member, room, userName, more = {}) =>
  member.join(room, userName, more).then(() => 'admitted', (error) => {
    if (error instanceof Refused) return error;
    throw error;
  });

test(`${racersCount} users race for one name through three nodes, ${roundsCount} times: one wins each`, () =>
  withCluster({ args: ['--rate-limits', 'off', '--name-grace', '10m'] }, async (cluster) => {
    const chance = random('race');
    const racers = await Promise.all(Array.from({ length: racersCount }, (_, i) => Member.connect(cluster.nodes[i % 3].address)));
    const wins = [0, 0, 0];
    for (let round = 1; round <= roundsCount; ++round) {
      const room = `race ${round}`;
      const order = racers.map((_, i) => i).sort(() => chance.next() - 0.5);
      const outcomes = await Promise.all(order.map(async (i) => ({ i, outcome: await attempt(racers[i], room, `Racer ${round}`) })));
      const winners = outcomes.filter(({ outcome }) => outcome === 'admitted');
      assert.equal(winners.length, 1, `round ${round}: admitted were ${winners.map(({ i }) => `${i} at node${i % 3 + 1}`).join(', ') || 'none'}`);
      for (const { outcome } of outcomes) if (outcome !== 'admitted') assert.equal(outcome.code, nameTaken, `${outcome}`);
      const winner = racers[winners[0].i];
      ++wins[winners[0].i % 3];
      const { total, members } = await winner.call('members', { roomName: room });
      assert.deepEqual([total, members.length], [1, 1]);
    }
    console.log(`# won at node1, 2, 3: ${wins.join(', ')}`);
    for (const racer of racers) racer.cut();
  }));

test('a killed node\'s names are free for their own users at once, and for others within lease and grace, not before its grace', () =>
  withCluster({ args: ['--rate-limits', 'off', '--name-grace', `${graceMs}ms`] }, async (cluster) => {
    const room = 'room';
    const [dying, other, third] = cluster.nodes;
    const anaKey = newUserKey();
    const [ana, bruno, watcher] = await Promise.all([Member.connect(dying.address), Member.connect(dying.address), Member.connect(third.address)]);
    await watcher.join(room, 'Watcher');
    await ana.join(room, 'Ana', { userKey: anaKey });
    await bruno.join(room, 'Bruno');
    await until('all nodes know all three', async () => (await watcher.call('members', { roomName: room })).total === 3);

    const killed = performance.now();
    await dying.kill();
    const again = await Member.connect(other.address);
    assert.equal(await attempt(again, room, 'Ana', { userKey: anaKey }), 'admitted');
    const backMs = performance.now() - killed;
    assert.ok(backMs < 2_000, `at once, not after ${Math.round(backMs)} ms`);

    // Somebody else wants the name of Bruno, who does not come back.
    const stranger = await Member.connect(other.address);
    for (;;) {
      const outcome = await attempt(stranger, room, 'Bruno');
      const ms = performance.now() - killed;
      if (outcome === 'admitted') {
        console.log(`# Ana was back after ${Math.round(backMs)} ms; the name of Bruno was free after ${Math.round(ms)} ms`);
        assert.ok(ms >= graceMs, `taken from him after ${Math.round(ms)} ms`);
        break;
      }
      assert.equal(outcome.code, nameTaken);
      assert.ok(ms < leaseMs + graceMs + noticedMs, `not free after ${Math.round(ms)} ms`);
      await pass(50);
    }
    // The ghost was told once, to those on a node that did not die; Ana never left.
    await watcher.hears('userLeft', ({ userName }) => userName === 'Bruno');
    assert.equal(watcher.heard('userLeft').filter(({ userName }) => userName === 'Ana').length, 0);
    assert.equal(watcher.heard('userLeft').filter(({ userName }) => userName === 'Bruno').length, 1);
    for (const member of [again, stranger, watcher]) member.cut();
  }));

test('joined and left are told once each on every node, and members are those of all nodes', () =>
  withCluster({ args: ['--name-grace', '10m'] }, async (cluster) => {
    const room = 'room';
    const watchers = await Promise.all(cluster.nodes.map((node) => Member.connect(node.address)));
    await Promise.all(watchers.map((watcher, i) => watcher.join(room, `Watcher ${i}`)));
    const key = newUserKey();
    const tabs = await Promise.all(cluster.nodes.map((node) => Member.connect(node.address)));
    await tabs[0].join(room, 'Ana', { userKey: key });
    for (const watcher of watchers) await watcher.hears('userJoined', ({ userName }) => userName === 'Ana');
    for (const tab of tabs.slice(1)) await tab.join(room, 'Ana', { userKey: key });
    for (const watcher of watchers) assert.equal((await watcher.call('members', { roomName: room })).total, 4);
    for (const tab of tabs) await tab.call('leaveRoom', { roomName: room });
    for (const watcher of watchers) {
      await watcher.hears('userLeft', ({ userName }) => userName === 'Ana');
      assert.equal((await watcher.call('members', { roomName: room })).total, 3);
    }
    // Whatever was sent twice would have come before this.
    await watchers[0].text(room, 'that was all');
    for (const watcher of watchers) {
      await watcher.reaches(room, 1);
      for (const method of ['userJoined', 'userLeft'])
        assert.equal(watcher.heard(method).filter(({ userName }) => userName === 'Ana').length, 1, method);
    }
    for (const member of [...watchers, ...tabs]) member.cut();
  }));
