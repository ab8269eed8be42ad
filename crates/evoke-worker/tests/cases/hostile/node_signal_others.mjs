// stopped by: pid landlock
// ends: answered
export async function* attack(facts) {
  for (const pid of [facts.host, facts.launcher, facts.neighbour]) yield refused(() => process.kill(pid, 0));
}
