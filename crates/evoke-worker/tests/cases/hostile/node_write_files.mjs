// stopped by: mount landlock
// ends: answered
import { writeFileSync, chmodSync } from 'node:fs';
export async function* attack() {
  yield refused(() => writeFileSync(new URL(import.meta.url), 'x'));
  yield refused(() => writeFileSync(new URL('new.mjs', import.meta.url), 'x'));
  yield refused(() => writeFileSync('/usr/evil', 'x'));
  yield refused(() => writeFileSync('/evil', 'x'));
}
