// Members who do not read cost next to nothing, are not closed, miss nothing, and nobody else feels them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { long, repository, withServer } from './lib/server.mjs';

const driver = join(process.env.TERTULIA_BUILD ?? join(repository, 'build/dev'), 'stall_driver');
const taskset = existsSync('/usr/bin/taskset') ? (core) => ['/usr/bin/taskset', '-c', String(core)] : () => [];
const members = 2_000;
// Above this the machine does not carry the load even while everybody reads, and a pair says nothing about stalls: void.
const carriedP99UsMax = 100_000;
const voidPairsMax = 2;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * One run on a server of its own, on a core of its own.
 * @param {number} stallers
 */
async function run(stallers) {
  const stallSeconds = long ? 45 : 15;
  return withServer({ args: ['--shards', '1'], wrapper: taskset(0) }, async (server) => {
    const allocated = [];
    const seen = {};
    const [command, ...args] = [...taskset(1), driver, '--port', server.port, '--members', members, '--stallers', stallers,
      '--stall', stallSeconds, '--text-bytes', long ? 100 : 400].map(String);
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((done) => child.once('close', done));
    let sampling;
    let membersAtEnd = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line);
      seen[said.event] = said;
      if (said.event === 'last') {
        sampling = setInterval(() => {
          server.metric('tertulia_allocated_bytes').then((bytes) => allocated.push(bytes), () => {});
        }, 300);
      } else if (said.event === 'stalled') {
        clearInterval(sampling);
        membersAtEnd = await server.metric('tertulia_members');
      }
    }
    clearInterval(sampling);
    assert.equal(await ended, 0, 'the driver');
    const result = { allocated: median(allocated), membersAtEnd, ...seen.stalled, ...seen.caughtUp };
    console.log(`# ${stallers} stall: ${JSON.stringify(result)}`);
    assert.ok(allocated.length >= 5);
    assert.equal(membersAtEnd, members, 'all stay members');
    assert.equal(result.closed, 0, 'nobody is closed');
    assert.equal(result.faults, 0, 'dense order');
    assert.equal(result.there, members, 'everybody is at the head in the end');
    return result;
  });
}

test('two hundred members who do not read cost the server nothing, and the others feel nothing', async () => {
  const pairs = [];
  let voidPairs = 0;
  while (pairs.length < (long ? 5 : 1)) {
    const base = await run(0);
    if (base.othersP99Us > carriedP99UsMax) {
      console.log(`# void: without stalls the p99 is ${base.othersP99Us} µs, this machine is too busy`);
      assert.ok(++voidPairs <= voidPairsMax, `this machine does not carry ${members} members × 100 messages/s`);
      continue;
    }
    pairs.push({ base, stalled: await run(members / 10) });
  }
  for (const { base, stalled } of pairs) {
    assert.ok(stalled.leastBehind > 0, 'whoever does not read falls behind: else this shows nothing');
    assert.ok(stalled.kernelBytesMax <= 256 * 1024, `kernel memory of a staller: ${stalled.kernelBytesMax}`);
    const each = (stalled.allocated - base.allocated) / (members / 10);
    assert.ok(each <= 4 * 1024, `user memory of a staller: ${each}`);
  }
  const p99 = (which) => median(pairs.map((pair) => pair[which].othersP99Us));
  const bound = long ? p99('base') * 1.1 + 1_000 : p99('base') * 2 + 5_000;
  assert.ok(p99('stalled') <= bound, `the others' p99: ${p99('stalled')} µs, without stalls ${p99('base')} µs`);
});
