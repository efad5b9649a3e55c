// The checker as a program:
//
//   node tests/checker/check.mjs STORE HISTORY...
//
// STORE: a data directory of SQLite, or a URL (see store.mjs). Prints what was found, a line each; exit status 0: nothing.
import { check, told } from './checker.mjs';
import { readHistory } from './history.mjs';
import { readStore } from './store.mjs';

const [where, ...files] = process.argv.slice(2);
if (files.length === 0) {
  console.error('check.mjs STORE HISTORY...: which store, and which histories?');
  process.exit(2);
}
const store = await readStore(where);
const findings = check(store, files.map(readHistory));
const rows = [...store.values()].reduce((sum, log) => sum + log.length, 0);
if (findings.length > 0) console.log(told(findings));
console.log(`${findings.length === 0 ? 'nothing' : findings.length} found in ${rows} messages of ${store.size} rooms and ${files.length} histories`);
process.exitCode = findings.length === 0 ? 0 : 1;
