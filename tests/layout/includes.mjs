// Fails when a file of server/ includes what lies below its own folder, or when a pure folder takes hold of the world.
//   node includes.mjs ROOT
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

// From top to bottom: an include may point only to the same folder or to one further up. main.cc is below all.
const folders = ['base', 'protocol', 'room', 'session', 'store', 'bus', 'blob', 'node', 'net'];
// No sockets, no clock, no threads, no chance of their own: time and chance are arguments there.
const pure = ['room', 'session'];
const worldly = /^(thread|mutex|shared_mutex|condition_variable|future|chrono|random|ctime|time\.h|fstream|unistd\.h|poll\.h|pthread\.h|sys\/.*|netinet\/.*|arpa\/.*|boost\/asio.*|boost\/beast.*|sqlite3\.h)$/;
// The shape of a piece of memory, not a call to the system.
const harmless = new Set(['sys/uio.h', 'sys/types.h']);

function* sources(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.(h|cc)$/.test(entry.name)) yield path;
  }
}

// One sentence for each include that is wrong.
export function wrongIncludes(root) {
  const server = join(root, 'server');
  const found = [];
  let files = 0;
  for (const path of sources(server)) {
    files++;
    const [folder] = relative(server, path).split(sep);
    const at = folder === 'main.cc' ? folders.length : folders.indexOf(folder);
    const name = relative(root, path);
    if (at < 0) {
      found.push(`${name}: ${folder} is not in the list of folders (ARCHITECTURE.md and tests/layout/includes.mjs)`);
      continue;
    }
    readFileSync(path, 'utf8').split('\n').forEach((line, index) => {
      const include = /^\s*#\s*include\s*(["<])([^">]+)[">]/.exec(line);
      if (!include) return;
      const [, quote, target] = include;
      const say = (what) => found.push(`${name}:${index + 1}: ${what}`);
      const [to] = target.split('/');
      const isOurs = folders.includes(to) && target.includes('/');
      if (isOurs && quote === '<') say(`<${target}> is ours and stands in quotes`);
      else if (isOurs && folders.indexOf(to) > at) say(`${folder}/ may not include ${to}/, which is below it: ${target}`);
      else if (!isOurs && quote === '"') say(`"${target}" is not of the form "folder/file.h" with a folder of server/`);
      else if (!isOurs && pure.includes(folder) && !name.endsWith('_test.cc') && worldly.test(target) && !harmless.has(target))
        say(`${folder}/ is pure and may not use <${target}>`);
    });
  }
  if (files === 0) found.push(`${server} holds no source`);
  return found;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const found = wrongIncludes(process.argv[2] ?? '.');
  for (const each of found) console.error(each);
  process.exit(found.length === 0 ? 0 : 1);
}
