// Reads the logs of all rooms out of a SQLite store, without the server and without changing anything: a copy is read.
// What stands in the write-ahead log counts: a process that was killed leaves it there.
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * @typedef {{sequence: number, previous: string, chain: string, method: string, uuid: string, userId: string,
 *   userName: string, date: string, sentAt: number, text?: string, fileName?: string, contentType?: string,
 *   size?: number, sha256?: string}} Row chains as on the wire
 * @typedef {Map<string, Row[]>} Store a room's rows by sequence, as they stand: a hole or a repeat is not hidden
 */

const methods = ['', 'textMessage', 'imageMessage', 'fileMessage'];
const outputBytesMax = 1 << 30;

/** @param {string} dataDir @returns {Promise<Store>} */
export async function readStore(dataDir) {
  const copy = mkdtempSync(join(tmpdir(), 'tertulia-check-'));
  try {
    for (const name of ['tertulia.db', 'tertulia.db-wal'])
      if (existsSync(join(dataDir, name))) copyFileSync(join(dataDir, name), join(copy, name));
    const query = `
      SELECT rooms.name AS room, seq, lower(hex(previous)) AS previous, lower(hex(chain)) AS chain, uuid, kind, user_id,
        user_name, date, sent_at, text, file_name, content_type, size, sha256
      FROM messages LEFT JOIN rooms ON rooms.id = messages.room ORDER BY messages.room, seq`;
    const { stdout } = await promisify(execFile)('sqlite3', ['-json', join(copy, 'tertulia.db'), query],
      { maxBuffer: outputBytesMax });
    return storeOfSql(stdout.trim() === '' ? [] : JSON.parse(stdout));
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/**
 * The logs in rows of either SQL database, in the order of their numbers.
 * @param {Iterable<Record<string, any>>} found a column each; the chains in hex
 * @returns {Store}
 */
export function storeOfSql(found) {
  /** @type {Store} */ const store = new Map();
  for (const row of found) {
    const rows = store.get(row.room) ?? [];
    store.set(row.room, rows);
    rows.push({
      sequence: row.seq, previous: wire(row.previous), chain: wire(row.chain), method: methods[row.kind] || `kind ${row.kind}`,
      uuid: row.uuid, userId: row.user_id, userName: row.user_name, date: row.date, sentAt: row.sent_at,
      text: row.text ?? undefined, fileName: row.file_name ?? undefined, contentType: row.content_type ?? undefined,
      size: row.size ?? undefined, sha256: row.sha256 ?? undefined,
    });
  }
  return store;
}

/** @param {string} hex */
function wire(hex) {
  return Buffer.from(hex, 'hex').toString('base64url');
}
