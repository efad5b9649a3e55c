// The page as people use it: in Chromium, on the real server.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Server, repository, setup, withServer } from '../system/lib/server.mjs';
import { Client, WebSocket } from '../system/lib/people.mjs';
import { eventually, otherMachine, withBrowser } from './person.mjs';

/** Tests that reach into the files of SQLite. */
const insideSqlite = { skip: setup !== 'sqlite' && 'another store keeps no such files' };

const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const joined = (name) => `${name} came in`;

/** Says `count` texts in a room, by the library. */
async function fill(server, room, count) {
  const client = new Client({ url: server.url, WebSocket });
  client.connect();
  await client.room(room).join({ userName: 'The one before' });
  for (let i = 1; i <= count; i++) client.room(room).send(`before ${i}`);
  assert.deepEqual(await client.room(room).flush(60_000), []);
  await client.close();
}

describe('on one server', () => {
  /** @type {Server} */ let server;
  before(async () => {
    server = await Server.start({ args: ['--rate-limits', 'off'] });
  });
  after(() => server.remove());

  test('two people find each other, see who is here, and hear what the other says', () => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', server.httpUrl);
    await ana.come('el café & más');
    // The room is in the address, so that it invites; nothing else is.
    const invitation = ana.page.url();
    assert.equal(decodeURIComponent(new URL(invitation).hash), '#el café & más');
    assert.equal(new URL(invitation).search, '');
    assert.equal(await ana.page.title(), 'el café & más · Tertulia');
    await ana.page.waitForSelector('#empty:not([hidden])');

    const bruno = await browser.person('Bruno', invitation);
    assert.equal(await bruno.page.inputValue('#door-room'), 'el café & más');
    assert.equal(await bruno.page.evaluate(() => document.activeElement.id), 'door-name');
    await bruno.come();
    await eventually(ana, 'both are here', async () => (await ana.people()).join() === 'Ana,Bruno');
    await eventually(bruno, 'both are here', async () => (await bruno.people()).join() === 'Ana,Bruno');
    await ana.page.locator('.note', { hasText: joined('Bruno') }).waitFor();

    // Enter sends, Shift+Enter begins a line; the button sends too; white space alone is nothing.
    await ana.page.fill('#say', 'one');
    await ana.page.press('#say', 'Shift+Enter');
    await ana.page.type('#say', 'two');
    await ana.page.press('#say', 'Enter');
    await ana.say('  \n ');
    await ana.page.fill('#say', 'three');
    await ana.page.click('#send');
    await bruno.sees('three');
    assert.deepEqual((await bruno.log()).map(({ text }) => text), ['one\ntwo', 'three']);
    assert.deepEqual((await ana.log()).map(({ own }) => own), [true, true]);

    // Who listens hears what others say, and not what they say themselves; the focus stays where it is.
    await eventually(bruno, 'it is announced', async () => /Ana: three/.test(await bruno.page.textContent('#heard')));
    assert.equal(await bruno.page.getAttribute('#heard', 'aria-live'), 'polite');
    assert.equal(await ana.page.textContent('#heard'), '');
    assert.equal(await bruno.page.evaluate(() => document.activeElement.id), 'say');

    await bruno.page.click('#leave');
    await bruno.page.waitForSelector('#door:not([hidden])');
    assert.equal(new URL(bruno.page.url()).hash, '');
    await eventually(ana, 'Bruno has left', async () => (await ana.people()).join() === 'Ana');
    for (const person of [ana, bruno]) {
      await person.alwaysInOrder();
      await person.faultless();
      // Everything comes from the server, and no icon is asked for that is not there.
      const foreign = person.requests.filter((url) => !url.startsWith(`${server.httpUrl}/`));
      assert.deepEqual(foreign, []);
    }
  }));

  test('a name that is taken is said beside the field, and what was typed is kept', () => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', `${server.httpUrl}/#taken`);
    await ana.come();
    const other = await browser.person('ANA', `${server.httpUrl}/#taken`);
    await other.page.fill('#door-name', 'ANA');
    await other.page.press('#door-name', 'Enter');
    await other.page.locator('#door-name-wrong', { hasText: 'Somebody here is called ANA already.' }).waitFor();
    assert.equal(await other.page.inputValue('#door-name'), 'ANA');
    assert.equal(await other.page.inputValue('#door-room'), 'taken');
    assert.equal(await other.page.getAttribute('#door-name', 'aria-invalid'), 'true');
    assert.match(await other.page.getAttribute('#door-name', 'aria-describedby'), /door-name-wrong/);
    assert.equal(await other.page.evaluate(() => document.activeElement.id), 'door-name');
    await other.page.click('#door-other');
    assert.equal(await other.page.inputValue('#door-name'), 'ANA 2');
    await other.page.click('#door-enter');
    await other.live();
    await eventually(ana, 'the other is here', async () => (await ana.people()).join() === 'Ana,ANA 2');
    for (const person of [ana, other]) await person.faultless();
  }));

  test('a reload goes straight back as the same user, and a line stands above what came meanwhile', () => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', `${server.httpUrl}/#reload`);
    const bruno = await browser.person('Bruno', `${server.httpUrl}/#reload`);
    await ana.come();
    await bruno.come();
    await ana.say('before');
    await bruno.sees('before');
    await ana.sees('before');
    await eventually(ana, 'the position is remembered', async () => /"position":"1-/.test(await ana.remembered('tertulia.rooms')));
    const key = await ana.remembered('tertulia.key');
    assert.match(key, /^[A-Za-z0-9_-]{43}$/);

    await ana.page.goto('about:blank');
    await bruno.say('meanwhile');
    await bruno.sees('meanwhile');
    await ana.open();
    await ana.sees('meanwhile');
    await ana.live();
    assert.deepEqual((await ana.log()).map(({ text, own }) => [text, own]), [['before', true], ['meanwhile', false]]);
    const fresh = ana.page.locator('#messages li', { has: ana.page.locator('.fresh') });
    assert.deepEqual(await fresh.locator('.text').allTextContents(), ['meanwhile']);
    assert.equal(await ana.remembered('tertulia.key'), key);
    await ana.say('after');
    await bruno.sees('after');
    // She neither left nor came: she was away for a moment.
    const notes = await bruno.page.locator('#messages .note').allTextContents();
    assert.deepEqual(notes, []);
    // The key is a secret: in no address, and not on the page.
    for (const person of [ana, bruno]) assert.ok(person.requests.every((url) => !url.includes(key)), 'the key in an address');
    assert.ok(!(await ana.page.content()).includes(key));

    // Another room in the same browser is another name, and the same user; coming back is one click.
    await ana.page.click('#leave');
    await ana.page.click('#door-rooms a');
    await ana.live();
    assert.equal(await ana.page.textContent('#room-title'), 'reload');
    assert.equal(await ana.remembered('tertulia.key'), key);
    for (const person of [ana, bruno]) await person.faultless();
  }));

  test('500 messages: older ones on request up to the first, few in the document, and back to the newest', () => withBrowser(async (browser) => {
    await fill(server, 'long', 500);
    const ana = await browser.person('Ana', `${server.httpUrl}/#long`);
    await ana.come();
    await ana.sees('before 500');
    const newest = (await ana.log()).at(-1).sequence;
    assert.equal(newest, 500);
    const oldestShown = async () => (await ana.log())[0].sequence;
    // Counted in the page at every change: looking in from outside now and then would miss the most.
    await ana.page.evaluate(() => {
      const count = () => (window.mostShown = Math.max(window.mostShown ?? 0, document.querySelectorAll('li[data-sequence]').length));
      new MutationObserver(count).observe(document.querySelector('#messages'), { childList: true, subtree: true });
    });
    await ana.page.focus('#scroll');
    await eventually(ana, 'the first message is shown', async () => {
      await ana.page.keyboard.press('Home');
      return (await oldestShown()) === 1;
    });
    const most = await ana.page.evaluate(() => window.mostShown);
    assert.ok(most <= 300, `${most} messages in the document`);
    assert.ok(most > 250, `only ${most} messages: the bound was not tried`);
    assert.equal(await ana.page.isVisible('#older'), false);

    // What others say now does not move the reader, and is counted.
    const bruno = await browser.person('Bruno', `${server.httpUrl}/#long`);
    await bruno.come();
    const top = await ana.page.$eval('#scroll', (scroll) => scroll.scrollTop);
    await bruno.say('hello up there');
    await ana.page.locator('#jump', { hasText: '1 new message' }).waitFor();
    assert.equal(await ana.page.title(), '(1) long · Tertulia');
    assert.equal(await ana.page.$eval('#scroll', (scroll) => scroll.scrollTop), top);
    await ana.page.click('#jump');
    await ana.sees('hello up there');
    await eventually(ana, 'the end is in sight', async () => !(await ana.page.isVisible('#jump')));
    assert.equal(await ana.page.title(), 'long · Tertulia');
    assert.equal((await ana.log()).at(-1).sequence, 501);
    await bruno.say('and live again');
    await ana.sees('and live again');
    await ana.alwaysInOrder();
    for (const person of [ana, bruno]) await person.faultless();
  }));

  test('older messages come in above without moving what one reads', () => withBrowser(async (browser) => {
    await fill(server, 'still', 200);
    const ana = await browser.person('Ana', `${server.httpUrl}/#still`);
    await ana.come();
    await ana.sees('before 200');
    await eventually(ana, 'a hundred are shown', async () => (await ana.log()).length === 100);
    // The first row in sight, and where it stands, before and after a page came in above.
    const place = () => ana.page.evaluate(() => {
      const row = document.querySelector('li[data-sequence="110"]');
      return Math.round(row.getBoundingClientRect().top - document.getElementById('scroll').getBoundingClientRect().top);
    });
    await ana.page.$eval('li[data-sequence="110"]', (row) => row.scrollIntoView({ block: 'start' }));
    const stood = await place();
    await eventually(ana, 'a page came in above', async () => (await ana.log()).length > 100);
    assert.ok(Math.abs((await place()) - stood) <= 1, `it stood at ${stood} and stands at ${await place()}`);
    await ana.faultless();
  }));

  test('what people write is text: no markup, no script, and only web addresses are links', () => withBrowser(async (browser) => {
    const texts = [
      '<img src=x onerror="window.hit=1"><script>window.hit=1</script>',
      'javascript:window.hit=1 data:text/html,<script>1</script>',
      '{{constructor}} ${hit} &lt;b&gt; \u202eabc',
      'x'.repeat(4000),
    ];
    const name = '<b onclick=hit>A"na</b>';
    const ana = await browser.person(name, `${server.httpUrl}/#${encodeURIComponent('<i>room</i> "\'&')}`);
    await ana.come();
    for (const text of texts) await ana.say(text);
    await ana.say('see https://example.org/a_(b)?c=1, and http://example.net.');
    await ana.sees('see https');
    await eventually(ana, 'all is in the log', async () => (await ana.log()).length === texts.length + 1);
    assert.deepEqual((await ana.log()).slice(0, -1).map(({ text }) => text), texts);
    assert.equal(await ana.page.textContent('#messages strong'), name);
    assert.equal(await ana.page.textContent('#room-title'), '<i>room</i> "\'&');
    assert.deepEqual(await ana.people(), [name]);
    assert.equal(await ana.page.locator('#messages :is(img, script, b, i), #people-list b, #room-title i').count(), 0);
    const links = await ana.page.$$eval('#messages a', (all) => all.map(({ href, rel, target }) => ({ href, rel, target })));
    assert.deepEqual(links, ['https://example.org/a_(b)?c=1', 'http://example.net/'].map((href) =>
      ({ href, rel: 'noopener noreferrer', target: '_blank' })));
    assert.equal(await ana.page.evaluate(() => window.hit), undefined);
    // Nothing makes the page wider than the window.
    const [wide, window_] = await ana.page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(wide <= window_, `${wide} px in a window of ${window_}`);
    await ana.faultless();
  }));

  test('a text that is too long stays in its field, with the reason', () => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', `${server.httpUrl}/#too-long`);
    await ana.come();
    const text = 'é'.repeat(33_000);
    await ana.say(text);
    const hint = ana.page.locator('#say-hint', { hasText: 'Too long by' });
    await hint.waitFor();
    assert.equal((await ana.page.inputValue('#say')).length, text.length);
    const byBytes = Number(/by (\d+) bytes/.exec(await hint.textContent())[1]);
    const longest = text.slice(0, text.length - Math.ceil(byBytes / 2));
    await ana.say(longest);
    await eventually(ana, 'the longest goes through', async () => (await ana.log())[0]?.text === longest);
    await ana.faultless();
  }));

  test('on plain http from another machine there is no secure context, and all works', () => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', `http://${otherMachine}:${server.port}/#plain`);
    assert.equal(await ana.page.evaluate(() => isSecureContext), false);
    assert.equal(await ana.page.evaluate(() => typeof crypto.subtle), 'undefined');
    await ana.come();
    await ana.say('here too');
    await ana.sees('here too');
    await ana.page.click('#copy');
    await eventually(ana, 'it says what became of the link', async () => (await ana.page.textContent('#copy')) !== 'Copy link');
    await ana.faultless();
  }));

  for (const colorScheme of ['light', 'dark']) for (const width of [390, 1280]) {
    test(`axe finds nothing, ${colorScheme}, ${width} px wide`, () => withBrowser(async (browser) => {
      const room = `axe-${colorScheme}-${width}`;
      const ana = await browser.person('Ana', server.httpUrl, { colorScheme, viewport: { width, height: 780 } });
      const paper = await ana.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(paper, colorScheme === 'light' ? 'rgb(250, 247, 242)' : 'rgb(27, 23, 20)');
      await look(ana, 'the door');
      await ana.page.click('#door-enter');
      await look(ana, 'the door, nothing filled in');
      await ana.come(room);
      const bruno = await browser.person('Bruno', `${server.httpUrl}/#${room}`, { colorScheme });
      await bruno.come();
      await ana.say('one https://example.org/');
      await bruno.say('two');
      await ana.sees('two');
      await ana.page.locator('.note', { hasText: joined('Bruno') }).waitFor();
      await look(ana, 'the table');
      if (width < 900) {
        await ana.page.click('#people-toggle');
        await look(ana, 'the people');
        await ana.page.keyboard.press('Escape');
        assert.equal(await ana.page.isVisible('#people'), false);
        assert.equal(await ana.page.evaluate(() => document.activeElement.id), 'people-toggle');
      }
      await ana.faultless();
    }));
  }
});

