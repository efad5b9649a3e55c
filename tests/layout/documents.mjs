// Fails when a document leaves out what an operator can set or watch, or links to what is not there.
//   node documents.mjs ROOT
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

const operating = 'docs/operating.md';
// Where metrics are named; whatever else is a file of server/ names none.
const metricsNamed = ['server/base/metrics.cc', 'server/store/store_metrics.cc', 'server/main.cc', 'server/bus/local_bus.cc', 'server/bus/nats_bus.cc'];
// Nobody's documents: built, installed, or not ours.
const skipped = new Set(['node_modules', 'build', 'dist', 'dist-test', '.git']);

function* markdown(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* markdown(path);
    else if (entry.name.endsWith('.md')) yield path;
  }
}

/** What is documented stands between backticks, alone. */
const documents = (text, name) => text.includes(`\`${name}\``);

/** The first argument of each setting that settings.cc makes. */
export const settingsIn = (source) =>
  [...source.matchAll(/\b(?:text|choice|list|on_off|count|rate|size(?:<\w+>)?|duration)\(\s*"([a-z][a-z-]*)"/g)].map(([, name]) => name);

export const metricsIn = (source) => [...new Set(source.match(/"(?:tertulia|process)_[a-z_]+"/g) ?? [])].map((name) => name.slice(1, -1));

/** Of a heading, as it is linked to. */
const anchorOf = (heading) =>
  heading.trim().toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');

const withoutCode = (text) => text.replace(/^ {4,}.*$|^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, (code) => '`'.repeat(code.length));

/** One sentence for each relative link that leads nowhere. */
export function deadLinks(root) {
  const found = [];
  for (const path of markdown(root)) {
    const text = readFileSync(path, 'utf8');
    for (const [, target] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, anchor] = target.split('#');
      const to = file === '' ? path : join(dirname(path), decodeURIComponent(file));
      const say = (what) => found.push(`${relative(root, path)}: ${target} ${what}`);
      if (!existsSync(to)) say('is not there');
      else if (anchor && to.endsWith('.md')) {
        const headings = [...readFileSync(to, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading));
        if (!headings.includes(anchor)) say('has no such heading');
      }
    }
  }
  return found;
}

/** One sentence for each setting and metric that docs/operating.md does not name. */
export function undocumented(root) {
  const read = (name) => readFileSync(join(root, name), 'utf8');
  const text = read(operating);
  const settings = settingsIn(read('server/node/settings.cc'));
  const metrics = metricsNamed.filter((name) => existsSync(join(root, name))).flatMap((name) => metricsIn(read(name)));
  const found = [];
  // So that a new way of writing them is not taken for "there are none".
  if (settings.length === 0) found.push('server/node/settings.cc: no setting was recognised; mend tests/layout/documents.mjs');
  if (metrics.length === 0) found.push('server/base/metrics.cc: no metric was recognised; mend tests/layout/documents.mjs');
  for (const name of settings) if (!documents(text, name)) found.push(`${operating}: the setting ${name} is missing`);
  for (const name of metrics) if (!documents(text, name)) found.push(`${operating}: the metric ${name} is missing`);
  return found;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const root = process.argv[2] ?? '.';
  const found = [...undocumented(root), ...deadLinks(root)];
  for (const each of found) console.error(each);
  process.exit(found.length === 0 ? 0 : 1);
}
