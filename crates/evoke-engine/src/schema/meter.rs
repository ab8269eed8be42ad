//! The bound of a check: steps and stack, counted by a keyword that stands in every part of a schema.
//!
//! The validator knows no bound and cannot be stopped from outside; unwinding is the way out that it leaves.

use std::cell::Cell;
use std::panic::{self, UnwindSafe};

use jsonschema::{Keyword, ValidationError};
use serde_json::{Map, Value};

/// The keyword's name. No schema has it from its author: [`parts`](super::parts) refuses that.
pub(super) const KEYWORD: &str = "$evoke-step";

/// Stack that a check may use, of the 2 MiB that a thread of the server has.
const STACK_BYTES_MAX: usize = 768 << 10;
/// Bytes of text that count as a step.
const TEXT_PER_STEP: usize = 64;

/// What was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    Steps,
    Stack,
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static TOP: Cell<usize> = const { Cell::new(0) };
}

/// Runs a check on this thread, unless it takes more than so many steps, or too much stack.
pub(super) fn within<T>(steps: u64, check: impl FnOnce() -> T + UnwindSafe) -> Result<T, Spent> {
    LEFT.set(steps);
    TOP.set(stack_address());
    panic::catch_unwind(check).map_err(|cause| match cause.downcast::<Spent>() {
        Ok(spent) => *spent,
        Err(cause) => panic::resume_unwind(cause),
    })
}

/// Counts what a part of a schema looks at in a value.
pub(super) struct Meter {
    /// It compares whole values, however deep.
    compares: bool,
    /// Values it compares with.
    constants: u64,
}

impl Meter {
    pub fn of(schema: &Map<String, Value>) -> Self {
        let constants = schema.get("enum").and_then(Value::as_array).map_or(0, |values| values.len() as u64);
        let compares = ["enum", "const", "uniqueItems"].iter().any(|keyword| schema.contains_key(*keyword));
        Self { compares, constants }
    }

    fn count(&self, value: &Value) {
        let used = TOP.get().abs_diff(stack_address());
        if used > STACK_BYTES_MAX {
            panic::resume_unwind(Box::new(Spent::Stack));
        }
        let size = if self.compares { whole(value) } else { shallow(value) };
        match LEFT.get().checked_sub(1 + size + self.constants / 16) {
            Some(left) => LEFT.set(left),
            None => panic::resume_unwind(Box::new(Spent::Steps)),
        }
    }
}

impl<'v> Keyword<'v> for Meter {
    fn validate(&self, value: &'v Value) -> Result<(), ValidationError<'v>> {
        self.count(value);
        Ok(())
    }

    fn is_valid(&self, value: &'v Value) -> bool {
        self.count(value);
        true
    }
}

fn shallow(value: &Value) -> u64 {
    let size = match value {
        Value::String(text) => text.len() / TEXT_PER_STEP,
        Value::Array(items) => items.len() / 16,
        Value::Object(members) => members.len() / 16,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size as u64
}

fn whole(value: &Value) -> u64 {
    let inner: u64 = match value {
        Value::Array(items) => items.iter().map(|item| 1 + whole(item)).sum(),
        Value::Object(members) => members.values().map(|member| 1 + whole(member)).sum(),
        _ => 0,
    };
    shallow(value) + inner
}

/// About where the stack is.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}
