//! A hostile worker: any bytes are a script of what it sends, and the host has to come to a verdict.
#![no_main]

use evoke_worker::testing::{Script, converse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    converse(&Script::parse(bytes));
});
