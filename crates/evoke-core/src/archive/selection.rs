//! Events of the archive, chosen by what they say of themselves.

use crate::filter::cesql::Expression;
use crate::manifest::TypePattern;
use crate::store::StoredEvent;
use crate::time::Timestamp;

/// Which events are meant: those that all parts take. By default all are.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of these types.
    pub types: Option<TypePattern>,
    /// Of this source.
    pub source: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
    /// For which this is true.
    pub filter: Option<Expression>,
}

impl Selection {
    /// Whether it is meant. An event whose data has expired is, by its attributes.
    pub fn takes(&self, stored: &StoredEvent) -> bool {
        let event = &stored.event;
        self.types.as_ref().is_none_or(|types| types.matches(event.ty()))
            && self.source.as_ref().is_none_or(|source| source == event.source())
            && self.subject.as_ref().is_none_or(|subject| Some(subject.as_str()) == event.subject())
            && self.since.is_none_or(|since| stored.accepted_at >= since)
            && self.until.is_none_or(|until| stored.accepted_at < until)
            && self.filter.as_ref().is_none_or(|filter| filter.passes(event))
    }

    /// The one type there is, which the log is indexed by.
    pub fn only_type(&self) -> Option<&str> {
        self.types.as_ref().and_then(TypePattern::exact)
    }
}
