//! Tests of what is the interpreter's own: slots beyond the fields of an instruction, frames, bridges between instances,
//! tail calls, handlers, and that no join of instructions changes what is computed. What instructions mean is tested
//! with every tier in the crate of the tests.

use crate::*;
use std::fmt::Write as _;

mod proposals;

fn engine() -> Engine {
    Engine::new(Config::new().tier(Tier::Interpreted)).expect("a valid configuration")
}

fn instance(store: &mut Store<()>, text: &str, imports: &[Extern]) -> Instance {
    let module = Module::new(&store.engine().clone(), wat::parse_str(text).expect("valid text")).expect("a valid module");
    Instance::new(store, &module, imports).expect("an instance")
}

/// Calls the export `f` of a module.
fn call<P: WasmParams, R: WasmResults>(text: &str, params: P) -> Result<R> {
    let mut store = Store::new(&engine(), ());
    let instance = instance(&mut store, text, &[]);
    instance.get_typed_func::<P, R>(&mut store, "f").expect("the export").call(&mut store, params)
}

fn trap_of<T: core::fmt::Debug>(result: Result<T>) -> TrapCode {
    result.expect_err("a trap").downcast_ref::<Trap>().expect("a trap").code()
}

#[test]
fn slots_beyond_the_fields_of_an_instruction() {
    // 20,000 vectors and 20,000 integers: 60,000 slots, most of which 16 bits do not reach.
    let text = format!(
        "(module (memory 1)
            (func $id (param i32 v128) (result v128 i32) local.get 1 local.get 0)
            (func (export \"f\") (param i32) (result i32)
                (local {}) (local {})
                (local.set 39999 (i32.add (local.get 0) (i32.const 5)))
                (local.set 40000 (i32.mul (local.get 39999) (local.get 39999)))
                (local.set 19999 (i32x4.splat (local.get 40000)))
                (local.set 30000 (local.get 40000))
                (i32.store (local.get 30000) (i32.const 7))
                (local.set 39998 (i32.load (local.get 40000)))
                (call $id (local.get 39998) (local.get 19999))
                (local.set 39997)
                (local.set 19998)
                (if (i32.lt_s (local.get 39997) (local.get 40000))
                    (then (local.set 39996 (select (local.get 39997) (local.get 40000) (local.get 39997)))))
                (block (br_if 0 (local.tee 39995 (i32.eqz (local.get 39996)))) (local.set 39994 (i32.const 1000)))
                (i32.add (i32.add (i32x4.extract_lane 3 (local.get 19998)) (local.get 39996)) (local.get 39994))))",
        "v128 ".repeat(20_000),
        "i32 ".repeat(20_001),
    );
    assert_eq!(call::<i32, i32>(&text, 1).expect("a result"), 36 + 7 + 1000);
}

#[test]
fn operands_beyond_the_fields_of_an_instruction() {
    // 40,000 operands on the stack, then their sum.
    let mut text = String::from("(module (func (export \"f\") (param i32) (result i32)\n");
    for i in 0..40_000 {
        let _ = writeln!(text, "(i32.mul (local.get 0) (i32.const {}))", i % 7);
    }
    text.push_str(&"i32.add\n".repeat(39_999));
    text.push_str("))");
    let sum: i32 = (0..40_000).map(|i| 3 * (i % 7)).sum();
    assert_eq!(call::<i32, i32>(&text, 3).expect("a result"), sum);
}

