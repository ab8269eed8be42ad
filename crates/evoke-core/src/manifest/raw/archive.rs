//! `[archive]` as people write it.

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{DURATION_PATTERN, SIZE_PATTERN};

/// How long the app's events are kept after they were accepted. What a subscription still needs stays, however old it is.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Archive {
    /// How long, 1m to 3660d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "7d", "examples" = ["7d", "30d"]))]
    pub keep: Option<At<String>>,
    /// Bytes of all of them at most, 1MiB to 1TiB; above it the oldest go. No limit when left out.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["1GiB"]))]
    pub bytes: Option<At<String>>,
    /// What differs for events of some types. Of several rules that match a type the exact one counts, else the longest.
    #[schemars(with = "Option<Vec<ArchiveType>>")]
    pub types: Vec<ArchiveType>,
}

/// How long events of some types are kept.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ArchiveType {
    /// An event type, or a prefix of types ending in *.
    #[schemars(rename = "type", required, extend("examples" = ["com.shop.page.*"]))]
    pub ty: Option<At<String>>,
    /// How long, 1m to 3660d. As the app says when left out.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["1h"]))]
    pub keep: Option<At<String>>,
    /// Bytes of all events of these types at most, 1MiB to 1TiB; above it the oldest go.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["100MiB"]))]
    pub bytes: Option<At<String>>,
    /// Whether they go also while a subscription needs them: what was not delivered by then never is, and its run says so.
    #[schemars(extend("default" = false))]
    pub even_if_needed: Option<At<bool>>,
}

impl Archive {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let archive = Self {
            keep: table.text("keep", r#""7d""#),
            bytes: table.text("bytes", r#""1GiB""#),
            types: table.tables(
                "types",
                "archive.types",
                |_, nth| format!("archive: type {nth}"),
                ArchiveType::read,
            ),
        };
        table.finish(&[]);
        archive
    }
}

impl ArchiveType {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let rule = Self {
            ty: table.required_text("type", r#""com.shop.page.*""#),
            keep: table.text("keep", r#""1h""#),
            bytes: table.text("bytes", r#""100MiB""#),
            even_if_needed: table.flag("even_if_needed", "true"),
        };
        table.finish(&[]);
        rule
    }
}
