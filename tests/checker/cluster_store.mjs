// Reads the logs of all rooms out of a cluster's store, without the server: PostgreSQL by its own program, MongoDB's documents
// by its own driver (tests/cluster).

/**
 * @typedef {import('./store.mjs').Store} Store
 */

const methods = ['', 'textMessage', 'imageMessage', 'fileMessage'];

/**
 * Rows behind a room's head would be a fault too, so all there are are read.
 * @param {{query: (sql: string, how: {database: string}) => Promise<string>}} server
 * @param {string} database
 * @returns {Promise<Store>}
 */
export async function readPostgres(server, database) {
  const lines = await server.query(`
    SELECT row_to_json(found) FROM (
      SELECT rooms.name AS room, seq AS sequence, encode(previous, 'hex') AS previous, encode(chain, 'hex') AS chain, kind,
        uuid, user_id, user_name, date, sent_at, text, file_name, content_type, size, sha256
      FROM (SELECT id, name FROM tertulia.rooms) rooms RIGHT JOIN tertulia.messages ON rooms.id = messages.room
      ORDER BY messages.room, seq) found`, { database });
  /** @type {Store} */ const store = new Map();
  for (const line of lines === '' ? [] : lines.split('\n')) {
    const row = JSON.parse(line);
    const rows = store.get(row.room) ?? [];
    store.set(row.room, rows);
    rows.push({
      sequence: row.sequence, previous: wire(row.previous), chain: wire(row.chain), method: methods[row.kind] || `kind ${row.kind}`,
      uuid: row.uuid, userId: row.user_id, userName: row.user_name, date: row.date, sentAt: row.sent_at,
      text: row.text ?? undefined, fileName: row.file_name ?? undefined, contentType: row.content_type ?? undefined,
      size: row.size ?? undefined, sha256: row.sha256 ?? undefined,
    });
  }
  return store;
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

function wire(hex) {
  return Buffer.from(hex, 'hex').toString('base64url');
}