#[test]
fn recursion_ends_with_a_trap_and_reaches_far() {
    let text = "(module
        (global $depth (mut i32) (i32.const 0))
        (func (export \"f\") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call 0 (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0)))))";
    assert_eq!(call::<i32, i32>(text, 100_000).expect("deep enough"), 100_000);
    assert_eq!(trap_of(call::<i32, i32>(text, -1)), TrapCode::StackOverflow);
    // A frame that alone is larger than the stack.
    let text = format!("(module (func (export \"f\") (local {}) (call 0)))", "i64 ".repeat(50_000));
    assert_eq!(trap_of(call::<(), ()>(&text, ())), TrapCode::StackOverflow);
}

#[test]
fn tail_calls_take_no_stack() {
    // Frames with more and fewer parameters, through every way to call.
    let text = "(module
        (type $t (func (param i32 i64 i64) (result i64)))
        (table funcref (elem $c))
        (func $a (param i32 i64) (result i64)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $b (i64.const 1) (local.get 1) (i32.sub (local.get 0) (i32.const 1))))
        (func $b (param i64 i64 i32) (result i64) (local i64 i64 i64)
            (return_call_indirect (type $t) (local.get 2) (i64.add (local.get 0) (local.get 1)) (local.get 0) (i32.const 0)))
        (func $c (type $t) (return_call $a (local.get 0) (i64.add (local.get 1) (local.get 2))))
        (func (export \"f\") (param i32) (result i64) (i64.add (i64.const 5) (call $a (local.get 0) (i64.const 0)))))";
    assert_eq!(call::<i32, i64>(text, 1_000_000).expect("no overflow"), 2_000_005);
}

#[test]
fn instances_call_one_another_over_bridges() {
    let mut store = Store::new(&engine(), ());
    let first = instance(
        &mut store,
        "(module (memory (export \"m\") 1) (global $g (mut i64) (i64.const 7))
            (func (export \"add\") (param i32 i64) (result i64 i32)
                (global.set $g (i64.add (global.get $g) (local.get 1)))
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0)))
                (drop (memory.grow (i32.const 1)))
                (global.get $g) (i32.load (i32.const 0))))",
        &[],
    );
    let add = first.get_export(&mut store, "add").expect("the export");
    let second = instance(
        &mut store,
        "(module (import \"\" \"add\" (func $add (param i32 i64) (result i64 i32)))
            (memory 1) (global $g (mut i64) (i64.const 100))
            (table funcref (elem $add))
            (type $t (func (param i32 i64) (result i64 i32)))
            (func $tail (param i64 i32) (result i64 i32) (return_call $add (local.get 1) (local.get 0)))
            (func $indirect (param i64 i32 i32) (result i64 i32)
                (return_call_indirect (type $t) (local.get 1) (local.get 0) (i32.const 0)))
            (func (export \"f\") (result i64) (local i64 i32)
                (i32.store (i32.const 0) (i32.const 50))
                (call $add (i32.const 1) (i64.const 10))
                (drop) (local.set 0)
                (call $tail (i64.const 100) (i32.const 2))
                (drop) (local.set 0 (i64.add (local.get 0)))
                (call $indirect (i64.const 1000) (i32.const 4) (i32.const 9))
                (local.set 1) (local.set 0 (i64.add (local.get 0)))
                (call_indirect (type $t) (i32.const 8) (i64.const 0) (i32.const 0))
                (local.set 1 (i32.add (local.get 1))) (drop)
                ;; Own memory, own global, own size.
                (i64.add (local.get 0)
                    (i64.add (global.get $g)
                        (i64.extend_i32_u (i32.add (i32.add (i32.load (i32.const 0)) (memory.size)) (local.get 1)))))))",
        &[add],
    );
    let f = second.get_typed_func::<(), i64>(&mut store, "f").expect("the export");
    // 17 + 117 + 1117; 100; 50 and one page; sums in the other memory: 7 and 15.
    assert_eq!(f.call(&mut store, ()).expect("a result"), 17 + 117 + 1117 + 100 + 50 + 1 + 7 + 15);
    assert_eq!(first.get_memory(&mut store, "m").expect("the memory").size(&store), 5);
}

