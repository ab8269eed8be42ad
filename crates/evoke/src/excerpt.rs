//! The lines of a file in which something is wrong, with the place marked.

use std::path::{Component, Path};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
    ThemeCharacters, ThemeStyles,
};

use crate::exit::{Detail, Error};
use crate::output::shown;

/// A larger file is not read for the sake of a message.
const FILE_BYTES_MAX: u64 = 1 << 20;
const COLUMNS: usize = 100;

/// Adds excerpts to the details that have a place in a file of the app, where that file is still what it was.
pub fn add(error: &mut Error, folder: &Path) {
    for detail in error.details.iter_mut().filter(|detail| detail.excerpt.is_none()) {
        let Some(text) = detail.file.as_deref().and_then(|file| read(folder, Path::new(file))) else {
            continue;
        };
        if let Some(offset) = offset(&text, detail.line, detail.column) {
            detail.excerpt = of(detail, &text, offset, 0);
        }
    }
}

/// The detail with `length` bytes at `offset` of its file marked. `None` when they are not there.
pub fn of(detail: &Detail, text: &str, offset: usize, length: usize) -> Option<String> {
    let theme = GraphicalTheme { characters: ThemeCharacters::unicode(), styles: ThemeStyles::ansi() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(COLUMNS);
    let mut diagnostic = MietteDiagnostic::new(shown::lines(&detail.message))
        .with_label(LabeledSpan::new(None, offset, length));
    diagnostic.help.clone_from(&detail.help);
    let source = NamedSource::new(detail.file.as_deref().unwrap_or_default(), text.to_owned());
    let mut excerpt = String::new();
    handler.render_report(&mut excerpt, Report::new(diagnostic).with_source_code(source).as_ref()).ok()?;
    Some(excerpt)
}

fn read(folder: &Path, file: &Path) -> Option<String> {
    // The name came from a server: it may lead nowhere but into the app.
    if !file.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let path = folder.join(file);
    let is_small = path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX);
    is_small.then(|| std::fs::read_to_string(path).ok())?
}

/// Bytes before a line and column, which count from 1; columns are characters.
fn offset(text: &str, line: Option<u32>, column: Option<u32>) -> Option<usize> {
    let number = usize::try_from(line?.checked_sub(1)?).ok()?;
    let start: usize = text.split_inclusive('\n').take(number).map(str::len).sum();
    let line = text.split_inclusive('\n').nth(number)?;
    let before = usize::try_from(column.unwrap_or(1).saturating_sub(1)).ok()?;
    let column = line.char_indices().nth(before).map_or(line.trim_end().len(), |(at, _)| at);
    Some(start + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_column_are_found_in_characters() {
        let text = "a\näöü = x\n";
        assert_eq!(offset(text, Some(1), None), Some(0));
        assert_eq!(offset(text, Some(2), Some(3)), Some(6));
        assert_eq!(offset(text, Some(2), Some(99)), Some(2 + "äöü = x".len()));
        assert_eq!(offset(text, Some(4), Some(1)), None);
        assert_eq!(offset(text, None, Some(1)), None);
    }

    #[test]
    fn a_name_that_leads_out_of_the_app_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        let app = dir.path().join("app");
        assert_eq!(read(&app, Path::new("../secret")), None);
        assert_eq!(read(&app, &dir.path().join("secret")), None);
        assert_eq!(read(dir.path(), Path::new("secret")).as_deref(), Some("x"));
    }
}
