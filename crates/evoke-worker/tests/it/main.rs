//! Real Node.js and CPython processes, as functions meet them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
mod zygote;

mod at_once;
mod bindings;
mod components;
mod contracts;
mod egress;
mod ends;
mod failures;
mod forms;
mod frames;
mod hostile;
mod isolation;
mod lambda;
mod layers;
mod limits;
mod logs;
mod node_zygote;
mod orphans;
mod packages;
mod prepare;
mod protocol;
mod provided;
mod runtime;
mod scripts;
mod streaming;
mod usage;
