#include "store/postgres/schema.h"

#include "store/postgres/connection.h"

namespace tertulia::postgres {

using cluster::Failure;

namespace {

constexpr char kSchema[] = R"sql(
CREATE SCHEMA tertulia;
COMMENT ON SCHEMA tertulia IS 'Tertulia, group chat. A room is a log; messages are appended to it and never changed.';

CREATE TABLE tertulia.about (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version  integer NOT NULL  -- of these tables; a server that knows only older ones does not start
);
INSERT INTO tertulia.about (version) VALUES (1);

-- The head is changed by every append and nothing else here is, so its pages keep room for that.
CREATE TABLE tertulia.rooms (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  head  bigint NOT NULL,                   -- sequence of the newest message; 0: none
  chain bytea  NOT NULL,                   -- the chain up to there
  name  text COLLATE "C" NOT NULL UNIQUE
) WITH (fillfactor = 50);

-- Appended in order, which is cheaper than clustering by room. A row counts only if the rows before it lead to it.
CREATE TABLE tertulia.messages (
  room         bigint   NOT NULL,          -- rooms.id
  seq          bigint   NOT NULL,          -- 1, 2, 3 ... without a gap
  sent_at      bigint   NOT NULL,          -- milliseconds since 1970, the server's clock; nothing is ordered by it
  size         bigint,                     -- of an image or a file
  kind         smallint NOT NULL,          -- 1 text, 2 image, 3 file
  previous     bytea    NOT NULL,          -- the chain that it continues
  chain        bytea    NOT NULL,          -- its own
  uuid         text COLLATE "C" NOT NULL,  -- the sender's
  user_id      text COLLATE "C" NOT NULL,
  user_name    text COLLATE "C" NOT NULL,
  date         text COLLATE "C" NOT NULL,  -- the sender's, as he wrote it
  id_json      text COLLATE "C" NOT NULL,  -- the sender's id of the request
  text         text COLLATE "C",
  file_name    text COLLATE "C",
  content_type text COLLATE "C",
  sha256       text COLLATE "C",
  CONSTRAINT messages_in_order PRIMARY KEY (room, seq)
);
-- Of room + 0, so that "room = … AND seq …" fits the one index and "room + 0 = … AND uuid = …" the other: as long as a
-- table has no statistics both look as good for either, and a plan that was made then reads a room from its beginning.
CREATE UNIQUE INDEX messages_once ON tertulia.messages ((room + 0), uuid);

CREATE TABLE tertulia.read_markers (
  room    bigint NOT NULL,
  seq     bigint NOT NULL,                 -- read up to here
  user_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (room, user_id)
) WITH (fillfactor = 80);

-- Who has which name in which room, and (room '') which node is alive. Changed by compare-and-swap of the version; rows
-- are never deleted, for a version is never used twice.
CREATE TABLE tertulia.records (
  room    text COLLATE "C" NOT NULL,       -- a room's name; '': a node's lease
  name    text COLLATE "C" NOT NULL,       -- a folded user name; of a lease, the node
  version bigint  NOT NULL,
  live    boolean NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  nodes   text[]  NOT NULL,                -- the nodes on which that user has sessions
  state   text    NOT NULL,                -- JSON
  PRIMARY KEY (room, name)
) WITH (fillfactor = 80);
CREATE INDEX records_live ON tertulia.records (room, name) WHERE live;
CREATE INDEX records_user ON tertulia.records (room, user_id) WHERE room <> '';
CREATE INDEX records_nodes ON tertulia.records USING gin (nodes) WITH (fastupdate = off) WHERE live AND room <> '';

-- The number in a function's name is that of its behaviour: nodes of two releases may run at once, so a function is
-- never replaced by another of its name.

-- Appends a batch: numbers and chains what is new, behind the heads of its rooms. Each room once in room_names, each
-- message with its room's place there, and its form: what its chain is made of, behind the number. Arrays about images
-- and files may be empty if there are none.
--
-- Answers: fenced, then nothing else was done; fits, for each room; chains, for each message the 12 bytes that it was
-- given or null; firsts and starts, for each room the number and the chain before what was added; there and there_at,
-- the rows of uuids that were there already, and whose they are.
--
-- A statement costs about as much as three rows, and an array in FROM as one: hence ways of their own for one room, and
-- rows that are made in a loop.
CREATE FUNCTION tertulia.append_1(
  node text, room_names text[], known_seqs bigint[], known_chains bytea[],
  at int[], forms bytea[], uuids text[], user_ids text[], user_names text[], dates text[], sent_ats bigint[],
  ids_json text[], texts text[], kinds smallint[], file_names text[], content_types text[], sizes bigint[],
  sha256s text[],
  OUT fenced boolean, OUT fits boolean[], OUT firsts bigint[], OUT starts bytea[], OUT chains bytea[],
  OUT there tertulia.messages[], OUT there_at int[])
LANGUAGE plpgsql VOLATILE AS $function$
#variable_conflict use_column
DECLARE
  rooms_count  CONSTANT int := cardinality(room_names);
  room_ids     bigint[];
  heads        bigint[];
  head_chains  bytea[];
  room_id      bigint;
  lives        boolean;
  fit          boolean;
  room         int := 1;
  number       bigint;
  link         bytea;
  previous     bytea;
  found_count  int := 0;
  added        int := 0;
  inserted     bigint;
  rows         tertulia.messages[];
BEGIN
  -- Declaring a node dead takes this lock alone: either its appends are committed before that, or a statement behind
  -- this one sees it. (Not a statement of its own, but evaluated on the spot.)
  IF node <> '' AND pg_advisory_xact_lock_shared(1413829460, hashtext(node)) IS NULL THEN
    RAISE EXCEPTION 'no lock';
  END IF;

