//! Every bound that keeps a queue, a buffer, a body or a fan-out finite, in one place.

use std::time::Duration;

use crate::chain::ChainLimits;

/// The bounds of one node. [`Limits::default`] suits a small machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request body, and of a response body that has to be held in memory.
    pub body_bytes: u64,
    /// Bytes of the answer to an asynchronous call that are kept; of a longer one the beginning.
    pub result_bytes: u64,
    /// How long they are.
    pub results_kept: Duration,
    /// Bytes of one CloudEvent in JSON format.
    pub event_bytes: u64,
    /// Events of one publish.
    pub publish_events: usize,
    /// Invocations one event may fan out to.
    pub fan_out: usize,
    /// Units of work ([`crate::filter::bounds`]) that filters may take for the events that are accepted at once, beyond
    /// what each has to itself. What they have not decided by then they decide when the delivery is due.
    pub filter_work: u32,
    /// Events that may wait for their time, of all apps together.
    pub delayed_events: usize,
    /// How far away that time may be.
    pub delay: Duration,
    /// How long chains of calls and events may be, where the manifest does not say.
    pub chain: ChainLimits,
    /// Invocations of a function from outside in the same way within a minute, more of which may be a loop.
    pub loop_rate: u64,
    /// Starts whose invocations are counted at the same time; those with the fewest lately are forgotten first.
    pub chain_starts: usize,
    /// Events of the platform's own about trouble (failing functions, dead letters, loops) for one app in a second.
    pub lifecycle_events_per_second: u64,
    /// As many of them at once.
    pub lifecycle_events_at_once: u64,
    /// State writes plus emitted events of one attempt.
    pub effects: usize,
    /// Bytes of those effects.
    pub effects_bytes: u64,
    /// Waits of one app for events.
    pub waits: usize,
    /// How long a wait may last.
    pub wait: Duration,
    /// Bytes of what a wait keeps for the function it ends in, as JSON.
    pub wait_data_bytes: u64,
    /// Bytes of a key, and of a namespace name.
    pub key_bytes: usize,
    /// Bytes of one value.
    pub value_bytes: u64,
    /// Bytes of one secret.
    pub secret_bytes: usize,
    /// Secrets of one app.
    pub secrets: usize,
    /// Entries of one page of a list.
    pub page: usize,
    /// Attempts of all functions at once, but for calls that running functions make.
    pub running: usize,
    /// Sync calls of one function that may wait to be let in, where it does not say; one more is refused.
    pub waiting_calls: usize,
    /// Sync calls of all functions that may.
    pub waiting_calls_all: usize,
    /// Bytes of the bodies of those.
    pub waiting_bytes: u64,
    /// How long a sync call may wait to be let in, where its function does not say, and for an instance.
    pub waiting: Duration,
    /// Instances of all functions together.
    pub instances: usize,
    /// Memory of all instances together: the sum of what each may use at most.
    pub instance_bytes: u64,
    /// Header fields of a request or response.
    pub headers: usize,
    /// Bytes of all those header fields.
    pub header_bytes: usize,
    /// Bytes of one log line; the rest of the line is cut.
    pub log_line_bytes: usize,
    /// Log lines of one attempt; further ones are counted, not kept.
    pub log_lines: usize,
    /// Bytes of them.
    pub log_bytes: u64,
    /// Log lines of one function in a second, all its attempts together; ten times that at once.
    pub log_lines_per_second: u64,
    /// Bytes of them.
    pub log_bytes_per_second: u64,
    /// Bytes of a deployed bundle, packed and unpacked.
    pub bundle_bytes: u64,
    /// Deployments of an app that are kept in any case, the newest.
    pub deployments_kept: usize,
    /// Deployments before the current one whose files are kept ready, so that they can come back at once.
    pub deployments_ready: usize,
    /// Deployments of an app that are kept at most, for the sake of events they met.
    pub deployments: usize,
    /// How long what is under way in an app that is removed may take to finish.
    pub removal_grace: Duration,
    /// How long files that no deployment needs any more are kept.
    pub files_grace: Duration,
    /// Files of a deployed bundle.
    pub bundle_files: usize,
    /// How long installing the packages that one file asks for may take.
    pub install: Duration,
    /// Installations at the same time; further ones wait.
    pub installs: usize,
    /// Bytes of what one such file asks for, installed.
    pub package_bytes: u64,
    /// Files and folders of the same.
    pub package_files: usize,
    /// Bytes of all installed packages. Above it those that were not used for longest are removed, but none that is in use.
    pub packages_bytes: u64,
    /// Connections of one instance to its runtime API (runtime `provided`), and so requests it may have under way.
    pub runtime_api_connections: usize,
    /// Connections of one instance to the outside.
    pub egress_connections: usize,
    /// Connections of all instances to the outside.
    pub egress_connections_all: usize,
    /// Names one instance may have addresses for at once; the one that was not asked for longest is forgotten.
    pub egress_names: usize,
    /// Names of all functions that may be looked up at once.
    pub egress_lookups: usize,
    /// How long finding and reaching a destination may take.
    pub egress_connect: Duration,
    /// How long a connection to the outside may carry nothing.
    pub egress_idle: Duration,
    /// Deliveries that wait for a paused subscription; further ones are noted as skipped.
    pub paused_backlog: u64,
    /// Bytes of the events of one batch in JSON format; more are left for the next.
    pub batch_bytes: u64,
    /// Requests of hooks that may be under way, of all hooks together.
    pub hook_requests: usize,
    /// The longest pause that a hook's endpoint may ask for.
    pub hook_retry_after: Duration,
    /// How long a lease lasts before it must be extended.
    pub lease: Duration,
    /// How long an idle instance is kept.
    pub idle: Duration,
    /// How long starting an instance may take.
    pub start: Duration,
    /// Starts of a function that may fail in a row before further ones back off.
    pub crash_loop: u32,
    /// Processes that are kept to fork instances from (zygotes), of all functions together.
    pub zygotes: usize,
    /// Memory of those, proportional set size when they have loaded their function. Those without instances give way.
    pub zygote_bytes: u64,
    /// How long a zygote without instances is kept.
    pub zygote_idle: Duration,
    /// Whether a zygote keeps one instance forked ahead of the next wish for one.
    pub fork_ahead: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 6 << 20,
            result_bytes: 1 << 20,
            results_kept: Duration::from_secs(24 * 60 * 60),
            event_bytes: 1 << 20,
            publish_events: 1_000,
            fan_out: 1_000,
            filter_work: 2_000_000,
            delayed_events: 100_000,
            delay: Duration::from_secs(366 * 24 * 60 * 60),
            chain: ChainLimits { depth: 16, reentries: 8, invocations: 100_000 },
            loop_rate: 6_000,
            chain_starts: 10_000,
            lifecycle_events_per_second: 2,
            lifecycle_events_at_once: 100,
            effects: 1_000,
            effects_bytes: 8 << 20,
            waits: 10_000,
            wait: Duration::from_secs(366 * 24 * 60 * 60),
            wait_data_bytes: 64 << 10,
            key_bytes: 512,
            value_bytes: 1 << 20,
            secret_bytes: 32 << 10,
            secrets: 200,
            page: 1_000,
            running: 4_096,
            waiting_calls: 1_000,
            waiting_calls_all: 4_000,
            waiting_bytes: 64 << 20,
            waiting: Duration::from_secs(10),
            instances: 256,
            // The server knows its machine and says less.
            instance_bytes: 256 << 30,
            headers: 100,
            header_bytes: 64 << 10,
            log_line_bytes: 8 << 10,
            log_lines: 10_000,
            log_bytes: 4 << 20,
            log_lines_per_second: 1_000,
            log_bytes_per_second: 512 << 10,
            bundle_bytes: 64 << 20,
            deployments_kept: 20,
            deployments_ready: 3,
            deployments: 1_000,
            removal_grace: Duration::from_secs(30),
            files_grace: Duration::from_secs(6 * 60 * 60),
            bundle_files: 10_000,
            install: Duration::from_secs(10 * 60),
            installs: 2,
            package_bytes: 1 << 30,
            package_files: 100_000,
            packages_bytes: 8 << 30,
            runtime_api_connections: 64,
            egress_connections: 128,
            egress_connections_all: 1_024,
            egress_names: 1_024,
            egress_lookups: 32,
            egress_connect: Duration::from_secs(10),
            egress_idle: Duration::from_secs(15 * 60),
            paused_backlog: 100_000,
            batch_bytes: 6 << 20,
            hook_requests: 256,
            hook_retry_after: Duration::from_secs(24 * 60 * 60),
            lease: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            start: Duration::from_secs(20),
            crash_loop: 3,
            zygotes: 32,
            zygote_bytes: 512 << 20,
            zygote_idle: Duration::from_secs(300),
            fork_ahead: true,
        }
    }
}
