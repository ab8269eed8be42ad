//! `evoke routes stats`: figures of routes and of variants, side by side.

use std::time::Duration;

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Counted, Figures, RouteStats, RouteStatsList, VariantStats};

use crate::cli::AppArgs;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Shows all routes, or one with more of it.
pub(super) async fn run(route: Option<&str>, minutes: u64, app: &AppArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(app)?;
    let minutes_text = minutes.to_string();
    let mut query = vec![("minutes", minutes_text.as_str())];
    query.extend(route.map(|route| ("route", route)));
    let stats: RouteStatsList = client.get(&["apps", app.as_str(), "routes", "stats"], &query).await?;
    if format.is_json() {
        match (route, stats.routes.as_slice()) {
            (Some(_), [one]) => output::json(one)?,
            _ => output::json(&stats)?,
        }
        return Ok(Exit::Done);
    }
    let window = if minutes == 1 { "minute".to_owned() } else { format!("{minutes} minutes") };
    if route.is_some() {
        let now = SystemClock.now();
        for route in &stats.routes {
            show_one(route, &window, now)?;
        }
    } else {
        show(&stats.routes, &format!("last {window}"), |counted| &counted.window)?;
    }
    if stats.incomplete {
        format.talk(words::faint("there are more routes and variants than the server counts"));
    }
    Ok(Exit::Done)
}

/// A line for each route, and below it one for each variant.
fn show(routes: &[RouteStats], when: &str, figures: impl Fn(&Counted) -> &Figures) -> Result<()> {
    output::line(words::faint(when))?;
    let mut table = Table::new(&[
        "ROUTE",
        "SHARE",
        "REQUESTS",
        "RATE",
        "ERRORS",
        "P50",
        "P95",
        "P99",
        "DIFFERING",
        "LEFT OUT",
    ]);
    for route in routes {
        let name = Cell::styled(route.route.id.as_str(), words::NAME);
        table.row(row(name, String::new(), figures(&route.counted)));
        for experiment in &route.experiments {
            for variant in &experiment.variants {
                let name = format!("  {}/{}", experiment.name, variant.variant.name);
                table.row(row(name.into(), share(variant), figures(&variant.counted)));
            }
            if let Some(promoted) = &experiment.promoted {
                let text = format!("  {} is promoted since {}", promoted.variant, promoted.at);
                let mut cells: [Cell; 10] = std::array::from_fn(|_| "".into());
                cells[0] = Cell::styled(text, words::BUSY);
                table.row(cells);
            }
        }
    }
    Ok(table.print("the app has no routes")?)
}

fn row(name: Cell, share: String, of: &Figures) -> [Cell; 10] {
    let ms = |time: Option<f64>| match time {
        Some(ms) => words::duration(Duration::from_secs_f64(ms / 1e3)),
        None => "-".to_owned(),
    };
    let errors = match of.errors {
        0 => Cell::from("0"),
        errors => Cell::styled(format!("{errors} ({})", percent(of.error_share)), words::BAD),
    };
    let (differing, left_out) = match &of.shadow {
        None => (Cell::from(""), Cell::from("")),
        Some(shadow) => {
            let left = &shadow.left_out;
            let left_out = left.busy + left.body + left.late + left.unsuitable + left.gone;
            let text =
                format!("{} of {} ({})", shadow.differing, shadow.compared, percent(shadow.differing_share));
            let style = if shadow.differing > 0 { words::BUSY } else { words::GOOD };
            (Cell::styled(text, style), left_out.to_string().into())
        }
    };
    [
        name,
        share.into(),
        of.requests.to_string().into(),
        format!("{:.1}/s", of.per_second).into(),
        errors,
        ms(of.p50_ms).into(),
        ms(of.p95_ms).into(),
        ms(of.p99_ms).into(),
        differing,
        left_out,
    ]
}

fn share(of: &VariantStats) -> String {
    match of.variant.shadow {
        Some(percent) => format!("copies {percent} %"),
        None => percent(of.variant.share),
    }
}

/// `90 %`, `0.1 %`.
pub(super) fn percent(share: f64) -> String {
    let hundredths = (share * 1e4).round() / 1e2;
    format!("{hundredths} %")
}

/// The window, all since counting began, and of shadows what was left out and what differed.
fn show_one(route: &RouteStats, window: &str, now: Timestamp) -> Result<()> {
    show(std::slice::from_ref(route), &format!("last {window}"), |counted| &counted.window)?;
    if let Some(since) = &route.counted.since {
        output::line("")?;
        let age = words::age(since.0, now);
        show(std::slice::from_ref(route), &format!("since {since} ({age})"), |counted| &counted.total)?;
    }
    for experiment in &route.experiments {
        for variant in &experiment.variants {
            show_shadow(&format!("{}/{}", experiment.name, variant.variant.name), variant, now)?;
        }
    }
    Ok(())
}

fn show_shadow(name: &str, of: &VariantStats, now: Timestamp) -> Result<()> {
    let Some(shadow) = &of.counted.total.shadow else { return Ok(()) };
    let left = &shadow.left_out;
    let counts = [
        (left.busy, "no room"),
        (left.body, "body too long or cut off"),
        (left.late, "too late"),
        (left.unsuitable, "WebSocket or asynchronous"),
        (left.gone, "client gone"),
        (shadow.without_body, "compared without their bodies"),
    ];
    let told: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if !told.is_empty() {
        output::line("")?;
        output::line(format_args!("{name} left out: {}", told.join(", ")))?;
    }
    if of.samples.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let mut table = Table::new(&["DIFFERED", "REQUEST", "WHAT", "ANSWERED", "SHADOW", "RUN OF THE COPY"]);
    for sample in &of.samples {
        for difference in &sample.differences {
            table.row([
                words::age(sample.at.0, now).into(),
                format!("{} {}", sample.method, words::one_line(&sample.path)).into(),
                difference.what.as_str().into(),
                words::one_line(&difference.answered).into(),
                words::one_line(&difference.shadow).into(),
                sample.shadow_by.as_ref().map_or("-", |run| run.as_str()).into(),
            ]);
        }
    }
    Ok(table.print("")?)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_have_two_digits_at_most() {
        assert_eq!(
            [0.9, 1.0 / 3.0, 0.001, 0.0, 1.0].map(percent),
            ["90 %", "33.33 %", "0.1 %", "0 %", "100 %"]
        );
    }
}