  IF rooms_count = 1 THEN
    SELECT r.id, r.head, r.chain,
           node = '' OR EXISTS (SELECT FROM tertulia.records k WHERE k.room = '' AND k.name = node AND k.live)
    INTO room_id, number, link, lives
    FROM tertulia.rooms r WHERE r.name = room_names[1] FOR NO KEY UPDATE OF r;
  END IF;
  IF room_id IS NULL THEN
    SELECT count(*) = rooms_count,
           node = '' OR EXISTS (SELECT FROM tertulia.records k WHERE k.room = '' AND k.name = node AND k.live)
    INTO fit, lives
    FROM tertulia.rooms r WHERE r.name = ANY (room_names);
    IF lives AND NOT fit THEN
      -- By name, and before any room is locked: two batches that make the same rooms wait for one another in one order.
      INSERT INTO tertulia.rooms (head, chain, name)
      SELECT 0, substr(sha256(convert_to('tertulia:' || n.name, 'UTF8')), 1, 12), n.name
      FROM unnest(room_names) n(name)
      WHERE NOT EXISTS (SELECT FROM tertulia.rooms r WHERE r.name = n.name)
      ORDER BY n.name COLLATE "C"
      ON CONFLICT (name) DO NOTHING;
    END IF;
  END IF;
  fenced := NOT lives;
  IF fenced THEN
    RETURN;
  END IF;
  IF room_id IS NULL THEN
    -- By id: two batches of the same rooms do not deadlock.
    SELECT array_agg(l.id ORDER BY l.i), array_agg(l.head ORDER BY l.i), array_agg(l.chain ORDER BY l.i)
    INTO room_ids, heads, head_chains
    FROM (SELECT n.i, r.id, r.head, r.chain
          FROM unnest(room_names) WITH ORDINALITY n(name, i) JOIN tertulia.rooms r ON r.name = n.name
          ORDER BY r.id FOR NO KEY UPDATE OF r) l;
    IF coalesce(cardinality(room_ids), 0) <> rooms_count THEN
      RAISE EXCEPTION 'a room has gone while it was written to' USING ERRCODE = '40001';
    END IF;
    number := heads[1];
    link := head_chains[1];
  ELSE
    room_ids := ARRAY[room_id];
    heads := ARRAY[number];
    head_chains := ARRAY[link];
  END IF;
  firsts := heads;
  starts := head_chains;

  -- From here on in later statements, so that what was committed while the lock was waited for is seen. A position is
  -- the log's if the row behind it continues it. OFFSET 0: each uuid is looked up by itself, whatever the plan.
  IF rooms_count = 1 THEN
    SELECT array_agg(f.m), array_agg(f.i),
           CASE WHEN known_seqs[1] >= number THEN known_seqs[1] = number AND known_chains[1] = link
                ELSE EXISTS (SELECT FROM tertulia.messages k
                             WHERE k.room = room_ids[1] AND k.seq = known_seqs[1] + 1 AND k.previous = known_chains[1]) END
    INTO there, there_at, fit
    FROM (SELECT x.m, u.i
          FROM unnest(uuids) WITH ORDINALITY u(uuid, i) CROSS JOIN LATERAL (
            SELECT m FROM tertulia.messages m
            WHERE m.room + 0 = room_ids[1] AND m.uuid = u.uuid AND m.seq <= number OFFSET 0) x
          ORDER BY u.i) f;
    fits := ARRAY[fit];
  ELSE
    IF known_seqs = heads AND known_chains = head_chains THEN
      fits := array_fill(true, ARRAY[rooms_count]);
    ELSE
      SELECT array_agg(CASE
               WHEN k.seq >= heads[k.i] THEN k.seq = heads[k.i] AND k.chain = head_chains[k.i]
               ELSE EXISTS (SELECT FROM tertulia.messages m
                            WHERE m.room = room_ids[k.i] AND m.seq = k.seq + 1 AND m.previous = k.chain) END ORDER BY k.i)
      INTO fits
      FROM unnest(known_seqs, known_chains) WITH ORDINALITY k(seq, chain, i);
    END IF;
    SELECT array_agg(f.m), array_agg(f.i)
    INTO there, there_at
    FROM (SELECT x.m, u.i
          FROM unnest(at, uuids) WITH ORDINALITY u(room, uuid, i) CROSS JOIN LATERAL (
            SELECT m FROM tertulia.messages m
            WHERE m.room + 0 = room_ids[u.room] AND m.uuid = u.uuid AND m.seq <= heads[u.room] OFFSET 0) x
          ORDER BY u.i) f;
  END IF;

