//! What is wrong with a manifest: every problem at once, each with its place in the file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::{Deserialize, Serialize};

/// Problems reported of one file; further ones are left out.
const PROBLEMS_MAX: usize = 50;
/// Names a help lists; no table has more keys.
const KNOWN_MAX: usize = 40;
/// Characters of a message or help; they quote the file, which may have a line of a megabyte.
const SENTENCE_CHARS_MAX: usize = 400;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence that names the thing, the value and the rule.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The file, as it was named to [`super::parse`].
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The place in bytes.
    pub span: Span,
    /// Stable, for programs.
    pub code: Cow<'static, str>,
}

impl Problem {
    /// `evoke.toml:12:3: message (help)`
    pub fn to_line(&self) -> String {
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{}:{}: {}{help}", self.file, self.line, self.column, self.message)
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Bytes before it.
    pub offset: usize,
    /// Bytes of it.
    pub length: usize,
}

/// All problems of one file, in its order. A [`Diagnostic`], so that a terminal shows the lines in question; in JSON
/// the list of problems. Never empty.
#[derive(Debug, Clone)]
pub struct ManifestErrors {
    problems: Vec<Problem>,
    source: NamedSource<String>,
}

impl ManifestErrors {
    /// The problems, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One line per problem, `evoke.toml:12:3: message (help)`, for where there is no room for the lines in question.
    pub fn to_plain_text(&self) -> String {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_line).collect();
        lines.join("\n")
    }

    fn only(&self) -> Option<&Problem> {
        match &*self.problems {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only() {
            Some(problem) => problem.fmt(f),
            None => write!(f, "{} has {} problems", self.source.name(), self.problems.len()),
        }
    }
}

impl std::error::Error for ManifestErrors {}

impl Serialize for ManifestErrors {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.problems.serialize(to)
    }
}

impl Diagnostic for ManifestErrors {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only().and_then(Diagnostic::code)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only().and_then(Diagnostic::help)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only().and_then(Diagnostic::labels)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.only() {
            Some(_) => None,
            None => Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic))),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new(None, self.span.offset, self.span.length);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Where problems of one file are gathered.
pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line but the first starts.
    lines: Vec<usize>,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        let lines = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { file, text, lines, found: Vec::new() }
    }

    /// Adds a problem. The help follows through [`Found::help`].
    pub fn add(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Found<'_> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.clamp(start, self.text.len()));
        self.found.push(Problem {
            message: shortened(message.into()),
            help: None,
            file: self.file.to_owned(),
            line: self.line(&span),
            // Counted in `finish`, for those that are kept.
            column: 0,
            span: Span { offset: start, length: end - start },
            code: Cow::Borrowed(code),
        });
        Found(self.found.last_mut().expect("a problem was just pushed"))
    }

    /// A part of what a TOML string means, as a place in the file; `string` is the place of the string with its quotes.
    pub fn within_string(&self, string: &Range<usize>, part: Range<usize>) -> Range<usize> {
        let literal = self.text.get(string.clone()).unwrap_or_default();
        let at = |decoded| string.start + super::literal::offset(literal, decoded);
        at(part.start)..at(part.end)
    }

    /// The line of a place, from 1.
    pub fn line(&self, span: &Range<usize>) -> u32 {
        from_1(self.lines.partition_point(|start| *start <= span.start))
    }

    /// `value`, if nothing is wrong.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, ManifestErrors> {
        if let (true, Some(value)) = (self.found.is_empty(), value) {
            return Ok(value);
        }
        self.found.sort_by_key(|problem| problem.span.offset);
        self.found.truncate(PROBLEMS_MAX);
        for problem in &mut self.found {
            let before = &self.text[..problem.span.offset];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            problem.column = from_1(before[line_start..].chars().count());
        }
        let source = NamedSource::new(self.file, self.text.to_owned()).with_language("TOML");
        Err(ManifestErrors { problems: self.found, source })
    }
}

fn from_1(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1)
}

fn shortened(mut sentence: String) -> String {
    if let Some((end, _)) = sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        sentence.truncate(end);
        sentence.push('…');
    }
    sentence
}

/// A problem just added.
pub(super) struct Found<'a>(&'a mut Problem);

impl Found<'_> {
    pub fn help(self, help: impl Into<String>) {
        self.0.help = Some(shortened(help.into()));
    }

    pub fn maybe_help(self, help: Option<String>) {
        self.0.help = help.map(shortened);
    }
}

/// `did you mean …?` when something known is close, otherwise the known ones (at most [`KNOWN_MAX`]).
pub(crate) fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let nearest = known.clone().min_by_key(|name| distance(given, name));
    if let Some(near) = nearest.filter(|name| is_near(given, name)) {
        return Some(format!("did you mean {near}?"));
    }
    let mut names: Vec<&str> = known.take(KNOWN_MAX + 1).collect();
    if names.len() > KNOWN_MAX {
        names[KNOWN_MAX] = "…";
    }
    (!names.is_empty()).then(|| format!("known are {}", names.join(", ")))
}

/// Whether `given` looks like a misspelling of `known`.
pub(super) fn is_near(given: &str, known: &str) -> bool {
    distance(given, known) <= 1 + known.chars().count() / 4
}

/// Edits from one to the other. What is longer than any name is not compared, which takes time by its length.
fn distance(given: &str, known: &str) -> usize {
    if given.len() > 64 {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&given.to_lowercase(), &known.to_lowercase())
}
