//! Components as `wit-component` makes them, small.

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use super::trimmed;
use crate::engine::{self, Tasks};
use crate::function::linker;
use crate::guest::Guest;
use crate::preload::guest;

/// A component whose module imports: random bytes and an environment by a shim, for they need its memory; whether a socket listens,
/// directly; its address, by the shim; and dropping a socket.
///
/// `sum` adds up what it is given in a way that needs two of them, `listens` asks a socket that it does not have.
const SHIMMED: &str = r#"(component
    (import "wasi:sockets/network@0.2.0" (instance $network
        (export "network" (type (sub resource)))
        (type $code (enum "unknown"))
    ))
    (import "wasi:random/random@0.2.0" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
        (export "get-random-u64" (func (result u64)))
    ))
    (import "wasi:cli/terminal-input@0.2.0" (instance $terminal
        (export "terminal-input" (type (sub resource)))
    ))
    (import "wasi:filesystem/types@0.2.0" (instance $files
        (export "descriptor" (type $descriptor (sub resource)))
        (export "[method]descriptor.is-same-object"
            (func (param "self" (borrow $descriptor)) (param "other" (borrow $descriptor)) (result bool)))
    ))
    (alias export $random "get-random-bytes" (func $bytes))
    (alias export $random "get-random-u64" (func $number))
    (alias export $files "[method]descriptor.is-same-object" (func $same))
    (alias export $terminal "terminal-input" (type $input))
    (core module $main
        (type $none (func))
        (type $unary (func (param i32)))
        (import "wasi:random/random@0.2.0" "get-random-bytes" (func $bytes (param i64 i32)))
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $number (result i64)))
        (import "wasi:filesystem/types@0.2.0" "[method]descriptor.is-same-object" (func $same (param i32 i32) (result i32)))
        (import "wasi:cli/terminal-input@0.2.0" "[resource-drop]terminal-input" (func $drop (param i32)))
        (table $own 2 funcref)
        (memory (export "memory") 1)
        (global $heap (mut i32) (i32.const 1024))
        (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local i32)
            (local.set 4 (global.get $heap))
            (global.set $heap (i32.add (global.get $heap) (local.get 3)))
            (local.get 4))
        (func $length (export "length") (param $wanted i64) (result i32)
            (drop (call $number))
            (call $bytes (local.get $wanted) (i32.const 16))
            (i32.load (i32.const 20)))
        (func (export "indirectly") (result i32)
            (call_indirect $own (type $none) (i32.const 1))
            (i32.const 7))
        (func $nothing)
        (func (export "compare") (result i32) (call $same (i32.const 1) (i32.const 2)))
        (func (export "give-back") (call $drop (i32.const 1)))
        (elem (table $own) (i32.const 0) func $drop $nothing)
    )
    (core module $shim
        (type $two (func (param i64 i32)))
        (table (export "$imports") 1 1 funcref)
        (func (export "0") (type $two)
            (local.get 0) (local.get 1) (i32.const 0) (call_indirect (type $two)))
    )
    (core module $fixup
        (type $two (func (param i64 i32)))
        (import "" "0" (func (type $two)))
        (import "" "$imports" (table 1 1 funcref))
        (elem (i32.const 0) func 0)
    )
    (core instance $shim (instantiate $shim))
    (alias core export $shim "0" (core func $bytes-later))
    (core func $number (canon lower (func $number)))
    (core func $same (canon lower (func $same)))
    (core func $drop (canon resource.drop $input))
    (core instance $from-random
        (export "get-random-bytes" (func $bytes-later)) (export "get-random-u64" (func $number)))
    (core instance $from-files (export "[method]descriptor.is-same-object" (func $same)))
    (core instance $from-terminal (export "[resource-drop]terminal-input" (func $drop)))
    (core instance $main (instantiate $main
        (with "wasi:random/random@0.2.0" (instance $from-random))
        (with "wasi:filesystem/types@0.2.0" (instance $from-files))
        (with "wasi:cli/terminal-input@0.2.0" (instance $from-terminal))))
    (alias core export $main "memory" (core memory $memory))
    (alias core export $main "realloc" (core func $realloc))
    (alias core export $shim "$imports" (core table $imports))
    (core func $bytes (canon lower (func $bytes) (memory $memory) (realloc $realloc)))
    (core instance $to-fill (export "$imports" (table $imports)) (export "0" (func $bytes)))
    (core instance (instantiate $fixup (with "" (instance $to-fill))))
    (func (export "length") (param "wanted" u64) (result u32) (canon lift (core func $main "length")))
    (func (export "indirectly") (result u32) (canon lift (core func $main "indirectly")))
    (func (export "compare") (result u32) (canon lift (core func $main "compare")))
    (func (export "give-back") (canon lift (core func $main "give-back")))
)"#;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Names of what the modules of a component import, module by module.
fn imports(component: &[u8]) -> Vec<Vec<String>> {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } => modules.push(Vec::new()),
            Payload::ImportSection(section) => {
                let names = section.into_imports().map(|import| import.unwrap().name.to_owned());
                modules.last_mut().unwrap().extend(names);
            }
            _ => {}
        }
    }
    modules
}