  chains := array_fill(NULL::bytea, ARRAY[cardinality(at)]);
  FOR i IN 1 .. cardinality(at) LOOP
    IF at[i] <> room THEN
      heads[room] := number;
      head_chains[room] := link;
      room := at[i];
      number := heads[room];
      link := head_chains[room];
    END IF;
    IF there_at[found_count + 1] = i THEN
      found_count := found_count + 1;
      CONTINUE;
    END IF;
    CONTINUE WHEN NOT fits[room];
    added := added + 1;
    number := number + 1;
    previous := link;
    link := substr(sha256(link || convert_to(length(number::text) || ':' || number || ',', 'UTF8') || forms[i]), 1, 12);
    chains[i] := link;
    rows[added] := ROW(room_ids[room], number, sent_ats[i], sizes[i], coalesce(kinds[i], 1), previous, link, uuids[i],
                       user_ids[i], user_names[i], dates[i], ids_json[i], texts[i], file_names[i], content_types[i],
                       sha256s[i])::tertulia.messages;
  END LOOP;

  IF added = 0 THEN
    -- A clean answer proves what it tells: that the rows found here survive a failover. An empty commit proves nothing.
    IF there_at IS NOT NULL THEN
      PERFORM pg_logical_emit_message(true, 'tertulia', '');
    END IF;
    RETURN;
  END IF;

  IF rooms_count = 1 THEN
    WITH head AS (UPDATE tertulia.rooms r SET head = number, chain = link WHERE r.id = room_ids[1])
    INSERT INTO tertulia.messages SELECT m.* FROM unnest(rows) m;
  ELSE
    heads[room] := number;
    head_chains[room] := link;
    WITH head AS (
      UPDATE tertulia.rooms r SET head = n.head, chain = n.chain
      FROM unnest(room_ids, heads, head_chains) n(id, head, chain)
      WHERE r.id = n.id AND r.head <> n.head)
    INSERT INTO tertulia.messages SELECT m.* FROM unnest(rows) m;
  END IF;
  GET DIAGNOSTICS inserted = ROW_COUNT;
  IF inserted <> added THEN
    RAISE EXCEPTION 'a trigger or rule of the database has left out a message' USING ERRCODE = '23000';
  END IF;
END
$function$;

-- Changes records, each from the version that its writer has seen. No key twice. node_lists are arrays written as text.
CREATE FUNCTION tertulia.put_1(
  node text, rooms text[], names text[], versions bigint[], lives boolean[], user_ids text[], node_lists text[],
  states text[], OUT fenced boolean, OUT won boolean[])
LANGUAGE plpgsql VOLATILE AS $function$
#variable_conflict use_column
DECLARE
  key record;
  put record;
BEGIN
  -- A node's end is declared under the lock that its appends and puts share; all in one order.
  fenced := false;
  FOR key IN
    SELECT k.hash, bool_or(k.alone) AS alone
    FROM (SELECT hashtext(node), false WHERE node <> ''
          UNION ALL
          SELECT hashtext(p.name), true FROM unnest(rooms, names, lives) p(room, name, live)
          WHERE p.room = '' AND NOT p.live) k(hash, alone)
    GROUP BY k.hash ORDER BY k.hash
  LOOP
    IF key.alone THEN
      PERFORM pg_advisory_xact_lock(1413829460, key.hash);
    ELSE
      PERFORM pg_advisory_xact_lock_shared(1413829460, key.hash);
    END IF;
  END LOOP;
  IF node <> '' THEN
    PERFORM 1 FROM tertulia.records r WHERE r.room = '' AND r.name = node AND r.live;
    IF NOT FOUND THEN
      fenced := true;
      RETURN;
    END IF;
  END IF;