#[test]
fn tail_calls_between_instances_take_no_stack() {
    let mut store = Store::new(&engine(), ());
    // Each calls the other through a table that they share.
    let table = "(module (table (export \"t\") 2 2 funcref))";
    let table = instance(&mut store, table, &[]).get_export(&mut store, "t").expect("the table");
    let text = |own: i32| {
        format!(
            "(module (import \"\" \"t\" (table 2 2 funcref)) (type $t (func (param i32 i32) (result i32)))
                (global $g i32 (i32.const {}))
                (elem (i32.const {own}) $go)
                (func $go (export \"go\") (type $t)
                    (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
                    (return_call_indirect (type $t)
                        (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (global.get $g)) (i32.const {}))))",
            own + 1,
            1 - own
        )
    };
    let first = instance(&mut store, &text(0), std::slice::from_ref(&table));
    instance(&mut store, &text(1), &[table]);
    let go = first.get_typed_func::<(i32, i32), i32>(&mut store, "go").expect("the export");
    assert_eq!(go.call(&mut store, (1_000_000, 0)).expect("no overflow"), 1_500_000);
}

#[test]
fn exceptions_find_their_handlers() {
    let text = "(module
        (tag $e (param i32 i64)) (tag $other)
        (func $throw (param i32) (throw $e (local.get 0) (i64.const 1000)))
        (func $deep (param i32) (result i32)
            (if (local.get 0) (then (return (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
            (block (try_table (catch $other 0) (call $throw (i32.const 3))))
            (i32.const 0))
        ;; Its handler is gone when the callee throws.
        (func $gone (result i32) (block (try_table (catch_all 0) (return_call $deep (i32.const 4)))) (i32.const 77))
        ;; A handler whose label is the function.
        (func $whole (result i32 i64) (try_table (catch $e 0) (drop (call $gone))) (i32.const 0) (i64.const 0))
        (func (export \"f\") (result i64) (local $i i32) (local $sum i64) (local $x i64)
            (loop $again
                (local.set $x (i64.extend_i32_u (local.get $i)))
                (block $caught (result i32 i64 exnref)
                    (try_table (catch_ref $e $caught) (drop (call $deep (local.get $i))))
                    (unreachable))
                (drop) (local.set $sum (i64.add (local.get $sum)))
                (i64.extend_i32_s) (local.set $sum (i64.add (local.get $sum)))
                (local.set $sum (i64.add (local.get $sum) (local.get $x)))
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
            (call $whole)
            (local.set $sum (i64.add (local.get $sum)))
            (i64.extend_i32_s) (i64.add (local.get $sum))))";
    assert_eq!(call::<(), i64>(text, ()).expect("a result"), 10 * 1003 + 45 + 1003);
}

#[test]
fn exceptions_are_thrown_again_through_the_host() {
    let mut store = Store::new(&engine(), ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
        let f = caller.get_export("inner").and_then(|e| e.into_func()).expect("the export");
        let f = f.typed::<i32, i32>(&caller)?;
        f.call(&mut caller, n)
    });
    let instance = instance(
        &mut store,
        "(module (import \"\" \"\" (func $host (param i32) (result i32))) (tag $e (param i32))
            (func (export \"inner\") (param i32) (result i32)
                (if (local.get 0) (then (return (call $host (i32.sub (local.get 0) (i32.const 1))))))
                (throw $e (i32.const 42)))
            (func (export \"f\") (param i32) (result i32)
                (block $caught (result exnref)
                    (block $again (result i32 exnref)
                        (try_table (catch_ref $e $again) (drop (call $host (local.get 0))))
                        (unreachable))
                    (local.set 0 (ref.is_null)) (drop)
                    (block $last (result i32)
                        (try_table (catch $e $last) (drop (call $host (i32.const 2))))
                        (unreachable))
                    (return))
                (drop) (i32.const 0)))",
        &[host.into()],
    );
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").expect("the export");
    assert_eq!(f.call(&mut store, 5).expect("a result"), 42);
}

#[test]
fn operands_keep_their_values_when_locals_change() {
    let text = "(module (func (export \"f\") (param i32 i32) (result i32 i32 i32 i32 i32)
        (local i32)
        local.get 0
        (i32.add (local.get 0) (i32.const 100))
        (i32.add (local.get 0) (i32.shl (local.get 1) (i32.const 2)))
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (local.tee 1 (i32.mul (local.get 1) (i32.const 10)))
        (block (br_if 0 (local.get 2)) (local.set 1 (i32.const -1)) (local.set 0 (i32.add (local.get 0) (local.get 1))))
        (local.get 0)))";
    let results = call::<(i32, i32), (i32, i32, i32, i32, i32)>(text, (7, 3)).expect("results");
    assert_eq!(results, (7, 107, 19, 30, 7));
}

#[test]
fn branches_carry_values() {
    let text = "(module
        (func $table (param i32) (result i32 i32)
            (block $a (result i32 i32)
                (i32.const 1000)
                (block $b (result i32 i32)
                    (i32.const 1) (i32.const 2) (local.get 0)
                    (br_table $b $a 2))
                (i32.add) (i32.add) (i32.const 3))
            )
        (func (export \"f\") (param i32) (result i32) (local i32)
            (loop $l
                (call $table (local.get 0))
                (local.set 1 (i32.add (local.get 1))) (local.set 1 (i32.add (local.get 1)))
                (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 3))))
            (local.get 1)))";
    // Index 0: 1000 + 1 + 2, and 3. Index 1 and 2: 1 and 2.
    assert_eq!(call::<i32, i32>(text, 0).expect("a result"), 1006 + 3 + 3);
}

#[test]
fn threads_translate_a_function_at_once() {
    let engine = engine();
    let text = "(module (func (export \"f\") (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
            (else (i32.add (call 0 (i32.sub (local.get 0) (i32.const 1))) (call 0 (i32.sub (local.get 0) (i32.const 2))))))))";
    let module = Module::new(&engine, wat::parse_str(text).expect("valid text")).expect("a valid module");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
                let f = instance.get_typed_func::<i32, i32>(&mut store, "f").expect("the export");
                assert_eq!(f.call(&mut store, 15).expect("a result"), 610);
            });
        }
    });
}

