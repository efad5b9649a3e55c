import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onlyEmoji, splitLinks } from '../src/links.js';

const hrefs = (text: string): string[] => splitLinks(text).flatMap(({ href }) => (href === undefined ? [] : [href]));

const links: [text: string, ...hrefs: string[]][] = [
  ['http://a.example', 'http://a.example/'],
  ['see https://a.example/b?c=d#e, please', 'https://a.example/b?c=d#e'],
  ['(https://a.example/b)', 'https://a.example/b'],
  ['https://a.example/b_(c)', 'https://a.example/b_(c)'],
  ['(https://a.example/b_(c)).', 'https://a.example/b_(c)'],
  ['HTTPS://A.example', 'https://a.example/'],
  ['https://a.example.', 'https://a.example/'],
  ['<https://a.example>', 'https://a.example/'],
  ['https://a.example https://b.example', 'https://a.example/', 'https://b.example/'],
  ['https://b.example/😀', 'https://b.example/%F0%9F%98%80'],
  // No link:
  ['javascript:alert(1)'],
  ['data:text/html,<b>x</b>'],
  ['ftp://a.example'],
  ['nohttp://a.example'],
  ['https://'],
  ['https://...'],
  ['https://bank.example@elsewhere.example/'],
  ['https://bank.example:pin@elsewhere.example/'],
  ['http://[::1'],
  // A direction mark ends it: what is shown is what is opened.
  ['https://a.example/\u202egpj.exe', 'https://a.example/'],
  ['https://a\u200b.example', 'https://a/'],
];

test('only http and https addresses become links, without the punctuation around them', () => {
  for (const [text, ...wanted] of links) assert.deepEqual(hrefs(text), wanted, text);
});

test('the pieces together are the text', () => {
  for (const [text] of links) assert.equal(splitLinks(text).map((piece) => piece.text).join(''), text);
});

test('the longest message is split in no time, whatever it is made of', () => {
  const most = 64 << 10;
  for (const unit of ['http://', ')', 'https://a/)', 'http://(', '.', 'https://a.', 'a@http://']) {
    const text = `http://a.example/${unit.repeat(Math.ceil(most / unit.length)).slice(0, most)}`;
    const began = performance.now();
    assert.equal(splitLinks(text).map((piece) => piece.text).join(''), text);
    // Quadratic time would take minutes.
    assert.ok(performance.now() - began < 5000, unit);
  }
});

test('only emoji are shown as emoji', () => {
  for (const text of ['☕', '🥐🥐', '👩‍👧', '🇪🇸', '👍🏽', '❤️', '🎉 🎉']) assert.ok(onlyEmoji(text), text);
  for (const text of ['', ' ', '1', '#', '*', '☕ yes', '123', '©2026', '☕'.repeat(30)]) assert.ok(!onlyEmoji(text), text);
});
