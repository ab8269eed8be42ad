//! Columns of text for a person. The last column is never padded.

use std::io;

use super::{line, shown, words};

/// Rows under a heading.
#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One cell: a text, and how it is coloured.
#[derive(Debug)]
pub struct Cell {
    text: String,
    style: anstyle::Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, anstyle::Style::new())
    }
}

impl Cell {
    /// A coloured text, whoever wrote it.
    pub fn styled(text: impl Into<String>, style: anstyle::Style) -> Self {
        Self { text: shown::line(&text.into()).into_owned(), style }
    }
}

impl Table {
    /// An empty table.
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with as many cells as there are headings.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Prints it on stdout. Without rows, `nothing` is said on stderr instead.
    pub fn print(&self, nothing: &str) -> io::Result<()> {
        if self.rows.is_empty() {
            super::Format::Text.talk(nothing);
            return Ok(());
        }
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.text));
                cells.chain([width(self.heading[column])]).max().unwrap_or(0)
            })
            .collect();
        let heading = self.heading.iter().map(|text| (*text, words::FAINT)).collect();
        line(format_row(heading, &widths))?;
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.style)).collect();
            line(format_row(cells, &widths))?;
        }
        Ok(())
    }
}

fn format_row(cells: Vec<(&str, anstyle::Style)>, widths: &[usize]) -> String {
    let last = cells.len().saturating_sub(1);
    let mut text = String::new();
    for (column, (cell, style)) in cells.into_iter().enumerate() {
        text.push_str(&format!("{style}{cell}{style:#}"));
        if column < last {
            let pad = widths[column].saturating_sub(width(cell)) + 2;
            text.extend(std::iter::repeat_n(' ', pad));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}
