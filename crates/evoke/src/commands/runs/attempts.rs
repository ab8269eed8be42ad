//! The attempts of one run, in a line each.

use std::time::Duration;

use evoke_gateway::api::{Attempt, Run, Usage};

use crate::output::words;

/// `2 ✗ failed after 12.3 ms, 3.1 ms CPU, 24.3 MiB, waited 1.2 ms (cold start): function_error: TypeError: …`
pub fn line(attempt: &Attempt) -> String {
    let micros = |us: u64| words::duration(Duration::from_micros(us));
    let good = attempt.outcome == "completed";
    let mark = if good { words::good("✓") } else { words::bad("✗") };
    let outcome = words::styled(words::state_style(&attempt.outcome), &attempt.outcome);
    let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
    let cold = if attempt.cold { " (cold start)" } else { "" };
    let mut text = format!("{mark} {} {outcome}{status} after {}", attempt.number, micros(attempt.ran_us));
    if let Some(usage) = &attempt.usage {
        text.push_str(&used(usage));
    }
    if attempt.waited_us >= 1_000 || attempt.cold {
        text.push_str(&format!(", waited {}{cold}", micros(attempt.waited_us)));
    }
    if let (false, Some(code)) = (good, &attempt.code) {
        let message = words::one_line(attempt.message.as_deref().unwrap_or_default());
        text.push_str(&format!(": {code}: {message}"));
    }
    text
}

/// `, 3.1 ms CPU, 24.3 MiB`, as far as it was measured. Shares of what several calls used together are marked.
fn used(usage: &Usage) -> String {
    let share = if usage.shared { " (its share)" } else { "" };
    let cpu = usage.cpu_us.map(|us| format!(", {} CPU{share}", words::duration(Duration::from_micros(us))));
    let memory = usage.peak_memory_bytes.map(|bytes| format!(", {}", words::size(bytes)));
    [cpu, memory].into_iter().flatten().collect()
}

/// What is worth a line below a run in a tree: attempts that failed, and any after them.
pub fn worth_a_line(run: &Run) -> impl Iterator<Item = String> + '_ {
    let plain = run.attempts.len() == 1 && run.attempts.iter().all(|attempt| attempt.outcome == "completed");
    run.attempts.iter().filter(move |_| !plain).map(line)
}
