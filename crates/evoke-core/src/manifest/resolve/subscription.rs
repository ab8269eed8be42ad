//! The `on` entries of a function, with their filters.

use super::Resolver;
use crate::filter::cesql::{Expression, Type};
use crate::filter::pattern::Pattern;
use crate::manifest::bounds::PATTERNS_MAX;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::{At, Located, Place};
use crate::manifest::{Subscription, raw};
use crate::retry::RetryPolicy;

impl Resolver<'_, '_> {
    pub(super) fn subscriptions(
        &mut self,
        place: &str,
        on: &[raw::Subscription],
        retry: &RetryPolicy,
    ) -> Vec<Subscription> {
        let mut subscriptions: Vec<Subscription> = Vec::with_capacity(on.len());
        if let Some(event) = on.first().and_then(|first| first.event.as_ref()) {
            self.at_most(place, "on", on.len(), &event.span);
        }
        for (at, raw) in on.iter().take(PATTERNS_MAX).enumerate() {
            let place = format!("{place}: on {}", at + 1);
            let timeout = self.timeout(&place, raw.timeout.as_ref());
            let retry = self.retry(&format!("{place}: retry"), raw.retry.as_ref(), retry);
            let filter = raw.filter.as_ref().and_then(|filter| self.filter(&place, filter));
            let pattern = raw.pattern.as_ref().and_then(|pattern| self.event_pattern(&place, pattern));
            let Some(text) = &raw.event else { continue };
            let Some(event) = self.pattern(&format!("{place}: event"), text) else { continue };
            let subscription = Subscription { event, filter, pattern, retry, timeout };
            if let Some(first) = subscriptions.iter().position(|other| same(other, &subscription)) {
                let message = format!("{place}: event {:?} is the same as in on {}", text.value, first + 1);
                let found = self.problems.add("duplicate", text.span.clone(), message);
                found.help("each event would start the function twice; leave one of them out");
            }
            subscriptions.push(subscription);
        }
        subscriptions
    }

    /// `where`: an expression that can be true, and calls only functions that exist.
    fn filter(&mut self, place: &str, text: &At<String>) -> Option<Expression> {
        let expression = match Expression::parse(&text.value) {
            Ok(expression) => expression,
            Err(error) => {
                let span = self.problems.within_string(&text.span, error.span.range());
                self.problems
                    .add("invalid_expression", span, format!("{place}: where: {error}"))
                    .maybe_help(error.help);
                return None;
            }
        };
        let unknown = expression.unknown_functions();
        for name in &unknown {
            let function = name.of(&text.value).to_ascii_uppercase();
            let exists = Expression::functions().any(|known| known == function);
            let span = self.problems.within_string(&text.span, name.range());
            let what = if exists { "has not so many arguments" } else { "is no function" };
            let message = format!("{place}: where: {function} {what}");
            let help = if exists { None } else { did_you_mean(&function, Expression::functions()) };
            self.problems.add("invalid_expression", span, message).maybe_help(help);
        }
        if let Some(ty @ (Type::Integer | Type::String)) = expression.ty() {
            let message = format!("{place}: where: the expression is of type {ty}, so no event would pass");
            self.problems
                .add("invalid_expression", text.span.clone(), message)
                .help("an event passes where it is TRUE; compare it with something");
            return None;
        }
        unknown.is_empty().then_some(expression)
    }

    /// `pattern`: a table, or JSON in a string, which can say null.
    fn event_pattern(&mut self, place: &str, raw: &Located) -> Option<Pattern> {
        let parsed;
        let (value, places) = match &raw.value {
            serde_json::Value::String(text) => match serde_json::from_str(text) {
                Ok(value) => {
                    parsed = value;
                    (&parsed, &Place::whole(raw.place.span.clone()))
                }
                Err(error) => {
                    let message = format!("{place}: pattern is a string, but no JSON: {error}");
                    self.problems.add("invalid_pattern", raw.place.span.clone(), message).help(
                        r#"write a table, such as pattern = { data = { total = [{ numeric = [">", 0] }] } }"#,
                    );
                    return None;
                }
            },
            value => (value, &raw.place),
        };
        match Pattern::compile(value.clone()) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let span = places.find(&error.path);
                self.problems
                    .add("invalid_pattern", span, format!("{place}: pattern: {error}"))
                    .maybe_help(error.help);
                None
            }
        }
    }
}

/// Whether both take the same events.
fn same(a: &Subscription, b: &Subscription) -> bool {
    a.event == b.event && a.filter == b.filter && a.pattern == b.pattern
}