/// An instance of a component, as a call would have it.
struct Running {
    store: Store<Guest>,
    instance: wasmtime::component::Instance,
}

impl Running {
    fn new(bytes: &[u8]) -> Self {
        let engine: Engine = engine::running(Tasks::One, 1).unwrap();
        let component = Component::from_binary(&engine, bytes).unwrap();
        let mut store = Store::new(&engine, guest());
        store.set_epoch_deadline(1);
        let linker = linker(&engine, Tasks::One).unwrap();
        let instance = at_once(linker.instantiate_async(&mut store, &component)).unwrap();
        Self { store, instance }
    }

    fn call(&mut self, name: &str) -> wasmtime::Result<u32> {
        let function = self.instance.get_typed_func::<(), (u32,)>(&mut self.store, name)?;
        at_once(function.call_async(&mut self.store, ())).map(|(number,)| number)
    }
}

fn at_once<T>(done: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(done)
}

#[test]
fn a_module_calls_through_the_table_and_traps_by_itself() {
    let whole = component(SHIMMED);
    let cut = trimmed(&whole).unwrap();
    assert_eq!(imports(&whole)[0].len(), 4);
    let left = imports(&cut);
    assert_eq!(left[0], ["get-random-u64", "$imports"]);
    assert_eq!(left[2], ["0", "$imports"], "what fills the table is still there");
}

#[test]
fn what_it_does_is_the_same() {
    let whole = component(SHIMMED);
    for bytes in [whole.clone(), trimmed(&whole).unwrap()] {
        let mut running = Running::new(&bytes);
        let length = running.instance.get_typed_func::<(u64,), (u32,)>(&mut running.store, "length").unwrap();
        for wanted in [0, 5, 300] {
            let (length,) = at_once(length.call_async(&mut running.store, (wanted,))).unwrap();
            assert_eq!(u64::from(length), wanted);
        }
        assert_eq!(running.call("indirectly").unwrap(), 7, "its own table has its own functions");
        let error = format!("{:#}", running.call("compare").unwrap_err());
        assert!(error.contains("unreachable") || error.contains("unknown handle"), "{error}");
    }
}

