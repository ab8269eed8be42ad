//! `evoke filter`: what a filter says of an event, by the code that filters in production.

use evoke_core::event::{Event, json};
use evoke_core::filter::Filtered;
use evoke_core::filter::cesql::{Error as EvaluationError, ErrorKind, Evaluation, Expression, Type, Value};
use evoke_core::filter::pattern::Pattern;
use serde::Serialize;

use super::payload;
use crate::cli::FilterArgs;
use crate::excerpt;
use crate::exit::{Detail, Error, Exit, Result};
use crate::output::{self, Format, words};

/// Prints the value, its type, and the class of the error if there was one.
pub fn run(args: &FilterArgs, format: Format) -> Result {
    if args.pattern.as_deref() == Some("-") && args.event.as_deref() == Some("-") {
        return Err(Error::usage("--pattern and --event cannot both be read from standard input"));
    }
    let event = event(args.event.as_deref())?;
    let passed = match (&args.expression, &args.pattern) {
        (Some(text), _) => evaluate(text, &event, format)?,
        (None, Some(pattern)) => match_pattern(&payload::read("--pattern", pattern)?, &event, format)?,
        (None, None) => return Err(Error::usage("there is no filter: give an expression, or --pattern")),
    };
    Ok(if args.exit_status && !passed { Exit::Failed } else { Exit::Done })
}

/// Its form is fixed: conformance runs read it.
#[derive(Serialize)]
struct Answer<'a> {
    value: &'a Value<'a>,
    #[serde(rename = "type")]
    ty: Type,
    error: Option<ErrorKind>,
}

/// What there is where nothing was evaluated.
const NOTHING: Value<'static> = Value::Boolean(false);

fn event(given: Option<&str>) -> Result<Event> {
    let Some(given) = given else { return Ok(Event::new("1", "/evoke/filter", "example")) };
    json::parse(&payload::read("--event", given)?).map_err(|cause| {
        Error::usage(format!("--event is no CloudEvent in JSON format: {cause}")).help(
            r#"it needs at least {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}"#,
        )
    })
}

fn evaluate(text: &str, event: &Event, format: Format) -> Result<bool> {
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            print(&NOTHING, Some(ErrorKind::Parse), format)?;
            let (line, column) = error.position(text);
            let number = |number: usize| u32::try_from(number).ok();
            let detail = Detail {
                message: error.message,
                file: Some("expression".to_owned()),
                line: number(line),
                column: number(column),
                help: error.help,
                output: Vec::new(),
                excerpt: None,
            };
            let span = error.span.range();
            let shown = excerpt::of(&detail, text, span.start, span.len());
            format.talk(shown.as_deref().unwrap_or(&detail.to_string()).trim_end());
            return Ok(false);
        }
    };
    let Evaluation { value, error } = expression.evaluate(event);
    print(&value, error.as_ref().map(|error| error.kind), format)?;
    if expression.mixes_logic() {
        format.talk(words::faint(format_args!(
            "read as {expression:#}: AND, OR and XOR bind alike, from the left"
        )));
    }
    if error.is_some() || value == NOTHING {
        say(expression.explain(event), error.as_ref().map(|error| (error, text)), format);
    }
    Ok(error.is_none() && value == Value::Boolean(true))
}

fn match_pattern(json: &[u8], event: &Event, format: Format) -> Result<bool> {
    let pattern =
        serde_json::from_slice(json).map_err(|cause| format!("no JSON: {cause}")).and_then(|value| {
            Pattern::compile(value).map_err(|error| match &error.help {
                Some(help) => format!("{error} ({help})"),
                None => error.to_string(),
            })
        });
    match pattern {
        Ok(pattern) => {
            let passed = pattern.passes(event);
            print(&Value::Boolean(passed), None, format)?;
            say(pattern.explain(event), None, format);
            Ok(passed)
        }
        Err(why) => {
            print(&NOTHING, Some(ErrorKind::Parse), format)?;
            format.talk(format_args!("{}: {why}", words::bad("pattern")));
            Ok(false)
        }
    }
}

fn print(value: &Value<'_>, error: Option<ErrorKind>, format: Format) -> Result<()> {
    if format.is_json() {
        return Ok(output::json(&Answer { value, ty: value.ty(), error })?);
    }
    let error = error.map(|error| format!("  {}", words::bad(error))).unwrap_or_default();
    Ok(output::line(format_args!("{value}  {}{error}", words::faint(value.ty())))?)
}

/// Why the event did not pass, to a person.
fn say(filtered: Option<Filtered>, error: Option<(&EvaluationError, &str)>, format: Format) {
    if let Some((error, text)) = error {
        format.talk(error.message(text));
    }
    let Some(filtered) = filtered else { return };
    if error.is_none() {
        format.talk(format_args!("{} {}", filtered.clause, filtered.reason));
    }
    for seen in &filtered.values {
        let value = seen.value.as_ref().map_or_else(|| words::faint("absent"), ToString::to_string);
        format.talk(format_args!("  {} = {value}", seen.name));
    }
}
