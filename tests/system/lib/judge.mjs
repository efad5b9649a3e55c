// The end of every test of faults: the checker reads all stories and the store of a server that does not run.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { check, told } from '../../checker/checker.mjs';
import { writeHistory } from '../../checker/history.mjs';
import { readStore } from '../../checker/store.mjs';
import { seed } from './random.mjs';

/**
 * Fails with what was found. The histories are then kept in the server's directory, for tests/checker/check.mjs.
 * @param {{dataDir: string, readStore: () => Promise<import('../../checker/store.mjs').Store>}} server
 * @param {{name: string, story: import('../../checker/checker.mjs').Story, roomName: string, trouble: string[]}[]} people
 * @param {{caughtUp?: boolean | ((person: any) => boolean), storeDir?: string, strangers?: boolean}} [options]
 *   caughtUp: everybody (default), or whom it says yes to, must have seen the head and have everything acked
 * @returns {Promise<import('../../checker/store.mjs').Store>}
 */
export async function judge(server, people, { caughtUp = true, storeDir, strangers = false } = {}) {
  const store = await (storeDir ? readStore(storeDir) : server.readStore());
  const isCaughtUp = typeof caughtUp === 'function' ? caughtUp : () => caughtUp;
  const stories = people.map((person) => ({ ...person.story, caughtUp: isCaughtUp(person) ? [person.roomName] : [] }));
  const findings = check(store, stories, { strangers });
  if (findings.length > 0) {
    const dir = join(server.dataDir, 'histories');
    mkdirSync(dir, { recursive: true });
    stories.forEach((story, i) => writeHistory(join(dir, String(i)), story));
    assert.fail(`seed ${seed}; the histories are in ${dir}\n${told(findings)}`);
  }
  assert.deepEqual(people.flatMap(({ name, trouble }) => trouble.map((what) => `${name}: ${what}`)), []);
  return store;
}
