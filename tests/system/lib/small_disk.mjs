// A disk of a few MiB that can be full: a tmpfs in a mount namespace of its own, so that nothing of it is seen outside,
// and nothing of it is left when its keeper ends. Needs root, or a kernel that lets users make namespaces.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, rmdirSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.mjs';

export class SmallDisk {
  /** @param {number} mebibytes */
  static async make(mebibytes) {
    const disk = new SmallDisk();
    disk.path = mkdtempSync(join(tmpdir(), 'tertulia-disk-'));
    const isRoot = process.getuid?.() === 0;
    disk.keeper = spawn('unshare', [...(isRoot ? ['-m'] : ['-U', '-r', '-m']), 'sh', '-c',
      'mount -t tmpfs -o size="$1" tertulia "$0" && echo mounted && read _', disk.path, `${mebibytes}m`],
      { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '', ended = false;
    for (const stream of [disk.keeper.stdout, disk.keeper.stderr]) stream.on('data', (text) => { said += text; });
    disk.ended = new Promise((done) => disk.keeper.once('close', () => { ended = true; done(undefined); }));
    await until('the small disk is mounted', () => {
      if (ended) throw new Error(`no small disk (unshare, mount): ${said}`);
      return said.includes('mounted');
    });
    /** Runs a command line where the disk is seen; with the keeper's root, which need not be that of its mounts (chroot). */
    disk.wrapper = ['nsenter', ...(isRoot ? [] : ['-U', '--preserve-credentials']), '-m', '-r', '-t', String(disk.keeper.pid), '--'];
    /** The same directory, seen from here. */
    disk.outside = `/proc/${disk.keeper.pid}/root${disk.path}`;
    return disk;
  }

  /** Takes all that is free, to the last byte. */
  fill() {
    const file = openSync(join(this.outside, 'filler'), 'a');
    try {
      for (let piece = 1 << 20; piece >= 1;) {
        try {
          if (writeSync(file, Buffer.alloc(piece, 1)) < piece) piece >>= 1;
        } catch (error) {
          if (/** @type {any} */ (error).code !== 'ENOSPC') throw error;
          piece >>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  /** There is room again. */
  relieve() {
    rmSync(join(this.outside, 'filler'), { force: true });
  }

  async remove() {
    this.keeper.stdin.end();
    await this.ended;
    try {
      rmdirSync(this.path);
    } catch (error) {
      // A test that failed has left there what it has to tell.
      if (/** @type {any} */ (error).code !== 'ENOTEMPTY') throw error;
    }
  }
}
