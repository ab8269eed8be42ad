// stopped by: deadline
// ends: timed_out
export async function* attack() {
  for (;;);
}
