//! Stubs in action, without the runtime: modules are compiled in memory and called through their entry stubs, with a
//! store and a `VMContext` made by hand and host functions that are plain Rust. What raises a status cannot be tested here,
//! because that needs the landing pad of an activation.

use crate::{Interpret, Jit, OptLevel};
use std::ffi::c_void;
use std::sync::Mutex;
use wasmc_environ::artifact::{ClosedTableEntry, FUNC_COMPILED, FuncRecord, SectionKind, StubSet, records};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::jit::{JitCode, JitCompiler, JitOptions};
use wasmc_environ::types::FuncType;
use wasmc_environ::vmlayout::*;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{FuncIndex, TypeIndex};
use zerocopy::FromZeros;

type Entry = extern "C" fn(*const u8, *mut u8, *mut ValRaw);

/// An instance of a module, as far as these tests need one.
struct Fixture {
    code: JitCode,
    offsets: VMOffsets,
    store: Box<VMStoreContext>,
    builtins: Vec<*const u8>,
    #[expect(clippy::vec_box, reason = "the code has their addresses, so they must not move")]
    exits: Vec<Box<VMExitContext>>,
    // In units of the alignment.
    vmctx: Vec<u128>,
}

impl Fixture {
    fn new(text: &str, interpret: Vec<Interpret>) -> Self {
        let wasm = wat::parse_str(text).unwrap();
        let jit = Jit { opt_level: OptLevel::Speed, jobs: Some(2), ..Jit::default() };
        let code = jit.compile(&wasm, &JitOptions { interpret, ..JitOptions::default() }).unwrap();
        let offsets = VMOffsets::new(&code.meta.module, true).unwrap();
        let store = Box::new(VMStoreContext {
            last_exit_fp: 0,
            host_stack_limit: 0,
            tail: VMTailCall { entry: std::ptr::null(), code: std::ptr::null(), ctx: std::ptr::null_mut(), args: std::ptr::null_mut() },
            pending_exn: 0,
            pending_exn_object: std::ptr::null_mut(),
            store: std::ptr::null_mut(),
            meter: VMMeter::UNLIMITED,
            raise: std::ptr::null(),
            at_loop: 0,
        });
        let mut f =
            Self { store, builtins: vec![std::ptr::null(); Builtin::ALL.len()], exits: Vec::new(), vmctx: Vec::new(), offsets, code };
        f.vmctx = vec![0; f.offsets.size() as usize / 16];
        let head = VMContextHead {
            magic: VMCONTEXT_MAGIC,
            store: &mut *f.store,
            builtins: f.builtins.as_ptr(),
            type_ids: std::ptr::null(),
            instance: std::ptr::null_mut(),
            entries: std::ptr::null(),
            calls: 0,
        };
        // SAFETY: a `VMContext` begins with its head, and the vector is aligned like it and large enough.
        unsafe { f.vmctx.as_mut_ptr().cast::<VMContextHead>().write(head) };
        f
    }

    fn vmctx(&mut self) -> *mut u8 {
        self.vmctx.as_mut_ptr().cast()
    }

    /// What code takes as its hidden parameter.
    fn hidden(&mut self) -> *mut u8 {
        self.vmctx().wrapping_add(self.offsets.hidden() as usize)
    }

    fn at(&self, offset: u32) -> *const u8 {
        (self.code.text + offset as usize) as *const u8
    }

    fn stubs(&self, ty: &FuncType) -> &StubSet {
        self.code.meta.stubs.iter().find(|s| s.signature == ty.abi()).unwrap()
    }

    /// Binds an import to a host function, through the typed stub if there is a typed function.
    fn bind(&mut self, import: u32, array_fn: *const c_void, typed_fn: *const c_void) {
        let mut exit = Box::new(VMExitContext {
            array_fn: array_fn.cast(),
            typed_fn: typed_fn.cast(),
            store: &mut *self.store,
            vmctx: std::ptr::null_mut(),
            data: std::ptr::null_mut(),
            type_id: 0,
            func_index: import,
        });
        let index = FuncIndex::from_u32(import);
        let stubs = self.stubs(self.code.meta.module.type_of(index));
        let stub = if typed_fn.is_null() { stubs.exit_array } else { stubs.exit_typed };
        let import = VMFunctionImport { code: self.at(stub.unwrap()), ctx: (&raw mut *exit).cast(), func_ref: std::ptr::null_mut() };
        let offset = self.offsets.imported_function(index) as usize;
        // SAFETY: the offset is that of this import in the `VMContext`.
        unsafe { self.vmctx().add(offset).cast::<VMFunctionImport>().write(import) };
        self.exits.push(exit);
    }

    fn function(&self, index: u32) -> FuncRecord {
        let defined = self.code.meta.module.defined_func(FuncIndex::from_u32(index)).unwrap();
        let (_, bytes) = self.code.sections.iter().find(|(k, _)| *k == SectionKind::Functions).unwrap();
        let mut functions = vec![FuncRecord::new_zeroed(); bytes.len() / size_of::<FuncRecord>()];
        zerocopy::IntoBytes::as_mut_bytes(&mut functions[..]).copy_from_slice(bytes);
        assert!(records::<u8>(bytes).is_some());
        functions[defined.index()]
    }

