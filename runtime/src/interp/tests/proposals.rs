//! Instructions of newer proposals where the interpreter's own machinery could get in their way: slots beyond the fields of an
//! instruction, operands in every place, accumulators, and handlers.

use super::{call, trap_of};
use crate::*;
use wasmc_environ::features::Features;
use wasmc_environ::types::{Limits, MemoryType};

/// A module with the export `f`: so many locals of type i64 after those of `head`, which are above what a field can name.
fn far(head: &str, body: &str) -> String {
    format!("(module (func (export \"f\") {head} (local {}) {body}))", "i64 ".repeat(40_000))
}

#[test]
fn wide_arithmetic_beyond_the_fields_of_an_instruction() {
    let text = far(
        "(param i64) (result i64 i64)",
        "(local.set 39990 (local.get 0)) (local.set 39991 (i64.const -1)) (local.set 39992 (i64.const 7)) (local.set 39993 (i64.const 9))
         (i64.mul_wide_s (local.get 39990) (local.get 39991))
         (local.set 39995) (local.set 39994)
         (i64.add128 (local.get 39990) (local.get 39991) (local.get 39992) (local.get 39993))
         (local.set 39997) (local.set 39996)
         (i64.sub128 (local.get 39996) (local.get 39997) (local.get 39994) (local.get 39995))",
    );
    let x: i128 = 1000;
    let (high, low) = (-1i128, 7i128);
    // What is subtracted is -x.
    let sum = (x | high << 64) + (low | 9 << 64);
    let v = sum + x;
    assert_eq!(call::<i64, (i64, i64)>(&text, 1000).expect("a result"), (v as i64, (v >> 64) as i64));
}

#[test]
fn wide_arithmetic_takes_operands_from_everywhere() {
    // Constants, locals, what is in the accumulator, results of one another, and the same local several times.
    let text = "(module
        (global $g (mut i64) (i64.const 3))
        (func $id (param i64) (result i64) (local.get 0))
        (func (export \"f\") (param i64 i64) (result i64 i64 i64 i64)
            (i64.add128 (local.get 0) (i64.const 5) (local.get 0) (call $id (local.get 1)))
            (local.set 1)
            (local.set 0)
            (i64.sub128
                (i64.mul_wide_u (i64.add (local.get 0) (global.get $g)) (i64.const -1))
                (i64.add128 (global.get $g) (i64.mul (local.get 1) (i64.const 2)) (i64.const 0) (i64.const 0)))
            (local.get 0)
            (local.get 1)))";
    let (a, b) = (0xffff_0000_1234_5678u64, 11u64);
    let first = (u128::from(a) | 5 << 64).wrapping_add(u128::from(a) | u128::from(b) << 64);
    let (low, high) = (first as u64, (first >> 64) as u64);
    let product = u128::from(low.wrapping_add(3)) * u128::from(u64::MAX);
    let v = product.wrapping_sub(3 | u128::from(high.wrapping_mul(2)) << 64);
    let results = call::<(i64, i64), (i64, i64, i64, i64)>(text, (a as i64, b as i64)).expect("results");
    assert_eq!(results, (v as i64, (v >> 64) as i64, low as i64, high as i64));
}

#[test]
fn indices_of_both_widths_come_from_everywhere() {
    let text = "(module
        (type $t (func (param i64) (result i64)))
        (table $w i64 2 funcref) (table $n 2 funcref)
        (elem (table $w) (i64.const 0) func $a $b) (elem (table $n) (i32.const 0) func $a $b)
        (func $a (type $t) (i64.add (local.get 0) (i64.const 1)))
        (func $b (type $t) (i64.mul (local.get 0) (i64.const 10)))
        (func (export \"f\") (param i64 i32) (result i64)
            (call_indirect $n (type $t) (i64.const 5) (i32.wrap_i64 (local.get 0)))
            (call_indirect $w (type $t) (i64.sub (local.get 0) (i64.const -1)))
            (call_indirect $n (type $t) (i32.sub (local.get 1) (i32.const 1)))
            (return_call_indirect $w (type $t) (i64.extend_i32_s (local.get 1)))))";
    // 5 + 1, * 10, + 1, * 10.
    assert_eq!(call::<(i64, i32), i64>(text, (0, 1)).expect("a result"), 610);
    // The first index is wrapped to 0, the second one is not.
    assert_eq!(trap_of(call::<(i64, i32), i64>(text, (1 << 32, 1))), TrapCode::UndefinedElement);
}

