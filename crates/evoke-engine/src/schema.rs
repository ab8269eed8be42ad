//! JSON Schemas of decorators. They are an app's, and what they check is a client's: neither may hold up the process that owns
//! the store.
//!
//! A few lines of `allOf` and `$ref` can ask for more steps than there is time (`meter`), and a chain of references for more
//! stack than there is; so every part of a schema is given a keyword of our own that counts, and ends the check when it is
//! enough. What a reference leads to must therefore be a part that has it, and stands in the same document.

mod meter;
mod parts;

use std::fmt;
use std::panic::AssertUnwindSafe;

use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::{Map, Value};

use meter::{Meter, Spent};

/// Complaints told of one value.
const COMPLAINTS_MAX: usize = 20;
/// Characters of each.
const CHARACTERS_MAX: usize = 300;
/// Bytes of a regular expression, compiled.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Stack for compiling, which goes as deep as references go.
const COMPILE_STACK_BYTES: usize = 64 << 20;
/// Steps that checking a value may take, whatever it is.
const STEPS: u64 = 50_000;
/// Steps more for each byte of its text. An array of small numbers takes one for every two bytes.
const STEPS_PER_BYTE: u64 = 2;
/// Steps for finding all that is wrong, once it is known that something is: each may cost memory.
const STEPS_TO_EXPLAIN: u64 = 100_000;

/// A schema that values are checked by. It refers to nothing outside of itself.
pub struct Schema(Validator);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema(…)")
    }
}

/// What a value breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The JSON pointer of the part (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong with it, without the value.
    pub message: String,
}

/// Why a value could not be checked to the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The schema asks for too much of this value.
    #[error("checking it takes more than {limit} steps; simplify the schema, or send less at once")]
    Steps {
        /// The bound: 50,000, and two for each byte of the value.
        limit: u64,
    },
    /// The value, or the schema, is nested too deeply.
    #[error("checking it goes too deep; nest the value less, or refer less often in the schema")]
    Depth,
}

impl Schema {
    /// Draft 2020-12 unless `$schema` names another. The error says why it cannot be used.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let mut metered = schema.clone();
        parts::meter(&mut metered)?;
        let compiled = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(COMPILE_STACK_BYTES);
            let thread = thread.spawn_scoped(scope, || build(&metered)).map_err(|error| error.to_string())?;
            thread.join().unwrap_or_else(|_| Err("it cannot be compiled".to_owned()))
        });
        compiled.map(Self)
    }

    /// What is wrong with a value, the first twenty; nothing, when it is valid. `bytes`: of its text. Takes as long as its
    /// steps take, up to some seconds for some MiB: not for a thread that others wait for, if it is large.
    pub fn check(&self, value: &Value, bytes: usize) -> Result<Vec<Complaint>, CheckError> {
        let limit = STEPS + STEPS_PER_BYTE * bytes as u64;
        let valid = meter::within(limit, AssertUnwindSafe(|| self.0.is_valid(value)));
        match valid {
            Ok(true) => return Ok(Vec::new()),
            Ok(false) => {}
            Err(Spent::Steps) => return Err(CheckError::Steps { limit }),
            Err(Spent::Stack) => return Err(CheckError::Depth),
        }
        let all = || self.0.iter_errors(value).take(COMPLAINTS_MAX).map(complaint).collect();
        let first = || self.0.validate(value).err().map(complaint).into_iter().collect();
        let told: Result<Vec<Complaint>, Spent> = meter::within(STEPS_TO_EXPLAIN, AssertUnwindSafe(all))
            .or_else(|_| meter::within(limit, AssertUnwindSafe(first)));
        let unexplained = || Complaint { pointer: String::new(), message: "it is not valid".to_owned() };
        Ok(told.ok().filter(|told| !told.is_empty()).unwrap_or_else(|| vec![unexplained()]))
    }
}

fn build(schema: &Value) -> Result<Validator, String> {
    // Expressions that take time that grows with the text alone, whoever wrote it.
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_pattern_options(patterns).with_retriever(Nothing);
    let options = options.should_validate_formats(true);
    let metered = options
        .with_keyword(meter::KEYWORD, |schema: &Map<String, Value>, _, _| Ok(Box::new(Meter::of(schema))));
    metered.build(schema).map_err(|error| cut(&error.to_string()))
}

fn complaint(error: ValidationError<'_>) -> Complaint {
    Complaint { pointer: error.instance_path().to_string(), message: cut(&error.masked().to_string()) }
}

/// Schemas elsewhere are not looked up: neither the network nor files are a request's to wait for.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is outside of the schema, and is not looked up; put it under $defs").into())
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
