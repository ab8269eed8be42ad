//! The `on` entries of a function, with their filters.

use super::Resolver;
use crate::filter::cesql::{Expression, Type};
use crate::filter::pattern::Pattern;
use crate::id::SubscriptionName;
use crate::manifest::bounds::{CONCURRENCY_MAX, PATTERNS_MAX, SUBSCRIPTION_CHARS_MAX};
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::{At, Located, Place};
use crate::manifest::{Destinations, OrderKey, Start, Subscription, TypePattern, raw};
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
            self.is_published(&format!("{place}: event"), text, &event);
            let named = self.subscription_name(&place, raw.name.as_ref(), &event, &subscriptions);
            let concurrency = self.count(&place, "concurrency", raw.concurrency.as_ref(), CONCURRENCY_MAX);
            let order = raw.order.as_ref().and_then(|order| self.order(&place, order));
            let batch = raw.batch.as_ref().and_then(|batch| self.batch(&place, batch));
            let from = raw.from.as_ref().and_then(|from| self.start(&place, from)).unwrap_or_default();
            let subscription = Subscription {
                event,
                filter,
                pattern,
                retry,
                timeout,
                named,
                concurrency,
                order,
                batch,
                from,
                destinations: Destinations::default(),
            };
            if let Some(first) = subscriptions.iter().position(|other| same(other, &subscription)) {
                let message = format!("{place}: event {:?} is the same as in on {}", text.value, first + 1);
                let found = self.problems.add("duplicate", text.span.clone(), message);
                found.help("each event would start the function twice; leave one of them out");
            }
            subscriptions.push(subscription);
        }
        subscriptions
    }

    /// What is to be written down of its name: the one that was chosen, or where two have the same event, that and a number.
    fn subscription_name(
        &mut self,
        place: &str,
        chosen: Option<&At<String>>,
        event: &TypePattern,
        others: &[Subscription],
    ) -> Option<SubscriptionName> {
        let taken = |name: &str| others.iter().any(|other| other.name().as_str() == name);
        let Some(chosen) = chosen else {
            let mut numbered =
                (1..).map(|n| if n == 1 { event.0.clone() } else { format!("{}#{n}", event.0) });
            let name = numbered.find(|name| !taken(name))?;
            return (name != event.0).then(|| SubscriptionName::from_text(name));
        };
        let name = chosen.value.as_str();
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.chars().count() > SUBSCRIPTION_CHARS_MAX || name.chars().any(odd) {
            let message =
                format!("{place}: name {name:?} is empty, longer than 256 characters or has white space");
            self.problems.add("invalid_name", chosen.span.clone(), message);
        } else if taken(name) {
            let message = format!("{place}: another subscription of the function has the name {name:?}");
            self.problems.add("duplicate", chosen.span.clone(), message);
        }
        (name != event.0).then(|| SubscriptionName::from_text(name))
    }

    /// `order`: an attribute, or members of the data.
    fn order(&mut self, place: &str, text: &At<String>) -> Option<OrderKey> {
        let order = text.value.as_str();
        let attribute =
            !order.is_empty() && order.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let member =
            order.strip_prefix("data.").is_some_and(|path| path.split('.').all(|name| !name.is_empty()));
        if (attribute && order != "data") || member {
            return Some(OrderKey(order.to_owned()));
        }
        let message = format!("{place}: order {order:?} is no attribute and no member of the data");
        self.problems.add("invalid_value", text.span.clone(), message).help(
            "write an attribute, such as \"subject\", or members of the data, such as \"data.order.id\"",
        );
        None
    }

    /// `from`.
    fn start(&mut self, place: &str, text: &At<String>) -> Option<Start> {
        Start::parse(&text.value).map_or_else(|error| self.unit_error(place, "from", text, &error), Some)
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
