// stopped by: seccomp
// ends: answered
import { execFileSync } from 'node:child_process';
export async function* attack() {
  yield refused(() => execFileSync('/usr/bin/unshare', ['--user', '/bin/true'], { stdio: 'ignore' }));
  yield refused(() => execFileSync('/usr/bin/mount', ['-t', 'tmpfs', 'tmpfs', '/tmp'], { stdio: 'ignore' }));
}