    /// Calls a function through the entry stub of its type.
    fn call(&mut self, index: u32, args: &[ValRaw]) -> ValRaw {
        let ty = self.code.meta.module.type_of(FuncIndex::from_u32(index)).clone();
        let mut array = vec![ValRaw::default(); ty.array_slots().max(1)];
        array[..args.len()].copy_from_slice(args);
        let entry = self.at(self.stubs(&ty).entry.unwrap());
        let code = self.at(self.function(index).code_offset);
        // SAFETY: the entry stub has this signature, and is the one for the function's type.
        let entry: Entry = unsafe { std::mem::transmute(entry) };
        entry(code, self.hidden(), array.as_mut_ptr());
        array[0]
    }
}

extern "C" fn sub_array(_: *mut VMExitContext, args: *mut ValRaw) -> u64 {
    // SAFETY: the stub passes an array of at least two slots.
    let args = unsafe { std::slice::from_raw_parts_mut(args, 2) };
    args[0] = ValRaw::i32(args[0].get_i32() - args[1].get_i32());
    STATUS_OK
}

extern "C" fn sub_typed(_: *mut VMExitContext, a: i32, b: i32) -> HostRet {
    HostRet { value: (a - b) as u32 as u64, status: STATUS_OK }
}

const IMPORT: &str = r#"(module
    (import "m" "sub" (func $sub (param i32 i32) (result i32)))
    (func (export "f") (param i32 i32) (result i32) (i32.add (call $sub (local.get 0) (local.get 1)) (i32.const 100)))
)"#;

#[test]
fn host_through_both_exits() {
    for typed in [std::ptr::null(), sub_typed as *const c_void] {
        let mut f = Fixture::new(IMPORT, vec![]);
        f.bind(0, sub_array as *const c_void, typed);
        assert_eq!(f.call(1, &[ValRaw::i32(7), ValRaw::i32(9)]).get_i32(), 98);
        assert_ne!(f.store.last_exit_fp, 0);
    }
}

extern "C" fn mix_typed(_: *mut VMExitContext, a: f32, b: i64, c: f64) -> HostRet {
    HostRet { value: (a as f64 + b as f64 * c).to_bits(), status: STATUS_OK }
}

extern "C" fn half_typed(_: *mut VMExitContext, a: f32) -> HostRet {
    // Rubbish in the upper half must not matter.
    HostRet { value: u64::from((a / 2.0).to_bits()) | 0xdead_beef << 32, status: STATUS_OK }
}

#[test]
fn floats_in_c_registers() {
    let mut f = Fixture::new(
        r#"(module
            (import "m" "mix" (func $mix (param f32 i64 f64) (result f64)))
            (import "m" "half" (func $half (param f32) (result f32)))
            (func (export "f") (param f32) (result f64)
                (f64.add (call $mix (local.get 0) (i64.const -3) (f64.const 1.5)) (f64.promote_f32 (call $half (local.get 0)))))
        )"#,
        vec![],
    );
    f.bind(0, sub_array as *const c_void, mix_typed as *const c_void);
    f.bind(1, sub_array as *const c_void, half_typed as *const c_void);
    let r = f.call(2, &[ValRaw::f32_bits(3.0f32.to_bits())]);
    assert_eq!(f64::from_bits(r.get_u64()), 3.0 - 4.5 + 1.5);
}

#[test]
fn closed_table_with_thunk() {
    let mut f = Fixture::new(
        r#"(module
            (import "m" "sub" (func $sub (param i32 i32) (result i32)))
            (type $t (func (param i32 i32) (result i32)))
            (table 4 funcref)
            (elem (i32.const 1) $sub $mul)
            (func $mul (type $t) (i32.mul (local.get 0) (local.get 1)))
            (func (export "f") (param i32) (result i32) (call_indirect (type $t) (i32.const 6) (i32.const 5) (local.get 0)))
        )"#,
        vec![],
    );
    assert!(f.code.meta.module.closed_tables[0].is_some());
    f.bind(0, sub_array as *const c_void, sub_typed as *const c_void);
    assert_eq!(f.call(2, &[ValRaw::i32(1)]).get_i32(), 1);
    assert_eq!(f.call(2, &[ValRaw::i32(2)]).get_i32(), 30);
    // The table stands before the text: its second entry leads to the thunk, the third to `mul`, the others are null.
    let table = f.code.text - 4 * size_of::<ClosedTableEntry>();
    // SAFETY: the linked table of four entries lies there.
    let entries = unsafe { std::slice::from_raw_parts(table as *const ClosedTableEntry, 4) };
    assert_eq!(table as i64 + i64::from(entries[2].code), f.code.text as i64 + i64::from(f.function(1).code_offset));
    assert_eq!(entries[0].type_index, wasmc_environ::artifact::CLOSED_NULL);
    assert_eq!(entries[1].type_index, TypeIndex::from_u32(0).as_u32());
}

static INTERPRETED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

