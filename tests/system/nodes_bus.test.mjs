// The bus is never in a sender's way: not while it is whole, and not while one of its servers stands still.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { Member } from './lib/member.mjs';
import { withCluster } from './lib/with_cluster.mjs';

const room = 'room';
const extraMsMax = 100;
const measureMs = 4_000, everyMs = 40;
/** What else this machine does delays too; a bus that delays senders does so every time. */
const attemptsMax = 3;

/** The longest time from a request to its answer. @param {Member[]} senders */
async function slowest(senders) {
  let worstMs = 0;
  const end = performance.now() + measureMs;
  await Promise.all(senders.map(async (sender) => {
    for (let i = 0; performance.now() < end; ++i) {
      const asked = performance.now();
      await sender.text(room, `text ${i}`);
      worstMs = Math.max(worstMs, performance.now() - asked);
      await pass(everyMs);
    }
  }));
  return worstMs;
}

test(`one NATS server that stands still delays no sender on other nodes by more than ${extraMsMax} ms`, () =>
  withCluster({ natsCount: 3, args: ['--rate-limits', 'off'] }, async (cluster) => {
    const members = await Promise.all(cluster.nodes.map((node) => Member.connect(node.address)));
    await Promise.all(members.map((member, i) => member.join(room, `Member ${i}`)));
    const extras = [];
    for (let attempt = 1; attempt <= attemptsMax; ++attempt) {
      // One that nodes use, or stopping it shows nothing.
      const clients = await Promise.all(cluster.nats.map(async (server) => (await server.tells('connz')).num_connections));
      const stopped = clients.indexOf(Math.max(...clients));
      assert.ok(clients[stopped] > 0, 'no node is connected to any NATS server');
      const baseMs = await slowest(members);
      cluster.nats[stopped].pause();
      let worstMs;
      try {
        worstMs = await slowest(members);
      } finally {
        cluster.nats[stopped].resume();
      }
      extras.push(worstMs - baseMs);
      console.log(`# attempt ${attempt}: ${clients.join(', ')} nodes at the NATS servers, the one stopped is nats${stopped + 1}: ` +
        `slowest answer ${baseMs.toFixed(1)} ms before, ${worstMs.toFixed(1)} ms meanwhile`);
      if (extras.at(-1) <= extraMsMax) break;
    }
    assert.ok(extras.at(-1) <= extraMsMax, `slower by ${extras.map((ms) => ms.toFixed()).join(', ')} ms`);
    for (const member of members) member.cut();
  }));
