// Ten seconds of the benchmark: does the driver see every message once and in order, from the server and from the bare
// loop, and do its figures make sense? How fast anything is, is not judged here.
import assert from 'node:assert/strict';
import test from 'node:test';
import { figuresOf } from './report.mjs';
import { measure, workloads } from './run.mjs';

const options = { seconds: 1, shards: 1, store: 'sqlite' };
const small = {
  a: { ...workloads.a, members: 200, rates: [10, 200], settle: 0.2 },
  c: { ...workloads.c, members: 200, settle: 0.2 },
  'c-rooms': { ...workloads['c-rooms'], members: 50, settle: 0.2 },
  idle: { ...workloads.idle, members: 200, rooms: 10, settle: 0.2 },
};

for (const [name, workload] of Object.entries(small)) {
  for (const target of workload.alone ? [{ name: 'tertulia' }] : [{ name: 'tertulia' }, { name: 'bare', bare: true }]) {
    test(`${name} on ${target.name}: every message once, in order, and figures that make sense`, async () => {
      const figures = figuresOf(await measure(target, workload, options));
      assert.equal(figures.steps.length, workload.rates.length);
      figures.steps.forEach((step, at) => {
        const wanted = Math.ceil(workload.rates[at] * options.seconds) * workload.burst;
        assert.equal(step.messages, wanted, 'an open loop sends what the schedule says');
        // All members are in the room of each message: in one room, or in all of them.
        assert.equal(step.deliveries, workload.alone ? 0 : wanted * workload.members);
        assert.equal(step.faults, 0, JSON.stringify(step));
        assert.ok(step.server_cpu_us > 0, 'the server has worked');
        assert.ok(step.driver_cpu_share > 0 && step.server_cpu_share < 2, JSON.stringify(step));
        if (!target.bare) {
          assert.equal(step.tertulia_deliveries_total, step.deliveries, 'the server counts what arrived');
          assert.equal(step.tertulia_messages_total, step.messages);
        }
        if (workload.alone) return;
        assert.ok(step.usPerDelivery > 0.005 && step.usPerDelivery < 1000, `${step.usPerDelivery} CPU-µs a delivery`);
        assert.ok(0 < step.each_p50_us && step.each_p50_us <= step.each_p99_us && step.each_p99_us <= step.each_max_us);
        assert.ok(step.each_p50_us <= step.last_p50_us && step.last_max_us === step.each_max_us);
      });
      if (target.bare) return;
      assert.equal(figures.gathered.tertulia_sessions, workload.members);
      assert.equal(figures.gathered.tertulia_members, workload.members * workload.roomsEach);
      const bytes = (figures.gathered.tertulia_allocated_bytes - figures.before.tertulia_allocated_bytes) / workload.members;
      assert.ok(bytes > 100 && bytes < 100_000, `${bytes} bytes a member`);
    });
  }
}
