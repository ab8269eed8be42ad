// stopped by: memory rlimits
// ends: out_of_memory
export async function* attack() {
  const kept = [];
  for (let n = 0; n < 640; n++) kept.push(Buffer.alloc(16 << 20, 1));
  throw new Harm('10 GB were allocated');
}
