// stopped by: pids user
// ends: answered or out_of_memory or crashed
import { spawn } from 'node:child_process';
export async function* attack() {
  let failed = null;
  for (let n = 0; n < 1000 && failed === null; n++) {
    const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
    child.on('error', (error) => { failed = error.code; });
    await new Promise((next) => setImmediate(next));
  }
  if (failed === null) throw new Harm('a thousand children live');
  yield failed;
}