/// A million rounds through handlers of every kind on a small native stack: it must not grow.
#[test]
fn no_handler_leaves_anything_on_the_native_stack() {
    let text = "(module (memory 1) (table funcref (elem $g)) (type $t (func (param i32) (result i32)))
        (func $g (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func (export \"f\") (param i32) (result i64) (local i64 f64 f32 v128 i32)
            (loop $l
                (local.set 1 (i64.add (i64.rotl (local.get 1) (i64.const 7)) (i64.extend_i32_u (call $g (local.get 0)))))
                (local.set 1 (i64.xor (local.get 1) (i64.div_u (local.get 1) (i64.const 3))))
                (local.set 2 (f64.add (f64.mul (local.get 2) (f64.const 0.5)) (f64.convert_i64_s (local.get 1))))
                (local.set 3 (f32.min (f32.nearest (f32.demote_f64 (local.get 2))) (f32.const 100)))
                (f32.store (i32.and (local.get 0) (i32.const 0xff)) (local.get 3))
                (local.set 4 (i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31
                    (i32x4.add (local.get 4) (i32x4.splat (local.get 0))) (v128.load (i32.const 16))))
                (local.set 4 (i8x16.swizzle (f64x2.nearest (local.get 4)) (i16x8.q15mulr_sat_s (local.get 4) (v128.load8_splat (i32.const 3)))))
                (v128.store32_lane 1 (i32.const 64) (local.get 4))
                (local.set 5 (i32.add (i8x16.bitmask (local.get 4)) (i64x2.all_true (local.get 4))))
                (local.set 5 (i32.add (local.get 5) (i32.trunc_sat_f64_s (f64.floor (local.get 2)))))
                (local.set 5 (i32.add (local.get 5) (call_indirect (type $t) (local.get 0) (i32.const 0))))
                (local.set 5 (select (local.get 5) (i32.load8_u (local.get 0)) (i32.gt_s (local.get 5) (i32.const 9))))
                (if (i32.and (local.get 5) (i32.const 1)) (then (local.set 1 (i64.add (local.get 1) (i64.const 1)))))
                (block (block (block (br_table 0 1 2 (i32.rem_u (local.get 0) (i32.const 5)))) (br 1)) (memory.fill (i32.const 0) (i32.const 1) (i32.const 8)))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 1)))";
    let engine = Engine::new(Config::new().tier(Tier::Interpreted).stack_size(64 << 10)).expect("a valid configuration");
    let module = Module::new(&engine, wat::parse_str(text).expect("valid text")).expect("a valid module");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
    let f = instance.get_typed_func::<i32, i64>(&mut store, "f").expect("the export");
    let rounds = if cfg!(interp_threaded) { 60_000 } else { 6_000 };
    f.call(&mut store, rounds).expect("no overflow");
}

/// Random straight-line programs against an evaluation of the same on a plain stack, so that forwarding, folding and
/// joining of instructions are held against what they replace.
#[test]
fn joined_instructions_compute_the_same() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // One engine, which keeps the memory: emulators need much time and memory for each reservation.
    let engine = engine();
    for round in 0..400 {
        let program = Program::random(&mut random);
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = instance(&mut store, &program.text(), &[]);
            let f = instance.get_func(&mut store, "f").expect("the export");
            let locals: Vec<u64> = (0..8).map(|i| if i < 4 { random.next() & 0xffff_ffff } else { random.next() }).collect();
            let arguments: Vec<Val> =
                locals.iter().enumerate().map(|(i, v)| if i < 4 { Val::I32(*v as i32) } else { Val::I64(*v as i64) }).collect();
            let mut results = vec![Val::I64(0); 1];
            f.call(&mut store, &arguments, &mut results).expect("no trap");
            let Val::I64(found) = results[0] else { panic!("an i64") };
            assert_eq!(found as u64, program.evaluate(locals), "round {round}:\n{}", program.text());
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}

#[derive(Clone, Copy)]
enum Step {
    Get(usize),
    Set(usize),
    Tee(usize),
    Const(bool, u64),
    /// A binary operator of i32s (false) or i64s, by number.
    Binary(bool, usize),
    Compare(bool, usize),
    Eqz(bool),
    Select,
    Wrap,
    Extend,
    Load(u32),
    Store(u32),
}

const BINARY: [&str; 10] = ["add", "sub", "mul", "and", "or", "xor", "shl", "shr_u", "rotl", "shr_s"];
const COMPARE: [&str; 6] = ["eq", "ne", "lt_s", "lt_u", "ge_s", "gt_u"];

/// Steps that leave one i64; locals 0 to 3 are i32s, 4 to 7 i64s.
struct Program(Vec<Step>);

impl Program {
    fn random(random: &mut Random) -> Self {
        let mut steps = Vec::new();
        // Types on the stack: whether 64 bits wide.
        let mut stack: Vec<bool> = Vec::new();
        for _ in 0..10 + random.below(120) {
            let top = stack.last().copied();
            let pair = matches!(stack[..], [.., a, b] if a == b).then_some(top.unwrap_or(false));
            let step = match (random.below(12), pair, top) {
                (0..=3, Some(wide), _) => Step::Binary(wide, random.below(10) as usize),
                (4, Some(wide), _) => Step::Compare(wide, random.below(6) as usize),
                (5, _, Some(wide)) => Step::Set(random.below(4) as usize + 4 * usize::from(wide)),
                (6, _, Some(wide)) => Step::Tee(random.below(4) as usize + 4 * usize::from(wide)),
                (7, _, Some(wide)) => Step::Eqz(wide),
                (8, _, Some(true)) => Step::Wrap,
                (8, _, Some(false)) if random.below(2) == 0 => Step::Extend,
                (8, _, Some(false)) => Step::Load(random.below(100) as u32),
                (9, _, Some(false)) if matches!(stack[..], [.., a, b, _] if a == b) => Step::Select,
                (10, Some(false), _) => Step::Store(random.below(100) as u32),
                (11, ..) => {
                    let wide = random.below(2) == 1;
                    let value = if random.below(2) == 0 { random.below(5) } else { random.next() >> random.below(64) };
                    Step::Const(wide, if wide { value } else { value & 0xffff_ffff })
                }
                _ => Step::Get(random.below(8) as usize),
            };
            match step {
                Step::Get(i) => stack.push(i >= 4),
                Step::Const(wide, _) => stack.push(wide),
                Step::Set(_) | Step::Binary(..) => drop(stack.pop()),
                Step::Tee(_) | Step::Load(_) => {}
                Step::Compare(..) => {
                    stack.truncate(stack.len() - 2);
                    stack.push(false);
                }
                Step::Eqz(_) | Step::Wrap => {
                    stack.pop();
                    stack.push(false);
                }
                Step::Extend => {
                    stack.pop();
                    stack.push(true);
                }
                Step::Select | Step::Store(_) => stack.truncate(stack.len() - 2),
            }
            steps.push(step);
        }
        // Everything that is left goes into one sum.
        stack.push(true);
        steps.push(Step::Get(4));
        while stack.len() > 1 {
            stack.pop();
            if stack.pop() == Some(false) {
                // The sum waits in a local meanwhile.
                steps.extend([Step::Set(4), Step::Extend, Step::Get(4)]);
            }
            stack.push(true);
            steps.push(Step::Binary(true, 0));
        }
        for i in 5..8 {
            steps.extend([Step::Get(i), Step::Binary(true, 5)]);
        }
        Self(steps)
    }

    fn text(&self) -> String {
        let mut text = String::from("(module (memory 1) (func (export \"f\") (param i32 i32 i32 i32 i64 i64 i64 i64) (result i64)\n");
        let ty = |wide: bool| if wide { "i64" } else { "i32" };
        for step in &self.0 {
            let _ = match *step {
                Step::Get(i) => writeln!(text, "local.get {i}"),
                Step::Set(i) => writeln!(text, "local.set {i}"),
                Step::Tee(i) => writeln!(text, "local.tee {i}"),
                Step::Const(true, v) => writeln!(text, "i64.const {}", v as i64),
                Step::Const(false, v) => writeln!(text, "i32.const {}", v as i32),
                Step::Binary(wide, op) => writeln!(text, "{}.{}", ty(wide), BINARY[op]),
                Step::Compare(wide, op) => writeln!(text, "{}.{}", ty(wide), COMPARE[op]),
                Step::Eqz(wide) => writeln!(text, "{}.eqz", ty(wide)),
                Step::Select => writeln!(text, "select"),
                Step::Wrap => writeln!(text, "i32.wrap_i64"),
                Step::Extend => writeln!(text, "i64.extend_i32_u"),
                // Addresses are cut to 8 bits; what is around the mask may be joined with it and the access.
                Step::Load(offset) => writeln!(text, "i32.const 255 i32.and i32.load offset={offset}"),
                Step::Store(offset) => writeln!(text, "i32.const 255 i32.and i32.store offset={offset}"),
            };
        }
        text.push_str("))");
        // `i32.store` takes the address first: exchange the operands of the masked one.
        text.replace("i32.const 255 i32.and i32.store", "local.set 3 i32.const 255 i32.and local.get 3 i32.store")
    }

    fn evaluate(&self, mut locals: Vec<u64>) -> u64 {
        let mut memory = vec![0u8; 1024];
        let mut stack: Vec<u64> = Vec::new();
        let pop = |stack: &mut Vec<u64>| stack.pop().expect("an operand");
        for step in &self.0 {
            match *step {
                Step::Get(i) => stack.push(locals[i]),
                Step::Set(i) => locals[i] = pop(&mut stack),
                Step::Tee(i) => locals[i] = *stack.last().expect("an operand"),
                Step::Const(_, v) => stack.push(v),
                Step::Binary(wide, op) => {
                    let (b, a) = (pop(&mut stack), pop(&mut stack));
                    stack.push(if wide { binary_wide(op, a, b) } else { u64::from(binary(op, a as u32, b as u32)) });
                }
                Step::Compare(wide, op) => {
                    let (b, a) = (pop(&mut stack), pop(&mut stack));
                    let (sa, sb) = if wide { (a as i64, b as i64) } else { (i64::from(a as i32), i64::from(b as i32)) };
                    stack.push(u64::from([a == b, a != b, sa < sb, a < b, sa >= sb, a > b][op]));
                }
                Step::Eqz(_) => {
                    let a = pop(&mut stack);
                    stack.push(u64::from(a == 0));
                }
                Step::Select => {
                    let (c, b, a) = (pop(&mut stack), pop(&mut stack), pop(&mut stack));
                    stack.push(if c != 0 { a } else { b });
                }
                Step::Wrap => {
                    let a = pop(&mut stack);
                    stack.push(a & 0xffff_ffff);
                }
                Step::Extend => {}
                Step::Load(offset) => {
                    let at = (pop(&mut stack) & 255) as usize + offset as usize;
                    stack.push(u64::from(u32::from_le_bytes(memory[at..at + 4].try_into().expect("4 bytes"))));
                }
                Step::Store(offset) => {
                    let (v, a) = (pop(&mut stack), pop(&mut stack));
                    locals[3] = v;
                    let at = (a & 255) as usize + offset as usize;
                    memory[at..at + 4].copy_from_slice(&(v as u32).to_le_bytes());
                }
            }
        }
        pop(&mut stack)
    }
}

fn binary(op: usize, a: u32, b: u32) -> u32 {
    match op {
        0 => a.wrapping_add(b),
        1 => a.wrapping_sub(b),
        2 => a.wrapping_mul(b),
        3 => a & b,
        4 => a | b,
        5 => a ^ b,
        6 => a.wrapping_shl(b),
        7 => a.wrapping_shr(b),
        8 => a.rotate_left(b % 32),
        _ => (a as i32).wrapping_shr(b) as u32,
    }
}

fn binary_wide(op: usize, a: u64, b: u64) -> u64 {
    match op {
        0 => a.wrapping_add(b),
        1 => a.wrapping_sub(b),
        2 => a.wrapping_mul(b),
        3 => a & b,
        4 => a | b,
        5 => a ^ b,
        6 => a.wrapping_shl(b as u32),
        7 => a.wrapping_shr(b as u32),
        8 => a.rotate_left((b % 64) as u32),
        _ => (a as i64).wrapping_shr(b as u32) as u64,
    }
}
