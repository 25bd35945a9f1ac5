//! What random modules found (see `diff.rs`), each reduced to a few lines and run on every tier.

mod common;

use common::*;
use wasmc_runtime::*;

/// The size of a closed table, asked by interpreted code beside compiled code: it was 0.
#[test]
fn size_of_a_closed_table() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = instance(
            &mut store,
            r#"(module
                (table $t 7 funcref)
                (elem (table $t) (i32.const 1) func $a)
                (func $a (export "a") (result i32) (table.size $t))
                (func $b (export "b") (result i32) (table.size $t))
                (func (export "call") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0))))"#,
        );
        for name in ["a", "b"] {
            assert_eq!(func::<_, (), i32>(&mut store, instance, name).call(&mut store, ()).unwrap(), 7);
        }
        let call = func::<_, i32, i32>(&mut store, instance, "call");
        assert_eq!(call.call(&mut store, 1).unwrap(), 7);
        assert_eq!(trap(&call.call(&mut store, 7).unwrap_err()), TrapCode::UndefinedElement);
        assert_eq!(trap(&call.call(&mut store, 0).unwrap_err()), TrapCode::IndirectCallToNull);
    });
}
