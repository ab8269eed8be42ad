// stopped by: deadline
// ends: timed_out
import { Worker } from 'node:worker_threads';
export async function* attack() {
  for (let n = 0; n < 4; n++) new Worker('for (;;);', { eval: true });
  await new Promise(() => {});
}
