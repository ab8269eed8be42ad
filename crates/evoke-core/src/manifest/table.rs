//! Reads a TOML table key by key, so that all problems of a file are found and not only the first: what a reader
//! asks for is known, what is left over at the end is not.

mod located;

use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Problems, did_you_mean, is_near};
pub use located::{Located, Place};

/// A value and where it stands in the file.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where, in bytes.
    pub span: Range<usize>,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table that is being read.
pub(super) struct Table<'t, 'p, 'i> {
    /// How messages call it: `function checkout`.
    pub place: String,
    /// Its name in the file, or its header: where to point when something is missing.
    pub span: Range<usize>,
    problems: &'t mut Problems<'p>,
    entries: DeTable<'i>,
    asked: Vec<&'static str>,
    missing: Vec<(&'static str, String)>,
}

impl<'t, 'p, 'i> Table<'t, 'p, 'i> {
    pub fn new(
        place: String,
        span: Range<usize>,
        entries: DeTable<'i>,
        problems: &'t mut Problems<'p>,
    ) -> Self {
        Self { place, span, problems, entries, asked: Vec::new(), missing: Vec::new() }
    }

    /// A string.
    pub fn text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(At { value: text.into_owned(), span }),
            other => {
                let help = format!("write {key} = {example}");
                self.wrong_type(key, span, &other, "a string", help);
                None
            }
        }
    }

    /// A string that must be there.
    pub fn required_text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        self.require(key, format!("write {key} = {example}"));
        self.text(key, example)
    }

    /// A whole number. One that does not fit is taken as the nearest, for the range check to refuse.
    pub fn number(&mut self, key: &'static str, example: &str) -> Option<At<i64>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Integer(number) => {
                let saturated = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
                let value = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(saturated);
                Some(At { value, span })
            }
            other => {
                let help = format!("write {key} = {example}");
                self.wrong_type(key, span, &other, "a whole number", help);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, example: &str) -> Option<At<bool>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(value) => Some(At { value, span }),
            other => {
                let help = format!("write {key} = {example}");
                self.wrong_type(key, span, &other, "true or false", help);
                None
            }
        }
    }

    /// A whole number that must be there.
    pub fn required_number(&mut self, key: &'static str, example: &str) -> Option<At<i64>> {
        self.require(key, format!("write {key} = {example}"));
        self.number(key, example)
    }

    /// An array of strings.
    pub fn texts(&mut self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        let value = self.take(key)?;
        let span = value.span();
        let help = format!("write {key} = {example}");
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, span, value.get_ref(), "an array of strings", help);
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    texts.push(At { value: text.clone().into_owned(), span: item.span() })
                }
                other => self.wrong_type(key, item.span(), other, "an array of strings", help.clone()),
            }
        }
        Some(At { value: texts, span })
    }

    /// Anything that is also JSON.
    pub fn json(&mut self, key: &'static str) -> Option<Located> {
        let value = self.take(key)?;
        located::locate(&value)
            .map_err(|(span, what)| {
                let message = self.sentence(&format!("{key} has {what}"));
                self.problems.add("wrong_type", span, message);
            })
            .ok()
    }

    /// An array of strings that must be there.
    pub fn required_texts(&mut self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        self.require(key, format!("write {key} = {example}"));
        self.texts(key, example)
    }

    /// A string, or an array of strings.
    pub fn text_or_texts(&mut self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        match self.entries.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(_)) => {
                let text = self.text(key, example)?;
                Some(At { span: text.span.clone(), value: vec![text] })
            }
            _ => self.texts(key, example),
        }
    }

    /// A string or an array of strings that must be there.
    pub fn required_text_or_texts(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<At<Vec<At<String>>>> {
        self.require(key, format!("write {key} = {example}"));
        self.text_or_texts(key, example)
    }

    /// A table whose values are all strings, with its keys.
    pub fn text_map(&mut self, key: &'static str, example: &str) -> Vec<(At<String>, At<String>)> {
        let mut pairs = Vec::new();
        let help = format!("write {key} = {example}");
        for (name, value) in self.entries_of(key, &help) {
            let span = value.span();
            let name = At { span: name.span(), value: name.into_inner().into_owned() };
            match value.into_inner() {
                DeValue::String(text) => pairs.push((name, At { value: text.into_owned(), span })),
                other => {
                    let as_text = plain(&other).map(|text| format!("write {} = \"{text}\"", name.value));
                    let key = format!("{key}.{}", name.value);
                    self.wrong_type(&key, span, &other, "a string", as_text.unwrap_or_else(|| help.clone()));
                }
            }
        }
        pairs
    }

    /// A table.
    pub fn table<T>(
        &mut self,
        key: &'static str,
        place: &str,
        read: impl FnOnce(Table<'_, 'p, 'i>) -> T,
    ) -> Option<T> {
        let (name, value) = self.take_entry(key)?;
        let help =
            if self.place.is_empty() { format!("write [{key}]") } else { format!("write {key} = {{ … }}") };
        self.read_table(place.to_owned(), key, name.span(), value, &help, read)
    }

    /// A table that must be there.
    pub fn required_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Table<'_, 'p, 'i>) -> T,
    ) -> Option<T> {
        self.require(key, format!("write [{key}]"));
        self.table(key, key, read)
    }

    /// A table of tables under names people choose.
    pub fn named_tables<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        read: impl Fn(Table<'_, 'p, 'i>) -> T,
    ) -> Vec<(At<String>, T)> {
        let mut tables = Vec::new();
        for (name, value) in self.entries_of(key, &format!("write [{key}.NAME]")) {
            let span = name.span();
            let name = name.into_inner().into_owned();
            let help = format!("write [{key}.{name}]");
            let place = format!("{kind} {name}");
            if let Some(table) =
                self.read_table(place, &format!("{key}.{name}"), span.clone(), value, &help, &read)
            {
                tables.push((At { value: name, span }, table));
            }
        }
        tables
    }

    /// An array of tables; `place` names one of them, counted from 1. `header` is how one would start it.
    pub fn tables<T>(
        &mut self,
        key: &'static str,
        header: &str,
        place: impl Fn(&str, usize) -> String,
        read: impl Fn(Table<'_, 'p, 'i>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let help = format!("start each with the line [[{header}]]");
        let mut tables = Vec::new();
        match value.into_inner() {
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::Table(entries) => {
                            let place = place(&self.place, at + 1);
                            tables.push(read(Table::new(place, item.span(), entries.clone(), self.problems)));
                        }
                        other => self.wrong_type(key, item.span(), other, "an array of tables", help.clone()),
                    }
                }
            }
            other => self.wrong_type(key, span, &other, "an array of tables", help),
        }
        tables
    }

    /// Reports what is missing, and every key nobody asked for. `later` are keys that are to come in a later version.
    pub fn finish(mut self, later: &[&str]) {
        for (key, _) in std::mem::take(&mut self.entries) {
            let name = key.get_ref().as_ref();
            if later.contains(&name) {
                let message =
                    self.sentence(&format!("key {name} is not supported yet by this version of Evoke"));
                let help = format!("leave it out; known are {}", self.asked.join(", "));
                self.problems.add("unsupported_key", key.span(), message).help(help);
                continue;
            }
            // A misspelt key is one problem, not two.
            self.missing.retain(|(missing, _)| !is_near(name, missing));
            let message = self.sentence(&format!("key {name} is not known"));
            self.problems
                .add("unknown_key", key.span(), message)
                .maybe_help(did_you_mean(name, self.asked.iter().copied()));
        }
        for (key, help) in std::mem::take(&mut self.missing) {
            let message = self.sentence(&format!("key {key} is missing"));
            self.problems.add("missing_key", self.span.clone(), message).help(help);
        }
    }

    fn sentence(&self, rest: &str) -> String {
        if self.place.is_empty() { rest.to_owned() } else { format!("{}: {rest}", self.place) }
    }

    /// Reports later that this key is missing, if it is.
    pub fn require(&mut self, key: &'static str, help: impl Into<String>) {
        let help = help.into();
        if !self.entries.contains_key(key) {
            self.missing.push((key, help));
        }
    }

    /// Whether nobody has left a key unread.
    pub fn is_read(&self) -> bool {
        self.entries.is_empty()
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.take_entry(key).map(|(_, value)| value)
    }

    fn take_entry(&mut self, key: &'static str) -> Option<(Spanned<DeString<'i>>, Spanned<DeValue<'i>>)> {
        self.asked.push(key);
        self.entries.remove_entry(key)
    }

    fn entries_of(&mut self, key: &'static str, help: &str) -> DeTable<'i> {
        let Some(value) = self.take(key) else { return DeTable::new() };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => entries,
            other => {
                self.wrong_type(key, span, &other, "a table", help.to_owned());
                DeTable::new()
            }
        }
    }

    fn read_table<T>(
        &mut self,
        place: String,
        key: &str,
        span: Range<usize>,
        value: Spanned<DeValue<'i>>,
        help: &str,
        read: impl FnOnce(Table<'_, 'p, 'i>) -> T,
    ) -> Option<T> {
        let value_span = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => Some(read(Table::new(place, span, entries, self.problems))),
            other => {
                self.wrong_type(key, value_span, &other, "a table", help.to_owned());
                None
            }
        }
    }

    fn wrong_type(&mut self, key: &str, span: Range<usize>, found: &DeValue<'_>, wanted: &str, help: String) {
        let message = self.sentence(&format!("{key} must be {wanted}, not {}", type_name(found)));
        self.problems.add("wrong_type", span, message).help(help);
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}
