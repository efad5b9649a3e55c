// Certificates for stores that are reached over TLS: an authority of the test's own, and what it signs.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { needProgram } from './program.mjs';

const run = promisify(execFile);

/**
 * @param {string} folder @param {string} name of the authority
 * @returns {Promise<{certificate: string, key: string}>} files
 */
export async function makeAuthority(folder, name) {
  const [certificate, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  await run(needProgram('openssl'), ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', certificate]);
  return { certificate, key };
}

/**
 * @param {string} folder @param {{certificate: string, key: string}} authority
 * @returns {Promise<{certificate: string, key: string}>} of a server at 127.0.0.1
 */
export async function makeCertificate(folder, authority) {
  const at = (name) => join(folder, `server.${name}`);
  writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1\n');
  await run(needProgram('openssl'), ['req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=server', '-keyout', at('key'), '-out', at('request')]);
  await run(needProgram('openssl'), ['x509', '-req', '-days', '2', '-in', at('request'), '-CA', authority.certificate, '-CAkey', authority.key,
    '-CAcreateserial', '-extfile', at('names'), '-out', at('pem')]);
  return { certificate: at('pem'), key: at('key') };
}
