// Reads the logs of all rooms out of a cluster's store, without the server: PostgreSQL by its own program, MongoDB's documents
// by its own driver (tests/cluster).
import { storeOfSql } from './store.mjs';

/**
 * @typedef {import('./store.mjs').Store} Store
 */

/**
 * Rows behind a room's head would be a fault too, so all there are are read.
 * @param {{query: (sql: string, how: {database: string}) => Promise<string>}} server
 * @param {string} database
 * @returns {Promise<Store>}
 */
export async function readPostgres(server, database) {
  const lines = await server.query(`
    SELECT row_to_json(found) FROM (
      SELECT rooms.name AS room, seq, encode(previous, 'hex') AS previous, encode(chain, 'hex') AS chain, kind,
        uuid, user_id, user_name, date, sent_at, text, file_name, content_type, size, sha256
      FROM (SELECT id, name FROM tertulia.rooms) rooms RIGHT JOIN tertulia.messages ON rooms.id = messages.room
      ORDER BY messages.room, seq) found`, { database });
  return storeOfSql(lines === '' ? [] : lines.split('\n').map((line) => JSON.parse(line)));
}

/**
 * Every document counts: one that nothing leads to makes a repeat of its sequence, or a chain that does not continue.
 * @param {Record<string, any>[]} documents of the collection `messages`
 * @returns {Store}
 */
export function readMongo(documents) {
  /** @type {Store} */ const store = new Map();
  for (const document of documents) {
    const rows = store.get(document.room) ?? [];
    store.set(document.room, rows);
    const { sequence, previous, chain, method, uuid, userId, userName, date, sentAt, text, fileName, contentType, size, sha256 } = document;
    rows.push({
      sequence: Number(sequence), previous, chain, method, uuid, userId, userName, date, sentAt: Number(sentAt),
      text, fileName, contentType, size: size === undefined ? undefined : Number(size), sha256,
    });
  }
  for (const rows of store.values()) rows.sort((a, b) => a.sequence - b.sequence);
  return store;
}
