//! What a filter may ask for at most. Others than [`crate::limits::Limits`] because they are part of the language: a
//! filter that was deployed once is a filter on every node.

/// Bytes of an expression, and of a pattern as JSON.
pub const FILTER_BYTES_MAX: usize = 16 << 10;
/// Levels of an expression (parentheses, calls, signs) or a pattern (objects, operators).
pub const NESTING_MAX: usize = 64;
/// Wildcards (`*`) of one string of a pattern.
pub const WILDCARDS_MAX: usize = 16;
/// Units of work of one evaluation: an operand, a value compared, 16 bytes of text read or made, one position at which a
/// piece of a LIKE pattern with `_` was tried. A few milliseconds.
pub const WORK_MAX: u32 = 2_000_000;
/// As many of them each evaluation has, however much others have used of what they share ([`super::Allowance`]). Filters that
/// people write take less than a tenth.
pub const WORK_OWN: u32 = 1_000;
