//! The `egress` list of a function.

use std::collections::BTreeSet;

use super::Resolver;
use crate::egress::{AllowList, Entry};
use crate::manifest::bounds::{EGRESS_MAX, EGRESS_PORTS_MAX};
use crate::manifest::table::At;

impl Resolver<'_, '_> {
    /// What is right of it; all else is a problem.
    pub(super) fn egress(&mut self, place: &str, raw: Option<&At<Vec<At<String>>>>) -> AllowList {
        let Some(raw) = raw else { return AllowList::default() };
        let count = raw.value.len();
        if count > EGRESS_MAX {
            let message = format!("{place}: egress has {count} entries, the limit is {EGRESS_MAX}");
            self.problems.add("out_of_range", raw.span.clone(), message);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(count.min(EGRESS_MAX));
        for text in raw.value.iter().take(EGRESS_MAX) {
            match text.value.parse::<Entry>() {
                Ok(entry) if entries.contains(&entry) => {
                    let message = format!("{place}: egress names {:?} twice", text.value);
                    self.problems.add("duplicate", text.span.clone(), message);
                }
                Ok(entry) => entries.push(entry),
                Err(cause) => {
                    let message = format!("{place}: egress {:?} {cause}", text.value);
                    self.problems.add("invalid_value", text.span.clone(), message).help(cause.help);
                }
            }
        }
        let ports: BTreeSet<u16> = entries.iter().map(|entry| entry.port).collect();
        if ports.len() > EGRESS_PORTS_MAX {
            let count = ports.len();
            let message =
                format!("{place}: egress has {count} different ports, the limit is {EGRESS_PORTS_MAX}");
            self.problems.add("out_of_range", raw.span.clone(), message);
        }
        entries.into_iter().collect()
    }
}
