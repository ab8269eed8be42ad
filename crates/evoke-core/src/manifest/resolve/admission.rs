//! Who may enter and when: an app's share of the node, a function's rate and its line.

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Admission, OnDisconnect, Rate, Share, raw};

impl Resolver<'_, '_> {
    pub(super) fn share(&mut self, app: Option<&raw::App>) -> Share {
        let usual = Share::default();
        let Some(app) = app else { return usual };
        Share {
            weight: self.count("app", "weight", app.weight.as_ref(), WEIGHT_MAX).unwrap_or(usual.weight),
            concurrency: self.count("app", "concurrency", app.concurrency.as_ref(), APP_CONCURRENCY_MAX),
            waiting: self.waiting("app", app.waiting.as_ref()),
            waiting_bytes: self.size(
                "app",
                "waiting_bytes",
                app.waiting_bytes.as_ref(),
                0..=WAITING_BYTES_MAX,
            ),
        }
    }

    pub(super) fn admission(&mut self, place: &str, raw: &raw::Function) -> Admission {
        Admission {
            rate: self.start_rate(place, raw),
            waiting: self.waiting(place, raw.waiting.as_ref()),
            max_wait: self.duration(place, "max_wait", raw.max_wait.as_ref(), MAX_WAIT_MIN..=MAX_WAIT_MAX),
            on_disconnect: raw
                .on_disconnect
                .as_ref()
                .and_then(|text| self.on_disconnect(place, text))
                .unwrap_or_default(),
        }
    }

    fn start_rate(&mut self, place: &str, raw: &raw::Function) -> Option<Rate> {
        let burst = self.count(place, "burst", raw.burst.as_ref(), RATE_MAX);
        let Some(text) = &raw.rate else {
            if let Some(burst) = &raw.burst {
                let message = format!("{place}: burst {} is given without a rate", burst.value);
                self.problems.add("invalid_value", burst.span.clone(), message).help("add rate = \"100/s\"");
            }
            return None;
        };
        let Some((count, per)) = Rate::parse(&text.value) else {
            let message = format!("{place}: rate {:?} is no count and unit of time", text.value);
            let found = self.problems.add("invalid_value", text.span.clone(), message);
            found.help(r#"write it as starts in a second, minute or hour: "100/s", "600/m", "1000/h""#);
            return None;
        };
        if count > RATE_MAX {
            let message = format!("{place}: rate {} is above the limit of {RATE_MAX}", text.value);
            self.problems.add("out_of_range", text.span.clone(), message);
            return None;
        }
        Some(Rate { count, per, burst: burst.unwrap_or_else(|| Rate::burst_default(count, per)) })
    }

    /// Zero is a number here: nobody waits.
    fn waiting(&mut self, place: &str, number: Option<&At<i64>>) -> Option<u32> {
        let number = number?;
        let range = 0..=i64::from(WAITING_MAX);
        let value = self.within(place, "waiting", number, number.value, range, |n| n.to_string())?;
        u32::try_from(value).ok()
    }

    fn on_disconnect(&mut self, place: &str, text: &At<String>) -> Option<OnDisconnect> {
        match text.value.as_str() {
            "cancel" => Some(OnDisconnect::Cancel),
            "finish" => Some(OnDisconnect::Finish),
            other => {
                let message = format!("{place}: on_disconnect {other:?} is not known");
                let found = self.problems.add("invalid_value", text.span.clone(), message);
                found.maybe_help(did_you_mean(other, ["cancel", "finish"].into_iter()));
                None
            }
        }
    }
}