#[test]
fn places_of_the_table_for_what_is_never_called_stay_empty() {
    // The same, with a function of sockets in a place of its own before the other.
    let dead = SHIMMED
        .replace(
            "(table (export \"$imports\") 1 1 funcref)",
            "(table (export \"$imports\") 2 2 funcref)
            (type $binary (func (param i32 i32) (result i32)))
            (func (export \"1\") (type $binary)
                (local.get 0) (local.get 1) (i32.const 1) (call_indirect (type $binary)))",
        )
        .replace(
            "(import \"\" \"$imports\" (table 1 1 funcref))\n        (elem (i32.const 0) func 0)",
            "(import \"\" \"1\" (func (param i32 i32) (result i32)))
            (import \"\" \"$imports\" (table 2 2 funcref))
            (elem (i32.const 0) func 0 1)",
        )
        .replace(
            "(export \"$imports\" (table $imports))",
            "(export \"$imports\" (table $imports)) (export \"1\" (func $same))",
        )
        .replace(
            "(core instance $from-files (export \"[method]descriptor.is-same-object\" (func $same)))",
            "(alias core export $shim \"1\" (core func $same-later))
            (core instance $from-files (export \"[method]descriptor.is-same-object\" (func $same-later)))",
        );
    let whole = component(&dead);
    let cut = trimmed(&whole).unwrap();
    assert_eq!(imports(&whole)[2], ["0", "1", "$imports"]);
    assert_eq!(imports(&cut)[2], ["0", "$imports"]);
    assert_eq!(imports(&cut)[0], ["get-random-u64", "$imports"]);
    let mut running = Running::new(&cut);
    let length = running.instance.get_typed_func::<(u64,), (u32,)>(&mut running.store, "length").unwrap();
    assert_eq!(at_once(length.call_async(&mut running.store, (9,))).unwrap(), (9,));
    assert!(running.call("compare").is_err());
}

#[test]
fn what_looks_otherwise_is_left_alone() {
    let passes_something_else = SHIMMED.replace(
        "(local.get 0) (local.get 1) (i32.const 0) (call_indirect",
        "(i64.const 3) (local.get 1) (i32.const 0) (call_indirect",
    );
    let left = imports(&trimmed(&component(&passes_something_else)).unwrap());
    assert_eq!(left[0], ["get-random-bytes", "get-random-u64"], "it may do more than to pass something on");

    let of_another = SHIMMED
        .replace("wasi:filesystem/types@0.2.0", "my:filesystem/types@0.2.0")
        .replace("wasi:cli/terminal-input@0.2.0", "my:cli/terminal-input@0.2.0");
    let left = imports(&trimmed(&component(&of_another)).unwrap());
    assert_eq!(left[0].len(), 4, "other packages may give out what they like");

    let has_lines =
        SHIMMED.replace("(type $none (func))", "(type $none (func)) (@custom \".debug_line\" \"\")");
    assert!(trimmed(&component(&has_lines)).is_none(), "its line table would point elsewhere");

    assert!(trimmed(&component("(component)")).is_none());
    assert!(trimmed(b"\0asm\x01\0\0\0").is_none());
    assert!(trimmed(b"").is_none());
}

#[test]
fn a_table_that_another_module_has_too_is_left_alone() {
    let shared = SHIMMED.replace(
        "(core instance $to-fill",
        r#"(core module $other (import "" "table" (table 1 funcref)))
        (core instance $for-other (export "table" (table $imports)))
        (core instance (instantiate $other (with "" (instance $for-other))))
        (core instance $to-fill"#,
    );
    let left = imports(&trimmed(&component(&shared)).unwrap());
    assert_eq!(left[0], ["get-random-bytes", "get-random-u64"], "it may be filled by another");
}

#[test]
fn a_module_with_two_instances_is_left_alone() {
    // What is never called for one of them is a function of another module for the other.
    let twice = r#"(component
        (import "wasi:cli/terminal-input@0.2.0" (instance $terminal
            (export "terminal-input" (type (sub resource)))))
        (alias export $terminal "terminal-input" (type $input))
        (core func $drop (canon resource.drop $input))
        (core module $main (import "" "drop" (func $drop (param i32))) (func (export "run") (call $drop (i32.const 1))))
        (core module $other (func (export "drop") (param i32)))
        (core instance $never (export "drop" (func $drop)))
        (core instance $other (instantiate $other))
        (core instance (instantiate $main (with "" (instance $never))))
        (core instance (instantiate $main (with "" (instance $other)))))"#;
    assert!(trimmed(&component(twice)).is_none());
    let last = twice.rfind("(core instance").unwrap();
    let once = format!("{})", &twice[..last]);
    assert!(imports(&trimmed(&component(&once)).unwrap())[0].is_empty());
}

#[test]
fn no_file_makes_it_panic() {
    let whole = component(SHIMMED);
    for at in 8..whole.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
            let mut changed = whole.clone();
            changed[at] = byte;
            // Whatever comes of it is validated again by the compiler.
            let _ = trimmed(&changed);
        }
        let _ = trimmed(&whole[..at]);
    }
}