  won := array_fill(false, ARRAY[cardinality(names)]);
  -- New ones first, then the others, each by key: two puts of the same records do not deadlock.
  FOR put IN
    SELECT p.* FROM unnest(rooms, names, versions, lives, user_ids, node_lists, states)
      WITH ORDINALITY p(room, name, version, live, user_id, nodes, state, i)
    WHERE p.version = 0 ORDER BY p.room COLLATE "C", p.name COLLATE "C"
  LOOP
    INSERT INTO tertulia.records (room, name, version, live, user_id, nodes, state)
    VALUES (put.room, put.name, 1, put.live, put.user_id, put.nodes::text[], put.state)
    ON CONFLICT (room, name) DO NOTHING;
    won[put.i] := FOUND;
  END LOOP;

  PERFORM 1
  FROM unnest(rooms, names, versions) p(room, name, version)
  JOIN tertulia.records r ON r.room = p.room AND r.name = p.name
  WHERE p.version > 0 ORDER BY r.room, r.name FOR NO KEY UPDATE OF r;

  FOR put IN
    UPDATE tertulia.records r
    SET version = p.version + 1, live = p.live, user_id = p.user_id, nodes = p.nodes::text[], state = p.state
    FROM unnest(rooms, names, versions, lives, user_ids, node_lists, states)
      WITH ORDINALITY p(room, name, version, live, user_id, nodes, state, i)
    WHERE p.version > 0 AND r.room = p.room AND r.name = p.name AND r.version = p.version
    RETURNING p.i
  LOOP
    won[put.i] := true;
  END LOOP;
END
$function$;

-- Read markers may be lost for the last second, so they wait neither for the disk nor for the standby.
CREATE FUNCTION tertulia.write_markers_1(room_names text[], user_ids text[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $function$
#variable_conflict use_column
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  INSERT INTO tertulia.read_markers AS old (room, user_id, seq)
  SELECT r.id, u.user_id, u.seq
  FROM unnest(room_names, user_ids, seqs) u(name, user_id, seq) JOIN tertulia.rooms r ON r.name = u.name
  ORDER BY r.id, u.user_id COLLATE "C"
  ON CONFLICT (room, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > old.seq;
END
$function$;
)sql";

// One transaction, for it is sent as one. So many nodes as may start at once wait for the first one's tables.
constexpr char kMakeBegin[] = R"sql(
SELECT set_config('lock_timeout', '30s', true);
SELECT pg_advisory_xact_lock(1413829460, 0);
DO $make$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
                 WHERE n.nspname = 'tertulia' AND c.relname = 'about') THEN
    EXECUTE $schema$
)sql";
constexpr char kMakeEnd[] = R"sql(
    $schema$;
  END IF;
END $make$;
)sql";
constexpr char kVersion[] = "SELECT version FROM tertulia.about";
constexpr char kExists[] =
    "SELECT count(*) FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid"
    " WHERE n.nspname = 'tertulia' AND c.relname = 'about'";

std::string failed(const Connection& connection, const Failure& failure) {
  std::string sentence = "store: " + failure.reason + ".";
  if (connection.sqlstate() == "42501") {
    sentence +=
        " The role in the URL must own the schema tertulia: grant it CREATE on the database for the first start,"
        " or give it the schema with ALTER SCHEMA and REASSIGN OWNED.";
  }
  return sentence;
}

}  // namespace

std::string prepare_schema(Connection& connection) {
  if (Failure failure = connection.ensure(); failure) return failed(connection, failure);
  const std::string where = "store: PostgreSQL at " + connection.address();
  if (connection.server_version() < kServerVersionMin) {
    return where + " is version " + std::to_string(connection.server_version() / 10'000) +
           ", and 15 or later is needed. Upgrade it.";
  }
  Answer answer;
  if (Failure failure = connection.script("SHOW server_encoding", answer); failure) return failed(connection, failure);
  if (text_of(answer.at(0, 0)) != "UTF8") {
    return where + " keeps this database in the encoding " + text_of(answer.at(0, 0)) +
           ". Make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.";
  }
  if (Failure failure = connection.script(kExists, answer); failure) return failed(connection, failure);
  if (text_of(answer.at(0, 0)) == "0") {
    Failure failure = connection.script(std::string(kMakeBegin) + kSchema + kMakeEnd, answer);
    if (failure) return failed(connection, failure);
  }
  if (Failure failure = connection.script(kVersion, answer); failure) return failed(connection, failure);
  const std::string version = text_of(answer.at(0, 0));
  if (version != std::to_string(kSchemaVersion)) {
    return where + " was written by a newer Tertulia (tables of version " + version + ", this one knows " +
           std::to_string(kSchemaVersion) + "). Start that version, or restore an older backup.";
  }
  return "";
}

}  // namespace tertulia::postgres
