// Builds dist/, which the server embeds: the files of public/ as they are, and app.js from src/ and the client library's
// sources. With --tests: dist-test/ instead, for Node's test runner.
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

process.chdir(dirname(fileURLToPath(import.meta.url)));

const common = {
  bundle: true,
  format: 'esm',
  logLevel: 'warning',
  alias: { 'tertulia-client': '../client/src/index.ts' },
  // The library's own dependency is found here also where nobody has run npm in client/.
  nodePaths: ['node_modules'],
};

if (process.argv.includes('--tests')) {
  rmSync('dist-test', { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: readdirSync('test').filter((name) => name.endsWith('.test.ts')).map((name) => join('test', name)),
    outdir: 'dist-test',
    platform: 'node',
    target: 'node18',
    sourcemap: true,
  });
} else {
  execFileSync(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'], { stdio: 'inherit' });
  rmSync('dist', { recursive: true, force: true });
  cpSync('public', 'dist', { recursive: true });
  await build({
    ...common,
    entryPoints: ['src/main.ts'],
    outfile: 'dist/app.js',
    platform: 'browser',
    target: 'es2020',
    minify: true,
    legalComments: 'eof',
  });
}