/** @param {import('./person.mjs').Person} person @param {string} what */
async function look(person, what) {
  const { page } = person;
  // Through the debugger: the page's policy lets no foreign script in.
  if (!(await page.evaluate(() => 'axe' in window))) {
    await page.evaluate(readFileSync(axePath, 'utf8'));
  }
  // What fades in is looked at when it is there.
  await page.evaluate(() => Promise.all(document.getAnimations().map((each) => each.finished)));
  const { violations, passes } = await page.evaluate(() => axe.run(document));
  const said = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`));
  assert.deepEqual(said, [], `${what}: axe`);
  const looked = passes.map(({ id }) => id);
  for (const rule of ['color-contrast', 'button-name']) assert.ok(looked.includes(rule), `${what}: axe looked at ${rule}`);
}

test('without a server: the countdown, queued and failed messages, in both themes', () => withServer({}, (server) => withBrowser(async (browser) => {
  const people = [];
  for (const colorScheme of ['light', 'dark']) {
    const person = await browser.person(colorScheme, `${server.httpUrl}/#down`, { colorScheme });
    await person.come();
    await person.say('is anybody here');
    await person.sees('is anybody here');
    // Seen is not yet acked: the answer comes on its own.
    await eventually(person, 'nothing is queued', async () => (await person.outgoing()).length === 0);
    people.push(person);
  }
  await server.kill();
  for (const person of people) {
    await person.say('still here');
    await person.page.locator('#line', { hasText: /Reconnecting in \d+ s/ }).waitFor();
    assert.equal(await person.page.isVisible('#line-retry'), true);
    assert.deepEqual(await person.outgoing(), ['still here']);
    await eventually(person, 'it is announced once, without seconds', async () =>
      (await person.page.textContent('#told')) === 'The connection is lost. Reconnecting.');
    await look(person, 'without a server');
    // Changing the page is warned of while something is not sent.
    const warned = await person.page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));
    assert.equal(warned, true);
  }
  await server.start();
  for (const person of people) {
    await person.retryNow();
    await person.live();
    await person.sees('still here');
    await eventually(person, 'it is announced', async () => (await person.page.textContent('#told')) === 'Connected again.');
    const warned = await person.page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));
    assert.equal(warned, false);
    await person.faultless();
  }
})));

