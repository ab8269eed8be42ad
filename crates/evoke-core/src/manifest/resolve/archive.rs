//! How long events are kept.

use super::Resolver;
use crate::archive::{Archive, TypeRule};
use crate::manifest::bounds::*;
use crate::manifest::raw;

impl Resolver<'_, '_> {
    pub(super) fn archive(&mut self, raw: &raw::Archive) -> Archive {
        let keep = self.duration("archive", "keep", raw.keep.as_ref(), KEEP_MIN..=KEEP_MAX);
        let range = ARCHIVE_BYTES_MIN..=ARCHIVE_BYTES_MAX;
        let bytes = self.size("archive", "bytes", raw.bytes.as_ref(), range.clone());
        if let Some(first) = raw.types.get(ARCHIVE_TYPES_MAX).and_then(|rule| rule.ty.as_ref()) {
            let message =
                format!("archive: {} types are more than the limit of {ARCHIVE_TYPES_MAX}", raw.types.len());
            self.problems.add("out_of_range", first.span.clone(), message);
        }
        let mut types: Vec<TypeRule> = Vec::with_capacity(raw.types.len().min(ARCHIVE_TYPES_MAX));
        for (at, rule) in raw.types.iter().take(ARCHIVE_TYPES_MAX).enumerate() {
            let place = format!("archive: type {}", at + 1);
            let keep = self.duration(&place, "keep", rule.keep.as_ref(), KEEP_MIN..=KEEP_MAX);
            let bytes = self.size(&place, "bytes", rule.bytes.as_ref(), range.clone());
            let Some(text) = &rule.ty else { continue };
            let Some(ty) = self.pattern(&format!("{place}: type"), text) else { continue };
            if types.iter().any(|other| other.ty == ty) {
                let message = format!("{place}: there is another rule for {:?}", text.value);
                self.problems
                    .add("duplicate", text.span.clone(), message)
                    .help("one rule can have both keep and bytes");
            }
            if rule.keep.is_none() && rule.bytes.is_none() {
                let message = format!("{place}: it has neither keep nor bytes");
                self.problems.add("missing_key", text.span.clone(), message).help(r#"add keep = "1h""#);
            }
            let even_if_needed = rule.even_if_needed.as_ref().is_some_and(|flag| flag.value);
            types.push(TypeRule { ty, keep, bytes, even_if_needed });
        }
        Archive { keep, bytes, types }
    }
}
