// A node dies between every two steps of append, commit, publish and answer, while another serves the same room.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson } from './lib/people.mjs';
import { testBinary } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { Member } from './lib/member.mjs';
import { newUserKey } from './lib/v2.mjs';
import { withCluster } from './lib/with_cluster.mjs';

const room = 'room';
/** In the order of a message's way. stored: when the node dies there, the message is. */
const places = [
  { name: 'request_read', what: 'the request was read and nothing done', stored: false },
  { name: 'submitted', what: 'it waits in its room', stored: false },
  { name: 'before_commit', what: 'the store was not asked yet', stored: false },
  { name: 'after_commit_before_answer', what: 'the store has it, and nobody knows', stored: true },
  { name: 'answered_before_bus', what: 'its sender has the answer, and nobody else knows', stored: true },
];
const shownWithinMs = 2_000;

for (const { name, what, stored } of places) {
  test(`a node dies at ${name} (${what}): the last message reaches everybody, once`, () =>
    withCluster({ nodesCount: 2, binary: testBinary, args: ['--rate-limits', 'off', '--name-grace', '1s'] }, async (cluster) => {
      const [dying, other] = cluster.nodes;
      // First without a fault: people on both nodes, and a past.
      const people = [
        new LibraryPerson({ url: other.url, room, name: 'Ana' }), new LibraryPerson({ url: other.url, room, name: 'Bruno' }),
        new ClassicPerson({ address: other.address, room, name: 'Cleo', reconnectAfterMs: 200 }),
      ];
      await Promise.all(people.map((person) => person.come()));
      for (const person of people) person.say(`${person.name} is here`);
      await allQuiet(people);

      // Now the one who speaks is alone on a node that is armed, and never comes back himself.
      await dying.kill();
      // Until that one is known to be dead, its silence alone makes the other compare heads.
      if (stored) await until('it is taken for dead', async () => (await other.metric('tertulia_peers')) === 0);
      await dying.start({ failpoint: `${name}:${name === 'request_read' ? 2 : 1}=kill` });
      if (stored) await until('the other hears of it', async () => (await other.metric('tertulia_peers')) === 1);
      const speaker = await Member.connect(dying.address);
      const joined = await speaker.join(room, 'Speaker');
      const uuid = randomUUID();
      const answer = speaker.text(room, 'the last word', uuid).then(() => 'acked', () => 'lost');
      assert.equal((await dying.dies()).signal, 'SIGKILL');
      const died = performance.now();
      assert.ok(dying.log.includes(`failpoint: killed at ${name}`), 'it died elsewhere');
      const seen = (person) => person.story.events.some((event) => event.kind === 'saw' && event.message.uuid === uuid);
      if (stored) {
        await until('everybody on the other node has seen it', () => people.every(seen), shownWithinMs, () => people.map((person) => person.tell()));
        console.log(`# ${name}: seen by all ${Math.round(performance.now() - died)} ms after the node's death`);
      }
      const wasAcked = await answer === 'acked';
      assert.ok(stored || !wasAcked, 'acked, and nothing was stored');

      // Something said later has its place behind it.
      const again = await Member.connect(other.address);
      await again.join(room, 'Somebody else');
      await again.text(room, 'after it');
      await until('everybody has seen what came after it', () => people.every((person) => person.at >= (stored ? 5 : 4)), 10_000,
        () => people.map((person) => person.tell()));
      for (const person of people) assert.equal(seen(person), stored);
      const said = { kind: 'said', room, uuid, userId: joined.userId, text: 'the last word' };
      const gone = {
        name: 'Speaker', roomName: room, trouble: [],
        story: { who: 'the speaker', dialect: 'v2', events: wasAcked ? [said, { kind: 'acked', room, uuid }] : [said] },
      };
      await Promise.all(people.map((person) => person.go()));
      again.cut();
      await other.kill();
      await judge({ dataDir: cluster.folder, readStore: () => cluster.readStore() }, [...people, gone],
        { strangers: true, caughtUp: (person) => people.includes(person) });
    }));
}

for (const { name } of places) {
  test(`a node dies at ${name}, and the speaker comes to another and says it again: one message, told its first place`, () =>
    withCluster({ nodesCount: 2, binary: testBinary, args: ['--rate-limits', 'off'] }, async (cluster) => {
      const [dying, other] = cluster.nodes;
      const listener = new LibraryPerson({ url: other.url, room, name: 'Listener' });
      await listener.come();
      await dying.kill();
      await dying.start({ failpoint: `${name}:${name === 'request_read' ? 2 : 1}=kill` });
      const userKey = newUserKey();
      const speaker = await Member.connect(dying.address);
      await speaker.join(room, 'Speaker', { userKey });
      const uuid = randomUUID();
      const first = speaker.text(room, 'once', uuid).then(({ _id }) => _id, () => undefined);
      await dying.dies();
      const again = await Member.connect(other.address);
      await again.join(room, 'Speaker', { userKey });
      const { _id } = await again.text(room, 'once', uuid);
      if (await first) assert.equal(_id, await first);
      assert.match(_id, /^1-/);
      await until('the listener has it', () => listener.at === 1, 5_000);
      await again.text(room, 'twice');
      await until('the listener has the next', () => listener.at === 2, 5_000);
      const rows = (await cluster.readStore()).get(room);
      assert.deepEqual(rows?.map(({ sequence, text }) => [sequence, text]), [[1, 'once'], [2, 'twice']]);
      again.cut();
      await listener.go();
    }));
}