extern "C" fn interp_call(_: *mut u8, index: u32, args: *mut ValRaw) -> HostRet {
    INTERPRETED.lock().unwrap().push(index);
    // SAFETY: the stub passes an array of at least two slots.
    let args = unsafe { std::slice::from_raw_parts_mut(args, 2) };
    args[0] = ValRaw::i64(args[0].get_i64() * 1000 + i64::from(args[1].get_i32()));
    HostRet { value: 0, status: STATUS_OK }
}

#[test]
fn uncompiled_function() {
    let text = r#"(module
        (func $slow (param i64 i32) (result i64) (i64.add (local.get 0) (i64.extend_i32_s (local.get 1))))
        (func (export "f") (param i64) (result i64) (call $slow (local.get 0) (i32.const 7)))
    )"#;
    let mut f = Fixture::new(text, vec![Interpret::Name("slow".into())]);
    f.builtins[Builtin::interp_call as usize] = interp_call as *const u8;
    assert_eq!(f.function(0).flags, 0);
    assert_eq!(f.function(1).flags, FUNC_COMPILED);
    assert_eq!(f.call(1, &[ValRaw::i64(5)]).get_i64(), 5007);
    assert_eq!(*INTERPRETED.lock().unwrap(), [0]);
}

extern "C" fn tail_array(exit: *mut VMExitContext, _: *mut ValRaw) -> u64 {
    // SAFETY: the exit context is the one of `bind`, and `data` was set to the store's tail call by the test.
    unsafe {
        let exit = &mut *exit;
        (*exit.store).tail = *exit.data.cast::<VMTailCall>();
    }
    STATUS_TAIL_CALL
}

#[test]
fn tail_call_left_to_the_stub() {
    // More results than registers, so that the place for them must be handed on.
    let text = r#"(module
        (type $many (func (param i32) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)))
        (import "m" "t" (func $t (type $many)))
        (func $callee (export "callee") (type $many)
            (i64.extend_i32_s (local.get 0)) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5)
            (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10))
        (func (export "f") (param i32) (result i64)
            (local $sum i64)
            (call $t (local.get 0))
            i64.add i64.add i64.add i64.add i64.add i64.add i64.add i64.add i64.add)
    )"#;
    let mut f = Fixture::new(text, vec![]);
    f.bind(0, tail_array as *const c_void, std::ptr::null());
    let ty = f.code.meta.module.type_of(FuncIndex::from_u32(1)).clone();
    let mut args = [ValRaw::i32(-40)];
    let hidden = f.hidden();
    let mut tail = VMTailCall {
        entry: f.at(f.stubs(&ty).tail_entry.unwrap()),
        code: f.at(f.function(1).code_offset),
        ctx: hidden,
        args: args.as_mut_ptr(),
    };
    f.exits[0].data = (&raw mut tail).cast();
    // -40 + 2 + ... + 10
    assert_eq!(f.call(2, &[ValRaw::i32(1)]).get_i64(), -40 + 54);
}

extern "C" fn memory_grow(_: *mut u8, memory: u32, pages: u64) -> HostRet {
    HostRet { value: u64::from(memory) * 100 + pages, status: STATUS_OK }
}

extern "C" fn data_drop(vmctx: *mut u8, segment: u32) {
    assert_eq!(segment, 0);
    // SAFETY: `vmctx` is the fixture's `VMContext`.
    assert_eq!(unsafe { (*vmctx.cast::<VMContextHead>()).magic }, VMCONTEXT_MAGIC);
}

#[test]
fn builtins() {
    let mut f = Fixture::new(
        r#"(module (memory 1) (memory 1) (data "x")
            (func (export "f") (param i32) (result i32) (data.drop 0) (memory.grow 1 (local.get 0))))"#,
        vec![],
    );
    f.builtins[Builtin::memory_grow as usize] = memory_grow as *const u8;
    f.builtins[Builtin::data_drop as usize] = data_drop as *const u8;
    assert_eq!(f.call(0, &[ValRaw::i32(5)]).get_i32(), 105);
    assert_ne!(f.store.last_exit_fp, 0);
}

#[test]
fn vectors_through_arrays() {
    let mut f = Fixture::new(
        r#"(module (func (export "f") (param v128 i32 v128) (result v128 i32) (i32x4.add (local.get 0) (local.get 2)) (local.get 1)))"#,
        vec![],
    );
    let v = |n: u128| ValRaw::v128(n | n << 32 | n << 64 | n << 96);
    assert_eq!(f.call(0, &[v(3), ValRaw::i32(1), v(4)]).get_v128(), v(7).get_v128());
}

#[test]
fn memory_is_freed_and_sealed() {
    let f = Fixture::new(IMPORT, vec![]);
    let text = f.code.text;
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = |maps: &str| {
        maps.lines()
            .find(|l| {
                let (start, end) = l.split(' ').next().unwrap().split_once('-').unwrap();
                (usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap()).contains(&text)
            })
            .map(str::to_owned)
    };
    assert!(line(&maps()).unwrap().contains("r-xp"));
    drop(f);
    // Another thread's test may have got the same addresses meanwhile, but not as code that can be written.
    assert!(!line(&maps()).is_some_and(|l| l.contains("rwxp")));
}
