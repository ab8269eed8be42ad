//! Which dead letters are meant: a choice of them by where they were to go, why they were given up, when, and what they hold.

use serde::{Deserialize, Serialize};

use crate::filter::cesql::Expression;
use crate::id::{FunctionName, SubscriptionName};
use crate::manifest::TypePattern;
use crate::outcome::{FailureCode, Outcome};
use crate::store::{DeadLetter, StoredInput};
use crate::time::Timestamp;

/// A choice of dead letters: those that all the parts hold for which are given.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this function.
    pub function: Option<FunctionName>,
    /// Of this subscription, by its name.
    pub subscription: Option<SubscriptionName>,
    /// How the last attempt ended.
    pub reason: Option<Reason>,
    /// Given up at this time or later.
    pub since: Option<Timestamp>,
    /// Given up before this time.
    pub until: Option<Timestamp>,
    /// Events of these types.
    pub types: Option<TypePattern>,
    /// Events for which this is true.
    pub filter: Option<Expression>,
}

/// How an attempt ended that brought nothing: the code of a failure, or a word for what has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// It failed or was refused like this.
    Code(FailureCode),
    /// It ended without a code.
    Word(Word),
}

/// An end of an attempt that has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// At its time limit.
    TimedOut,
    /// With the server.
    Lost,
}

impl Selection {
    /// Whether it is meant. A request is no event: parts that choose events leave it out.
    pub fn takes(&self, letter: &DeadLetter) -> bool {
        let run = &letter.run;
        self.function.as_ref().is_none_or(|function| run.function == *function)
            && self.subscription.as_ref().is_none_or(|name| run.subscription.as_ref() == Some(name))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
            && self.reason.is_none_or(|reason| {
                run.attempts.last().is_some_and(|last| Reason::of(&last.outcome) == Some(reason))
            })
            && self.takes_input(&letter.input)
    }

    fn takes_input(&self, input: &StoredInput) -> bool {
        match input {
            StoredInput::Event(event) => {
                self.types.as_ref().is_none_or(|types| types.matches(event.ty()))
                    && self.filter.as_ref().is_none_or(|filter| filter.passes(event))
            }
            StoredInput::Request(_) => self.types.is_none() && self.filter.is_none(),
        }
    }
}

impl Reason {
    /// Why an attempt brought nothing; `None` when it did not end like that.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Completed { .. } => None,
            Outcome::Failed(failure) | Outcome::Rejected(failure) => Some(Self::Code(failure.code)),
            Outcome::TimedOut { .. } => Some(Self::Word(Word::TimedOut)),
            Outcome::Lost => Some(Self::Word(Word::Lost)),
        }
    }

    /// Reads what JSON has for it: `crashed`, `timed_out`.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::outcome::Failure;
    use crate::testing::conformance::samples;

    fn letter() -> DeadLetter {
        let mut run = samples::run(1, "f");
        run.subscription = Some(SubscriptionName::from_text("mail"));
        let failure = Failure::new(FailureCode::Crashed, "no");
        run.attempts = vec![samples::attempt(1, Outcome::Failed(failure))];
        let event = Event::new("e1", "/shop", "order.placed").with_subject("order-7");
        DeadLetter { run, reason: "no".to_owned(), at: Timestamp(5_000), input: StoredInput::Event(event) }
    }

    #[test]
    fn each_part_that_is_given_has_to_hold() {
        let letter = letter();
        let takes = |selection: Selection| selection.takes(&letter);
        assert!(takes(Selection::default()));
        let good = [
            Selection { subscription: Some(SubscriptionName::from_text("mail")), ..Selection::default() },
            Selection { reason: Reason::parse("crashed"), ..Selection::default() },
            Selection {
                since: Some(Timestamp(5_000)),
                until: Some(Timestamp(5_001)),
                ..Selection::default()
            },
            Selection { types: Some(TypePattern("order.*".to_owned())), ..Selection::default() },
            Selection { filter: Expression::parse("subject = 'order-7'").ok(), ..Selection::default() },
        ];
        let bad = [
            Selection { function: FunctionName::new("other").ok(), ..Selection::default() },
            Selection { subscription: Some(SubscriptionName::from_text("other")), ..Selection::default() },
            Selection { reason: Reason::parse("timed_out"), ..Selection::default() },
            Selection { since: Some(Timestamp(5_001)), ..Selection::default() },
            Selection { until: Some(Timestamp(5_000)), ..Selection::default() },
            Selection { types: Some(TypePattern("mail.*".to_owned())), ..Selection::default() },
            Selection { filter: Expression::parse("subject = 'order-8'").ok(), ..Selection::default() },
        ];
        assert!(good.into_iter().all(takes));
        assert!(!bad.into_iter().any(takes));
    }

    #[test]
    fn a_reason_is_known_by_its_word() {
        assert_eq!(Reason::parse("lost"), Some(Reason::Word(Word::Lost)));
        assert_eq!(Reason::parse("out_of_memory"), Some(Reason::Code(FailureCode::OutOfMemory)));
        assert_eq!(Reason::parse("bad luck"), None);
    }
}
