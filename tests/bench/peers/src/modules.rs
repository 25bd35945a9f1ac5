//! The modules that are measured, in text.

/// A data segment of 64 KiB, a table of 1,000 functions, and a function that touches both.
pub fn filled() -> String {
    let functions: String = (0..1000).map(|i| format!("(func $f{i} (type $t) (i32.add (local.get 0) (i32.const {i})))")).collect();
    let elements: String = (0..1000).map(|i| format!(" $f{i}")).collect();
    let data = "\\2a".repeat(65536);
    format!(
        "(module (type $t (func (param i32) (result i32))) (table 1000 1000 funcref) (memory 2) {functions} (elem (i32.const 0){elements})
            (data (i32.const 0) \"{data}\")
            (func (export \"f\") (param i32) (result i32)
                (i32.store (i32.const 65532) (local.get 0))
                (call_indirect (type $t) (i32.load8_u (i32.const 7)) (i32.and (local.get 0) (i32.const 511)))))"
    )
}

/// A function that does nothing, for the host to call, and one that calls the host as often as it is told.
pub const CALLS: &str = r#"(module (import "host" "add" (func $add (param i32 i32) (result i32)))
    (func (export "nothing") (param i32) (result i32) (local.get 0))
    (func (export "calls") (param i32) (result i32) (local $sum i32)
        (loop $l
            (local.set $sum (call $add (local.get $sum) (local.get 0)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $sum)))"#;

/// A function with an even number calls one with an odd number: with every second one interpreted, each call goes there and back.
pub const BETWEEN: &str = r#"(module
    (func $loop (export "calls") (param i32) (result i32) (local $sum i32)
        (loop $l
            (local.set $sum (call $other (local.get $sum)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $sum))
    (func $other (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#;
