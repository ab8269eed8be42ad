//! One run for a person: its facts, then the tree of everything that goes back to the same start.

use evoke_core::time::Timestamp;
use evoke_gateway::api::{EventNode, Run, RunTree, TreeNode};

use super::super::waits;
use super::{attempts, started_by, took};
use crate::exit::Result;
use crate::output::tree::Node;
use crate::output::{self, shown, words};

/// Prints it.
pub fn run(run: &Run, tree: &RunTree) -> Result<()> {
    let state = run.state.as_str();
    let mut facts = vec![
        ("run", run.id.to_string()),
        ("function", format!("{}/{}", run.app, run.function)),
        ("state", words::styled(words::state_style(state), state)),
        ("started by", started_by(&run.trigger)),
        ("accepted", run.created_at.to_string()),
    ];
    if run.shadow {
        facts.push(("shadow", "it goes back to a copy of a request: no client got its answer".to_owned()));
    }
    if !run.chain.is_empty() {
        let names: Vec<&str> = run.chain.iter().map(|link| link.function.as_str()).collect();
        facts.push(("chain", format!("{} → {}", names.join(" → "), run.function)));
    }
    facts.extend(run.due_at.map(|due| ("due", due.to_string())));
    facts.extend(took(run).map(|took| ("took", took)));
    facts.push(("trace", run.trace_id.clone()));
    for (name, value) in facts {
        output::line(format_args!("{} {value}", words::faint(format_args!("{name:<11}"))))?;
    }
    for attempt in &run.attempts {
        output::line(format_args!(
            "{} {}",
            words::faint(format_args!("{:<11}", "attempt")),
            attempts::line(attempt)
        ))?;
    }
    if let Some(result) = &run.result {
        let ty =
            result.content_type.as_deref().map(|ty| format!(" of {}", shown::line(ty))).unwrap_or_default();
        let cut = if result.truncated { ", not all of which is kept" } else { "" };
        output::line(format_args!(
            "{} {}{ty}, {} bytes{cut}; see `evoke runs result {}`",
            words::faint(format_args!("{:<11}", "result")),
            result.status,
            result.bytes,
            run.id
        ))?;
    }
    for wait in &run.waits {
        let (awaited, then) = (waits::awaited(wait), &wait.then);
        output::line(format_args!(
            "{} {awaited}, then {then}, until {}",
            words::faint(format_args!("{:<11}", "waits for")),
            wait.until
        ))?;
    }
    if let Some(stack) = run.attempts.last().and_then(|attempt| attempt.stack.as_deref()) {
        output::line("")?;
        stack
            .lines()
            .take(20)
            .try_for_each(|line| output::line(words::faint(format_args!("  {}", shown::line(line)))))?;
    }
    output::line("")?;
    let start = tree.nodes.iter().map(accepted_at).min().unwrap_or(run.created_at.0);
    for root in &tree.nodes {
        let started_by = match root {
            TreeNode::Run(root) => Some(started_by(&root.run.trigger)),
            TreeNode::Event(_) => None,
        };
        let mut root = node(root, start, run);
        // Whatever has a cause stands below it; only a start has to say what it was.
        root.label.extend(started_by.map(|by| words::faint(format_args!("  {by}"))));
        root.print()?;
    }
    if tree.truncated {
        output::line(words::faint("… the tree is larger than one answer; some of it is left out"))?;
    }
    Ok(())
}

fn accepted_at(node: &TreeNode) -> Timestamp {
    match node {
        TreeNode::Run(node) => node.run.created_at.0,
        TreeNode::Event(node) => node.accepted_at.0,
    }
}

/// The server bounds the depth of a tree (40 levels), so that this recursion is bounded too.
fn node(of: &TreeNode, start: Timestamp, asked: &Run) -> Node {
    let (label, notes, children) = match of {
        TreeNode::Run(of) => {
            (run_label(&of.run, start, asked), attempts::worth_a_line(&of.run).collect(), &of.children)
        }
        TreeNode::Event(of) => (event_label(of, start), Vec::new(), &of.children),
    };
    Node { label, notes, children: children.iter().map(|child| node(child, start, asked)).collect() }
}

/// `checkout  completed 200 in 12.3 ms  +0 µs  run_…`, with a mark at the run that was asked for.
fn run_label(run: &Run, start: Timestamp, asked: &Run) -> String {
    let state = run.state.as_str();
    let status = run.attempts.last().and_then(|attempt| attempt.status).map(|status| format!(" {status}"));
    let took = took(run).map(|took| format!(" in {took}")).unwrap_or_default();
    let due = run.due_at.map(|due| format!(", next attempt {}", offset(due.0, start))).unwrap_or_default();
    let here = if run.id == asked.id { words::styled(words::BUSY, "  ← this run") } else { String::new() };
    format!(
        "{}  {}{}{took}{due}  {}{here}",
        words::styled(words::NAME, &run.function),
        words::styled(words::state_style(state), state),
        status.unwrap_or_default(),
        words::faint(format_args!("{}  {}", offset(run.created_at.0, start), run.id)),
    )
}

/// `event purchase_complete (order-7)  +13.0 ms  evt_…`
fn event_label(event: &EventNode, start: Timestamp) -> String {
    let subject =
        event.subject.as_deref().map(|subject| format!(" ({})", shown::line(subject))).unwrap_or_default();
    format!(
        "event {}{subject}  {}",
        words::styled(words::NAME, shown::line(&event.r#type)),
        words::faint(format_args!("{}  {}", offset(event.accepted_at.0, start), event.id)),
    )
}

fn offset(at: Timestamp, start: Timestamp) -> String {
    format!("+{}", words::duration(at.since(start)))
}
