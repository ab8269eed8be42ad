//! `evoke logs`: what functions wrote, and with `-f` what they write.

use std::time::Duration;

use evoke_core::record::LogStream;
use evoke_gateway::api::{LogLine, LogList};

use crate::cli::LogsArgs;
use crate::client::{self, Client};
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::{self, Format, shown, words};
use crate::sse;

const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Prints log lines; with `--follow` until somebody ends it.
pub async fn run(args: LogsArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args.app)?;
    let limit = args.limit.to_string();
    let mut query = Vec::new();
    query.extend(args.function.as_deref().map(|function| ("function", function)));
    query.extend(args.run.as_deref().map(|run| ("run", run)));
    let path = ["apps", app.as_str(), "logs"];
    if args.follow {
        return follow(&client, &path, &query, args.limit, |line| print(&line, format)).await;
    }
    query.push(("limit", &limit));
    let list: LogList = client.get(&path, &query).await?;
    list.lines.iter().try_for_each(|line| print(line, format))?;
    if list.lines.is_empty() {
        format.talk("no log lines");
    }
    Ok(Exit::Done)
}

/// The newest `limit` lines and then each new one, across restarts of the server. Returns only with an error.
pub async fn follow(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    limit: u32,
    mut take: impl FnMut(LogLine) -> Result<()>,
) -> Result {
    let (mut last, mut pause) = (None, RECONNECT_FIRST);
    let mut url = client.url(path);
    url.query_pairs_mut()
        .append_pair("follow", "true")
        .append_pair("limit", &limit.to_string())
        .extend_pairs(query);
    let mut connected = false;
    loop {
        let ended = match client.stream(url.clone(), last).await {
            Ok(mut answer) => {
                (connected, pause) = (true, RECONNECT_FIRST);
                let mut events = sse::Decoder::default();
                loop {
                    match client::next_chunk(&mut answer).await {
                        Ok(Some(chunk)) => {
                            for event in events.push(&chunk)? {
                                if let Ok(line) = serde_json::from_str::<LogLine>(&event) {
                                    last = Some(line.seq);
                                    take(line)?;
                                }
                            }
                        }
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                }
            }
            Err(error) => Some(error),
        };
        match ended {
            // A server that was there is waited for; one that never was is an error.
            Some(error) if !(connected && client::may_come_back(&error)) => return Err(error),
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Prints one line: for a person `01:42:00.250 checkout | text`.
pub fn print(line: &LogLine, format: Format) -> Result<()> {
    if format.is_json() {
        return Ok(output::json(line)?);
    }
    let style = match line.stream {
        LogStream::Stdout => anstyle::Style::new(),
        LogStream::Stderr => words::BUSY,
        LogStream::Platform => words::FAINT,
    };
    let time = words::faint(words::time_of_day(line.at.0));
    let function = words::styled(words::NAME, &line.function);
    let text = shown::line(&line.line);
    Ok(output::line(format_args!("{time} {function} {} {style}{text}{style:#}", words::faint("|")))?)
}
