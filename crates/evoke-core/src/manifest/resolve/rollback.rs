//! When a new version is taken back by itself.

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::raw;
use crate::manifest::table::At;
use crate::rollout::{Guard, Portion, Rollback};

const PLACE: &str = "app: rollback";

impl Resolver<'_, '_> {
    pub(super) fn rollback(&mut self, raw: Option<&raw::Rollback>) -> Rollback {
        let Some(raw) = raw else { return Rollback::Usual };
        let usual = Guard::default();
        let within = ROLLBACK_WITHIN_MIN..=ROLLBACK_WITHIN_MAX;
        let min = raw.min.as_ref().and_then(|min| {
            let range = ROLLBACK_MIN_MIN..=ROLLBACK_MIN_MAX;
            let value = self.within(PLACE, "min", min, min.value, range, |n| n.to_string())?;
            u32::try_from(value).ok()
        });
        let guard = Guard {
            errors: raw.errors.as_ref().and_then(|text| self.errors(text)).unwrap_or(usual.errors),
            within: self.duration(PLACE, "within", raw.within.as_ref(), within).unwrap_or(usual.within),
            min: min.unwrap_or(usual.min),
        };
        match raw.automatic.as_ref().is_none_or(|automatic| automatic.value) {
            true => Rollback::When(guard),
            false => Rollback::Never,
        }
    }

    fn errors(&mut self, text: &At<String>) -> Option<Portion> {
        match text.value.parse::<Portion>() {
            Ok(portion) if portion > Portion::NONE && portion < Portion::ALL => Some(portion),
            Ok(_) => {
                let message = format!("{PLACE}: errors {} is not between 0% and 100%", text.value);
                let found = self.problems.add("out_of_range", text.span.clone(), message);
                found.help("to have nothing taken back by itself, write automatic = false");
                None
            }
            Err(error) => {
                let message = format!("{PLACE}: errors {error}");
                self.problems.add("invalid_value", text.span.clone(), message);
                None
            }
        }
    }
}
