// Two people chat on the page while the server is killed with -9 under them and comes back over the same directory.
import assert from 'node:assert/strict';
import test from 'node:test';
import { random } from '../system/lib/random.mjs';
import { long, withServer } from '../system/lib/server.mjs';
import { eventually, withBrowser } from './person.mjs';

const killsCount = long ? 20 : 4;
// Together less than the page keeps in the document: the test looks at all of it.
const burstMost = long ? 3 : 6;

test(`${killsCount} kills under two people who write: both pages show the store's log, and nothing is left queued`, async () => {
  const chance = random('browser');
  await withServer({}, (server) => withBrowser(async (browser) => {
    const [ana, bruno] = [await browser.person('Ana', `${server.httpUrl}/#sala`), await browser.person('Bruno', `${server.httpUrl}/#sala`)];
    const people = [ana, bruno];
    for (const person of people) await person.come();
    await ana.say('Ana 0');
    await bruno.say('Bruno 0');
    for (const person of people) for (const text of ['Ana 0', 'Bruno 0']) await person.sees(text);

    const said = new Map(people.map((person) => [person, [`${person.name} 0`]]));
    const burst = async (person) => {
      for (let left = 1 + chance.below(burstMost); left > 0; left--) {
        const text = `${person.name} ${said.get(person).length}`;
        said.get(person).push(text);
        await person.say(text);
      }
    };
    for (let kill = 1; kill <= killsCount; kill++) {
      // Into the middle of what is being written.
      const writing = Promise.all(people.map(burst));
      if (chance.below(2) === 0) await writing;
      await server.kill();
      await writing;
      for (const person of people) {
        await burst(person);
        const queued = said.get(person).at(-1);
        await eventually(person, 'the page says that the connection is lost', () => person.page.isVisible('#line'));
        await eventually(person, `${queued} is shown as queued`, async () => (await person.outgoing()).includes(queued));
        await eventually(person, 'the page says that it will be sent', async () =>
          /will be sent/i.test(await person.page.textContent('#say-hint')));
      }
      await server.start();
      // By itself, or because somebody does not want to wait.
      if (kill > 1) for (const person of people) await person.retryNow();
      for (const person of people) {
        await person.live();
        for (const other of people) await person.sees(said.get(other).at(-1));
        await eventually(person, 'nothing is queued', async () => (await person.outgoing()).length === 0);
      }
    }

    const store = (await server.readStore()).get('sala');
    const truth = store.map(({ sequence, text }) => ({ sequence, text }));
    assert.deepEqual(truth.map(({ sequence }) => sequence), truth.map((_, i) => i + 1));
    for (const person of people) {
      const mine = truth.map(({ text }) => text).filter((text) => text.startsWith(person.name));
      assert.deepEqual(mine, said.get(person), `what ${person.name} said, in the order said, each once`);
      const shown = await person.log();
      assert.deepEqual(shown.map(({ sequence, text }) => ({ sequence, text })), truth, `${person.name}'s page`);
      assert.deepEqual(shown.filter(({ own }) => own).map(({ text }) => text), mine);
      await person.alwaysInOrder();
      // Nobody came or went: they only lost the server.
      const notes = await person.page.$$eval('#messages .note', (all) => all.map((each) => each.textContent));
      assert.deepEqual(notes, person === ana ? ['Bruno came in'] : []);
      await person.faultless();
    }

    // A third person finds it all as it is.
    const clara = await browser.person('Clara', `${server.httpUrl}/#sala`);
    await clara.come();
    await clara.sees(truth.at(-1).text);
    // The button goes when the list, scrolled up for the click, has read what is older by itself.
    await eventually(clara, 'everything older is there', async () => {
      await clara.page.click('#older', { timeout: 1_000 }).catch(() => {});
      return !(await clara.page.isVisible('#older'));
    });
    assert.deepEqual((await clara.log()).map(({ sequence, text }) => ({ sequence, text })), truth);
    await eventually(ana, 'all three are here', async () => (await ana.people()).join() === 'Ana,Bruno,Clara');
    await clara.faultless();
  }));
});
