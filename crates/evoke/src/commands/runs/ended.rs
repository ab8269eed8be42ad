//! A run when it has ended, and what it came to.

use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::record::RunState;
use evoke_core::time::Clock as _;
use evoke_gateway::api::Run;

use super::super::invoke;
use crate::client::Client;
use crate::clock::ServerClock;
use crate::exit::{Exit, Result};
use crate::output::{self, Format};

/// The longest that one request waits.
const AT_ONCE: Duration = Duration::from_secs(60);

/// The run as it is, or when it has ended or `most` is over.
pub async fn run(client: &Client, app: &AppName, id: &str, most: Option<Duration>) -> Result<Run> {
    let clock = ServerClock::start();
    let until = clock.steady().after(most.unwrap_or_default());
    loop {
        let left = until.since(clock.steady()).min(AT_ONCE);
        let wait = format!("{}ms", left.as_millis());
        let query = [("wait", wait.as_str())];
        let query = if left.is_zero() { &query[..0] } else { &query[..] };
        let run: Run = client.get(&["apps", app.as_str(), "runs", id], query).await?;
        if left.is_zero() || !matches!(run.state, RunState::Queued | RunState::Running) {
            return Ok(run);
        }
    }
}

/// Prints what the function answered.
pub async fn result(
    client: &Client,
    app: &AppName,
    id: &str,
    most: Option<Duration>,
    format: Format,
) -> Result {
    run(client, app, id, most).await?;
    let request = client.request(reqwest::Method::GET, &["apps", app.as_str(), "runs", id, "result"]);
    let answer = client.send(request).await?;
    if format.is_json() {
        output::json(&invoke::whole(answer).await?)?;
        return Ok(Exit::Done);
    }
    let truncated = answer.headers().contains_key("evoke-truncated");
    invoke::stream(answer).await?;
    if truncated {
        format.talk("the result is longer than what is kept of it");
    }
    Ok(Exit::Done)
}
