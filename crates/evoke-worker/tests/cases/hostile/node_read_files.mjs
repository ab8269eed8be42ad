// stopped by: mount landlock
// ends: answered
import { readFileSync, readdirSync } from 'node:fs';
export async function* attack(facts) {
  yield refused(() => readFileSync('/etc/shadow'));
  yield refused(() => readFileSync(facts.store));
  yield refused(() => readdirSync(facts.other_bundle));
}