test('what the server refuses stays, with Retry and Delete', insideSqlite, () => withServer({}, (server) => withBrowser(async (browser) => {
  const people = [];
  for (const colorScheme of ['light', 'dark']) {
    const person = await browser.person(colorScheme, `${server.httpUrl}/#poison`, { colorScheme });
    await person.come();
    people.push(person);
  }
  const [ana, bruno] = people;
  await ana.say('good');
  for (const person of people) await person.sees('good');
  const sql = (text) => execFileSync('sqlite3', ['-cmd', '.timeout 10000', join(server.dataDir, 'tertulia.db'), text]);
  sql("CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.text LIKE 'bad%' BEGIN SELECT RAISE(ABORT, 'poison'); END");
  await ana.say('bad');
  await ana.say('better');
  const failed = ana.page.locator('#outgoing .failed', { hasText: 'The server did not take it.' });
  await failed.waitFor();
  await bruno.sees('better');
  await bruno.say('bad too');
  for (const person of people) {
    await person.page.locator('#outgoing .failed').waitFor();
    await look(person, 'with a failed message');
  }
  // The arrow up leads to it from an empty field.
  await ana.page.focus('#say');
  await ana.page.keyboard.press('ArrowUp');
  assert.equal(await ana.page.evaluate(() => document.activeElement.textContent), 'Retry');
  sql('DROP TRIGGER poison');
  await ana.page.keyboard.press('Enter');
  await bruno.sees('bad');
  await eventually(ana, 'nothing is left over', async () => (await ana.outgoing()).length === 0);
  await bruno.page.locator('#outgoing .failed button', { hasText: 'Delete' }).click();
  await eventually(bruno, 'it is gone', async () => (await bruno.outgoing()).length === 0);
  for (const person of people) {
    assert.deepEqual((await person.log()).map(({ text }) => text), ['good', 'better', 'bad']);
    await person.faultless();
  }
})));

