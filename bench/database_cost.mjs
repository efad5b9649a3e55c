// What PostgreSQL itself uses: the processor time of all its processes, and pgbench as the measure of what the same rows
// cost when nothing but rows is inserted.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ticksUs = 10_000;  // /proc counts what has ended in hundredths of a second

/**
 * User and system time of a process and its children in µs, those that have ended among them: PostgreSQL's workers come and
 * go, and their first process waits for each.
 * @param {number} pid
 */
export function treeCpuUs(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((each) => each !== '');
  let us = 0;
  for (const each of [pid, ...children]) {
    try {
      us += Number(readFileSync(`/proc/${each}/schedstat`, 'utf8').split(' ')[0]) / 1000;
    } catch { /* ended meanwhile: now it is among those waited for */ }
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return us + (Number(fields[13]) + Number(fields[14])) * ticksUs;
}

/**
 * A statement as the nodes' rows would make it, if rows were all: the same table, columns, sizes and indexes, prepared, one
 * commit each. The text stands in the statement, so that not even its way to the server counts.
 * @param {number} rows @param {number} rooms each row is of another
 */
function script(rows, rooms) {
  const room = rooms === 1 ? '1' : `(p.room + i * 7) % ${rooms} + 1`;
  return `\\set first :turn * 1000000000000 + :client_id * 100000000000 + :n
\\set n :n + ${rows}
\\set room random(0, ${rooms - 1})
INSERT INTO bench.messages (room, seq, sent_at, size, kind, previous, chain, uuid, user_id, user_name, date, id_json, text,
  file_name, content_type, sha256)
SELECT ${room}, p.first + i, 1700000000000 + p.first % 1000000, NULL, 1, '\\x0102030405060708090a0b0c',
  '\\x0102030405060708090a0b0c', 'run-' || (p.first + i), '~bare-bare-bare-bare-ba', 'member-00001',
  '2020-01-01T00:00:00.000Z', '12345', '${'x'.repeat(200)}', NULL, NULL, NULL
FROM (SELECT :first::bigint AS first, :room::int AS room) p, generate_series(0, ${rows - 1}) i;
`;
}

/** The table that pgbench writes to, empty. @param {import('../tests/cluster/postgres.mjs').Postgres} postgres @param {string} database */
export async function makeTable(postgres, database) {
  await postgres.query('CREATE SCHEMA bench; CREATE TABLE bench.messages (LIKE tertulia.messages INCLUDING ALL)', { database });
}

let turns = 0;

/**
 * As many clients as there were nodes insert as many rows a commit (on average), and as many commits a second.
 * @param {import('../tests/cluster/postgres.mjs').Postgres} postgres @param {string} database
 * @param {{rowsPerCommit: number, rooms: number, clients: number, commitsPerSecond: number, seconds: number}} load
 */
export async function pgbench(postgres, database, { rowsPerCommit, rooms, clients, commitsPerSecond, seconds }) {
  const fewer = Math.floor(rowsPerCommit);
  const scripts = [fewer, fewer + 1].flatMap((rows, i) => {
    const weight = Math.round(100 * (i === 0 ? fewer + 1 - rowsPerCommit : rowsPerCommit - fewer));
    const file = join(postgres.folder, `insert${i}.sql`);
    writeFileSync(file, script(rows, rooms));
    return weight > 0 ? ['-f', `${file}@${weight}`] : [];
  });
  const count = async () => Number(await postgres.query('SELECT count(*) FROM bench.messages', { database }));
  const insert = async (how) => {
    const command = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', ...how, '-D', 'n=0', '-D', `turn=${++turns}`, ...scripts,
      postgres.url(database)];
    const there = await count();
    const before = treeCpuUs(Number(postgres.pid));
    const { stdout } = await run(join(postgres.programs, 'pgbench'), command, { timeout: (seconds + 60) * 1000 });
    const us = treeCpuUs(Number(postgres.pid)) - before;
    const rows = await count() - there;
    if (!(rows > 0) || /failed transactions: [1-9]/.test(stdout)) throw new Error(`pgbench inserted nothing:\n${stdout}`);
    return { us, rows };
  };
  // The nodes are connected before anything is measured: what connecting costs is taken off here.
  const once = await insert(['-t', '1']);
  const all = await insert(['-T', String(seconds), '-R', commitsPerSecond.toFixed(1)]);
  return { usPerRow: (all.us - once.us) / (all.rows - once.rows), rowsPerSecond: all.rows / seconds };
}

/**
 * What is wrong with the logs, by what the tables say: a gap, a row behind the head, a chain that does not continue.
 * @param {import('../tests/cluster/postgres.mjs').Postgres} postgres @param {string} database
 * @returns {Promise<{rows: number, faults: number}>}
 */
export async function gaps(postgres, database) {
  const [rows, faults] = (await postgres.query(`
    SELECT count(*), count(*) FILTER (WHERE seq <> nth OR (nth > 1 AND previous <> before) OR head <> rows OR (seq = head AND r.chain <> m.chain))
    FROM (SELECT room, seq, previous, chain, row_number() OVER w AS nth, lag(chain) OVER w AS before, count(*) OVER (PARTITION BY room) AS rows
          FROM tertulia.messages WINDOW w AS (PARTITION BY room ORDER BY seq)) m JOIN tertulia.rooms r ON r.id = m.room`, { database }))
    .split('|').map(Number);
  return { rows, faults };
}