#[test]
fn first_form_of_exceptions_beyond_the_fields_of_an_instruction() {
    // The values, the exception that the handler keeps, and the results are all in slots that fields cannot name.
    let text = "(module (tag $t (param i32 i64 v128)) (func $throw (param i64)
            (throw $t (i32.const 5) (local.get 0) (v128.const i64x2 7 8)))
        (func (export \"f\") (param i64) (result i64 i64) (local LOCALS)
            try (result i64 i64)
                try (result i64 i64)
                    local.get 0
                    call $throw
                    unreachable
                catch $t
                    i64x2.extract_lane 1
                    local.set 39990
                    local.set 39991
                    drop
                    local.get 39990
                    i64.const 8
                    i64.eq
                    if
                        rethrow 1
                    end
                    i64.const 1
                    i64.const 2
                end
            catch $t
                i64x2.extract_lane 0
                local.set 39992
                local.get 39991
                i64.add
                local.set 39991
                drop
                local.get 39991
                local.get 39992
            end))";
    let text = text.replace("LOCALS", &"i64 ".repeat(40_000));
    assert_eq!(call::<i64, (i64, i64)>(&text, 1000).expect("results"), (2000, 7));
}

#[test]
fn exceptions_that_handlers_keep_are_collected_and_stay_valid() {
    // Each level keeps its exception while deeper ones throw thousands that die; then all are thrown again.
    let text = "(module (tag $t (param i32))
        (func $storm (param i32)
            loop
                try
                    (throw $t (local.get 0))
                catch $t
                    drop
                end
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))
            end)
        (func $deep (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (call $storm (i32.const 5000)) (return (i32.const 0))))
            try (result i32)
                try (result i32)
                    (throw $t (local.get 0))
                catch $t
                    drop
                    (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))
                    drop
                    (call $storm (i32.const 100))
                    rethrow 0
                end
            catch $t
                (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))))
            end)
        (func (export \"f\") (result i32) (call $deep (i32.const 8))))";
    assert_eq!(call::<(), i32>(text, ()).expect("a result"), 36);
}

#[test]
fn atomic_instructions_beyond_the_fields_of_an_instruction() {
    let text = far(
        "(param i64) (result i64 i32 i64)",
        "(local.set 39990 (i64.const 0x1122334455667788))
         (local.set 39991 (i64.const 24))
         (i64.atomic.store offset=8 (i32.wrap_i64 (local.get 39991)) (local.get 39990))
         (i64.atomic.rmw16.cmpxchg_u offset=8 (i32.wrap_i64 (local.get 39991)) (i64.const 0xabcd7788) (local.get 0))
         (i32.atomic.rmw8.add_u offset=9 (i32.wrap_i64 (local.get 39991)) (i32.const 0x1ff))
         (i64.atomic.load (i32.const 32))",
    );
    let text = text.replacen("(module", "(module (memory 1)", 1);
    assert_eq!(call::<i64, (i64, i32, i64)>(&text, 0x9999).expect("results"), (0x7788, 0x99, 0x1122_3344_5566_9899));
}

#[test]
fn alignment_of_atomic_accesses_counts_before_bounds() {
    let text = "(module (memory i64 1)
        (func (export \"f\") (param i64 i32)
            (if (i32.eqz (local.get 1)) (then (drop (i64.atomic.load offset=8 (local.get 0))) (return)))
            (if (i32.eq (local.get 1) (i32.const 1)) (then (drop (memory.atomic.notify offset=8 (local.get 0) (i32.const 1))) (return)))
            (drop (memory.atomic.wait64 offset=8 (local.get 0) (i64.const 0) (i64.const 0)))))";
    let trap = |address: i64, which: i32| trap_of(call::<(i64, i32), ()>(text, (address, which)));
    for which in 0..3 {
        assert_eq!(trap(65533, which), TrapCode::UnalignedAtomic);
        assert_eq!(trap(65528, which), TrapCode::MemoryOutOfBounds);
        assert_eq!(trap(-1, which), TrapCode::UnalignedAtomic);
        assert_eq!(trap(-8, which), TrapCode::MemoryOutOfBounds);
    }
    assert_eq!(trap(0, 2), TrapCode::AtomicWaitNonShared);
}

/// An engine that makes shared memories, and one of 1 to 100 pages.
fn shared() -> (Engine, SharedMemory) {
    let features = Features { shared_memory: true, ..Features::default() };
    let engine = Engine::new(Config::new().tier(Tier::Interpreted).features(features)).expect("a valid configuration");
    let limits = Limits { min: 1, max: Some(100) };
    let memory = SharedMemory::new(&engine, MemoryType { limits, memory64: false, shared: true, page_size_log2: 16 });
    (engine, memory.expect("a shared memory"))
}

#[test]
fn growth_by_another_thread_is_seen_without_leaving_the_function() {
    let (engine, memory) = shared();
    // Waits for each growth, then accesses what was added: at an address in a local, a constant one, a vector.
    let text = "(module (import \"\" \"m\" (memory 1 100 shared))
        (func $wait (param i32)
            (i32.atomic.store (i32.const 8) (local.get 0))
            (loop (br_if 0 (i32.ne (i32.atomic.load (i32.const 0)) (local.get 0)))))
        (func (export \"f\") (param i32) (result i32) (local i32)
            (call $wait (i32.const 1))
            (local.set 1 (i32.load8_u offset=1 (local.get 0)))
            (call $wait (i32.const 2))
            (i32.store (i32.const 131072) (i32.const 7))
            (local.set 1 (i32.add (local.get 1) (i32.load (i32.const 131072))))
            (call $wait (i32.const 3))
            (v128.store offset=65536 (i32.const 131072) (v128.const i32x4 1 2 3 4))
            (i32.add (local.get 1) (i32x4.extract_lane 3 (v128.load (i32.const 196608)))))
        (func (export \"beyond\") (param i32) (result i32) (i32.load (local.get 0))))";
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, wat::parse_str(text).expect("valid text")).expect("a valid module");
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).expect("an instance");
    let other = std::thread::spawn(move || {
        for step in 1..=3u32 {
            let mut ready = [0; 4];
            while u32::from_le_bytes(ready) != step {
                memory.read(8, &mut ready).expect("in bounds");
                std::thread::yield_now();
            }
            memory.grow(1).expect("room");
            memory.write(65537, &[20]).expect("in bounds");
            memory.write(0, &step.to_le_bytes()).expect("in bounds");
        }
    });
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").expect("the export");
    assert_eq!(f.call(&mut store, 65536).expect("no trap"), 20 + 7 + 4);
    other.join().expect("the other thread");
    let beyond = instance.get_typed_func::<i32, i32>(&mut store, "beyond").expect("the export");
    assert_eq!(beyond.call(&mut store, (4 << 16) - 4).expect("no trap"), 0);
    assert_eq!(trap_of(beyond.call(&mut store, (4 << 16) - 3)), TrapCode::MemoryOutOfBounds);
}

#[test]
fn threads_lose_no_update() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 2_000;
    let (engine, memory) = shared();
    let text = "(module (import \"\" \"m\" (memory 1 100 shared))
        (func (export \"f\") (param i32) (local i32)
            (loop
                (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
                (drop (i64.atomic.rmw8.sub_u (i32.const 8) (i64.const 1)))
                ;; An addition made of exchanges.
                (loop
                    (local.set 1 (i32.atomic.load16_u (i32.const 16)))
                    (br_if 0 (i32.ne (local.get 1)
                        (i32.atomic.rmw16.cmpxchg_u (i32.const 16) (local.get 1) (i32.add (local.get 1) (i32.const 1))))))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let module = Module::new(&engine, wat::parse_str(text).expect("valid text")).expect("a valid module");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).expect("an instance");
                let f = instance.get_typed_func::<i32, ()>(&mut store, "f").expect("the export");
                f.call(&mut store, ROUNDS as i32).expect("no trap");
            });
        }
    });
    let mut bytes = [0; 24];
    memory.read(0, &mut bytes).expect("in bounds");
    assert_eq!(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), THREADS * ROUNDS);
    assert_eq!(bytes[8], 0u8.wrapping_sub((THREADS * ROUNDS) as u8));
    assert_eq!(u16::from_le_bytes([bytes[16], bytes[17]]), (THREADS * ROUNDS) as u16);
}