test('who comes back to a taken name says another one, and what waited is sent', () =>
  withServer({ args: ['--name-grace', '100ms'] }, (server) => withBrowser(async (browser) => {
    const ana = await browser.person('Ana', `${server.httpUrl}/#sala`);
    let isCut = false;
    /** @type {import('playwright-core').WebSocketRoute[]} */ const open = [];
    await ana.page.routeWebSocket(/\/chat$/, (page) => {
      if (isCut) return page.close({ code: 1013 });
      const toServer = page.connectToServer();
      open.push(page, toServer);
    });
    await ana.open();
    await ana.page.reload();
    await ana.come();
    const bruno = await browser.person('Bruno', `${server.httpUrl}/#sala`);
    await bruno.come();
    isCut = true;
    for (const each of open.splice(0)) await each.close({ code: 4321 });
    await ana.say('one');
    await ana.say('two');
    await eventually(bruno, 'Ana is gone', async () => (await bruno.people()).join() === 'Bruno');
    const other = await browser.person('ana', `${server.httpUrl}/#sala`);
    await other.come();
    isCut = false;
    await ana.retryNow();
    await ana.page.locator('#line', { hasText: 'Somebody else has your name here now.' }).waitFor();
    await look(ana, 'a name taken meanwhile');
    assert.deepEqual(await ana.outgoing(), ['one', 'two']);
    await ana.page.click('#line-rename');
    assert.equal(await ana.page.inputValue('#door-name'), 'Ana');
    await ana.page.fill('#door-name', 'Ana María');
    await ana.page.press('#door-name', 'Enter');
    await ana.live();
    await ana.say('three');
    await bruno.sees('three');
    assert.deepEqual((await bruno.log()).map(({ text }) => text), ['one', 'two', 'three']);
    await eventually(ana, 'nothing is queued', async () => (await ana.outgoing()).length === 0);
    await eventually(bruno, 'all are here', async () => (await bruno.people()).join() === 'ana,Ana María,Bruno');
    for (const person of [ana, bruno, other]) await person.faultless();
  })));

