// Builds dist/: ESM and CommonJS for Node and bundlers (the hash stays a dependency), one self-contained ESM file for
// browsers, and the types. With --tests also dist-test/, which test/run.mjs runs.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

process.chdir(dirname(fileURLToPath(import.meta.url)));

const tests = process.argv.includes('--tests');
const tsc = join('node_modules', 'typescript', 'bin', 'tsc');
const common = { bundle: true, target: 'es2020', sourcemap: true, logLevel: 'warning' };

if (tests) {
  if (!process.argv.includes('--unchecked')) execFileSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { stdio: 'inherit' });
  rmSync('dist-test', { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: readdirSync('test').filter((name) => name.endsWith('.ts')).map((name) => join('test', name)),
    outdir: 'dist-test',
    format: 'esm',
    platform: 'node',
    target: 'node18',
    packages: 'external',
    splitting: true,
  });
} else {
  rmSync('dist', { recursive: true, force: true });
  const node = { ...common, entryPoints: ['src/index.ts'], platform: 'neutral', packages: 'external' };
  await build({ ...node, outfile: 'dist/index.js', format: 'esm' });
  await build({ ...node, outfile: 'dist/index.cjs', format: 'cjs' });
  await build({
    ...common,
    entryPoints: ['src/index.ts'],
    outfile: 'dist/tertulia.browser.js',
    format: 'esm',
    platform: 'browser',
    minify: true,
    legalComments: 'eof',
  });
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.types.json'], { stdio: 'inherit' });
  // CommonJS programs are given the same types as those of a CommonJS package.
  mkdirSync('dist/cjs');
  writeFileSync('dist/cjs/package.json', '{"type":"commonjs"}\n');
  for (const name of readdirSync('dist').filter((each) => each.endsWith('.d.ts'))) {
    copyFileSync(join('dist', name), join('dist', 'cjs', name));
  }
}
