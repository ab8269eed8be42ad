//! Beacons: what pages may report, from where, and how much of it.

use super::Resolver;
use crate::event::Event;
use crate::manifest::bounds::{BEACON_BYTES_MAX, BEACON_RATE_MAX, BEACONS_MAX};
use crate::manifest::table::At;
use crate::manifest::{Beacon, Route, Webhook, raw};

const RATE: u32 = 60;
const RATE_TOTAL: u32 = 6_000;
const BODY_BYTES: u64 = 8 << 10;

impl Resolver<'_, '_> {
    /// The beacons in file order. Their paths are literal, and nothing else takes POST there.
    pub(super) fn beacons(
        &mut self,
        raw: &[raw::Beacon],
        routes: &[Route],
        webhooks: &[Webhook],
    ) -> Vec<Beacon> {
        if let Some(path) = raw.get(BEACONS_MAX).and_then(|beacon| beacon.path.as_ref()) {
            let message = format!("{} beacons are more than the limit of {BEACONS_MAX}", raw.len());
            self.problems.add("out_of_range", path.span.clone(), message);
        }
        let mut taken: Vec<String> = webhooks.iter().map(|webhook| webhook.path.clone()).collect();
        let mut beacons = Vec::new();
        for (at, raw) in raw.iter().take(BEACONS_MAX).enumerate() {
            let place = format!("beacon {}", at + 1);
            let path = raw.path.as_ref().and_then(|path| self.own_path(&place, path, routes, &taken));
            taken.extend(path.clone());
            let origins = self.origins(&place, raw.origins.as_ref());
            if let Some(none) = raw.origins.as_ref().filter(|origins| origins.value.is_empty()) {
                let message = format!("{place}: origins is empty, so that no page could send");
                self.problems
                    .add("invalid_value", none.span.clone(), message)
                    .help("write the origin of your site, such as \"https://www.example.com\"");
            }
            let rate = self.count(&place, "rate", raw.rate.as_ref(), BEACON_RATE_MAX).unwrap_or(RATE);
            let rate_total = self.count(&place, "rate_total", raw.rate_total.as_ref(), BEACON_RATE_MAX);
            let body_bytes = self.size(&place, "max_body", raw.max_body.as_ref(), 1..=BEACON_BYTES_MAX);
            let (Some(path), Some(event)) = (path, &raw.event) else { continue };
            let source =
                raw.source.as_ref().map_or_else(|| format!("/beacons{path}"), |text| text.value.clone());
            self.valid_event(&place, event, raw.source.as_ref());
            beacons.push(Beacon {
                path,
                event: event.value.clone(),
                source,
                origins,
                rate,
                rate_total: rate_total.unwrap_or(RATE_TOTAL),
                body_bytes: body_bytes.unwrap_or(BODY_BYTES),
            });
        }
        beacons
    }

    /// Checks a fixed type, and a fixed source if there is one.
    pub(super) fn valid_event(&mut self, place: &str, event: &At<String>, source: Option<&At<String>>) {
        let blank = event.value.chars().any(char::is_whitespace) || event.value.contains('*');
        if let Err(error) = Event::new("x", "/x", &event.value).check() {
            let message = format!("{place}: event: {error}");
            self.problems.add("invalid_value", event.span.clone(), message);
        } else if blank {
            let message = format!("{place}: event {:?} is no event type", event.value);
            self.problems
                .add("invalid_value", event.span.clone(), message)
                .help("write one type without white space, such as page_click");
        } else {
            self.is_of_the_app(&format!("{place}: event"), event);
        }
        if let Some(source) = source
            && Event::new("x", &source.value, "x").check().is_err()
        {
            let message = format!("{place}: source {:?} is no URI reference", source.value);
            self.problems.add("invalid_value", source.span.clone(), message).help("write \"/www\"");
        }
    }
}