test('after a backup was restored the page shows what the server still has, and says so', insideSqlite, () => withServer({}, (server) => withBrowser(async (browser) => {
  const ana = await browser.person('Ana', `${server.httpUrl}/#backup`);
  await ana.come();
  for (const text of ['one', 'two']) await ana.say(text);
  await ana.sees('two');
  await server.interrupt();
  const backup = mkdtempSync(join(tmpdir(), 'tertulia-backup-'));
  try {
    cpSync(server.dataDir, backup, { recursive: true });
    await server.start();
    await ana.retryNow();
    await ana.live();
    await ana.say('lost with the disk');
    await ana.sees('lost with the disk');
    await server.kill();
    rmSync(server.dataDir, { recursive: true });
    cpSync(backup, server.dataDir, { recursive: true });
  } finally {
    rmSync(backup, { recursive: true, force: true });
  }
  await server.start();
  await ana.retryNow();
  await ana.page.locator('#went-back:not([hidden])').waitFor();
  await ana.live();
  await eventually(ana, 'it shows what there is', async () => (await ana.log()).map(({ text }) => text).join() === 'one,two');
  await ana.say('on we go');
  await ana.sees('on we go');
  assert.deepEqual((await ana.log()).map(({ sequence }) => sequence), [1, 2, 3]);
  await ana.faultless();
})));

test('a person at script/chat and one at the page hear each other', () => withServer({}, (server) => withBrowser(async (browser) => {
  const ana = await browser.person('Ana', `${server.httpUrl}/#sala`);
  await ana.come();
  const state = mkdtempSync(join(tmpdir(), 'tertulia-state-'));
  const chat = spawn(process.execPath, [join(repository, 'client/chat/chat.mjs'), 'sala', 'Terminal', server.httpUrl], {
    env: { ...process.env, XDG_STATE_HOME: state },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  chat.stdout.setEncoding('utf8').on('data', (text) => (shown += text));
  const ended = new Promise((done) => chat.once('close', done));
  try {
    await eventually(ana, 'the terminal is here', async () => (await ana.people()).join() === 'Ana,Terminal');
    chat.stdin.write('from the terminal\n');
    await ana.sees('from the terminal');
    await ana.say('from the page');
    await eventually(ana, 'the terminal shows it', async () => shown.includes('from the page'));
    chat.stdin.end();
    assert.equal(await ended, 0);
    await eventually(ana, 'the terminal has left', async () => (await ana.people()).join() === 'Ana');
  } finally {
    chat.kill('SIGKILL');
    rmSync(state, { recursive: true, force: true });
  }
  await ana.faultless();
})));
