//! Real Node.js and CPython processes, as functions meet them.

mod support;

mod bindings;
mod contracts;
mod failures;
mod frames;
mod isolation;
mod lambda;
mod limits;
mod logs;
mod orphans;
mod prepare;
mod protocol;
mod streaming;
