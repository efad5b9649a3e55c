// TLS to the store: who is signed by the authority that the URL names is talked to, and nobody else; and what the log says
// of a refusal tells what to do.
import assert from 'node:assert/strict';
import test from 'node:test';
import { makeAuthority, makeCertificate } from '../cluster/certificates.mjs';
import { Mongo } from '../cluster/mongo.mjs';
import { Postgres } from '../cluster/postgres.mjs';
import { removeFolder, temporaryFolder } from '../cluster/program.mjs';
import { allQuiet, LibraryPerson } from './lib/people.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

/** @param {string} folder */
async function makeFiles(folder) {
  const [ours, theirs] = await Promise.all([makeAuthority(folder, 'ours'), makeAuthority(folder, 'theirs')]);
  return { ours: ours.certificate, theirs: theirs.certificate, server: await makeCertificate(folder, ours) };
}

const ofStore = (url) => ({ url, read: () => Promise.reject(new Error('nobody reads it')) });

/** A node starts on this store, and somebody talks. @param {string} url @param {() => Promise<void>} [meanwhile] */
async function serves(url, meanwhile) {
  const server = new Server({ store: ofStore(url) });
  try {
    await server.start();
    const person = new LibraryPerson({ url: server.url, room: 'plaza', name: 'Ana' });
    await person.come();
    person.say('over TLS');
    await allQuiet([person]);
    await meanwhile?.();
    await person.go();
    assert.deepEqual(person.trouble, []);
  } catch (error) {
    throw server.explain(error);
  } finally {
    await server.remove();
  }
}

/** A node waits for this store, and says why. @param {string} url @param {RegExp[]} sentences @param {string} folder */
async function refuses(url, sentences, folder) {
  // Whoever runs the test may have an authority of his own at home.
  const server = new Server({ store: ofStore(url), env: { HOME: folder, SSL_CERT_FILE: '' } });
  try {
    await server.start({ waitReady: false });
    const line = await until('it says why it waits', () => /^.*"waiting for the database".*$/m.exec(server.log)?.[0]);
    const { reason } = JSON.parse(line);
    for (const sentence of sentences) assert.match(reason, sentence);
    assert.doesNotMatch(server.log, /serves on/);
  } catch (error) {
    throw server.explain(error);
  } finally {
    await server.remove();
  }
}

test('PostgreSQL: verify-full takes the right authority, and refuses another, none, another name, and plain text', async () => {
  const folder = temporaryFolder('tls');
  const { ours, theirs, server: { certificate, key } } = await makeFiles(folder);
  const database = await Postgres.start({ folder, fast: true, tls: { certificate, key } });
  try {
    const name = await database.database();
    const url = (options, host = '127.0.0.1') => `${database.url(name, [{ host, port: database.port }])}?sslmode=verify-full${options}`;
    await serves(url(`&sslrootcert=${ours}`), async () => {
      const links = await database.query(
        "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tertulia'",
        { database: name });
      const [encrypted, all] = links.split('|').map(Number);
      assert.ok(all > 0, 'the node is there');
      assert.equal(encrypted, all, 'all of its connections are over TLS');
    });
    await refuses(url(`&sslrootcert=${theirs}`), [/certificate verify failed/, /authority.* has signed .*sslrootcert=\S+\.$/], folder);
    await refuses(url(''), [/root certificate file/, /Name the file of the authority .*sslrootcert=/], folder);
    await refuses(url(`&sslrootcert=${ours}`, 'localhost'), [/does not match host name/, /Write the host in the URL as the certificate names it/], folder);

    database.configure({ fast: true });
    database.signal('SIGHUP');
    await until('it takes no TLS any more', async () => await database.query('SHOW ssl', { database: name }) === 'off');
    await refuses(url(`&sslrootcert=${ours}`), [/does not support SSL/, /Turn ssl on/], folder);
  } finally {
    await database.stop();
    removeFolder(folder);
  }
});

test('MongoDB: tls=true takes the right authority, and refuses another and none', { skip: !!process.env.MONGODB_URL }, async () => {
  const folder = temporaryFolder('tls');
  const { ours, theirs, server: tls } = await makeFiles(folder);
  const database = await Mongo.start({ folder, tls: { ...tls, authority: ours } });
  try {
    const url = (options) => `${database.url(database.database()).split('?')[0]}?tls=true${options}`;
    await serves(url(`&tlsCAFile=${ours}`));
    await refuses(url(`&tlsCAFile=${theirs}`), [/certificate/, /tlsCAFile/], folder);
    await refuses(url(''), [/certificate/, /tlsCAFile/], folder);
  } finally {
    await database.stop();
    removeFolder(folder);
  }
});
