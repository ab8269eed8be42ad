// stopped by: pid landlock uid
// ends: answered
import { readFileSync } from 'node:fs';
export async function* attack(facts) {
  for (const pid of [1, facts.launcher, facts.host, facts.neighbour]) yield refused(() => readFileSync(`/proc/${pid}/environ`));
}