/// No operator of a proposal that validation may accept is left out: each is named by the translation. Vector operators are
/// held against their lists in `simd`.
#[test]
fn every_operator_is_translated() {
    const SOURCES: [&str; 3] =
        [include_str!("../translate/operator.rs"), include_str!("../translate/atomic.rs"), include_str!("../translate/vector.rs")];
    const PROPOSALS: [&str; 11] = [
        "mvp",
        "sign_extension",
        "saturating_float_to_int",
        "bulk_memory",
        "reference_types",
        "tail_call",
        "threads",
        "exceptions",
        "legacy_exceptions",
        "function_references",
        "wide_arithmetic",
    ];
    macro_rules! names {
        ($(@$proposal:ident $name:ident $({ $($argument:ident: $ty:ty),* })? => $visit:ident ($($annotation:tt)*))*) => {
            [$((stringify!($proposal), stringify!($name))),*]
        };
    }
    let words = SOURCES.iter().flat_map(|s| s.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let known = words.collect::<std::collections::HashSet<_>>();
    let all = wasmc_environ::wasmparser::for_each_operator!(names);
    // Room in the binary format for what no proposal has: it is never valid.
    let wanted = all.iter().filter(|(proposal, name)| PROPOSALS.contains(proposal) && *name != "TypedSelectMulti");
    assert!(wanted.clone().count() > 280);
    let missing = wanted.filter(|(_, name)| !known.contains(name)).collect::<Vec<_>>();
    assert!(missing.is_empty(), "{missing:?}");
}
