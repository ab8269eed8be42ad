//! Real Node.js and CPython processes, as functions meet them.

mod support;

mod contracts;
