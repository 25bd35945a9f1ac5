//! Random sequences of calls of the C API. All pointers are valid or null, as the headers demand; everything else is random: which handle,
//! of which store, how often, in which order, and from within functions that WebAssembly calls, which may release what is in use. What
//! must hold: no panic, no fault, and whatever was given to the library to be released is released once, in the end.

use super::Input;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;
use wasmc::*;

/// Modules that need something of the host, and give something to it.
const MODULES: [&str; 8] = [
    "(module)",
    r#"(module (import "a" "f" (func $f (param i32 externref) (result i32))) (memory (export "memory") 1 3)
        (table (export "table") 3 9 externref) (global (export "global") (mut i64) (i64.const 5))
        (func (export "call") (param i32 externref) (result i32) (table.set (i32.const 1) (local.get 1)) (call $f (local.get 0) (local.get 1)))
        (func (export "trap") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0))))"#,
    r#"(module (import "a" "f" (func $f)) (start $f) (func (export "again") (call $f)))"#,
    r#"(module (import "a" "t" (table 1 funcref)) (import "a" "m" (memory 1)) (import "a" "g" (global (mut i32)))
        (elem (i32.const 0) func $x) (data (i32.const 4) "data")
        (func $x (export "x") (result i32) (global.set 0 (i32.add (global.get 0) (i32.const 1))) (i32.load (i32.const 4)))
        (func (export "indirect") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))"#,
    r#"(module (tag $e (export "tag") (param i32 externref)) (import "a" "f" (func $f (result externref)))
        (func (export "throw") (param i32) (throw $e (local.get 0) (call $f)))
        (func (export "catch") (result i32 externref) (block $h (result i32 externref) (try_table (catch $e $h) (call 1 (i32.const 3))) (unreachable))))"#,
    r#"(module (func (export "values") (param i32 i64 f32 f64 funcref externref) (result externref funcref f64 f32 i64 i32)
        (local.get 5) (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0))
        (func (export "vector") (param v128) (result v128) (local.get 0)))"#,
    r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\03\00\00\00abc")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (call $exit (i32.const 3))))"#,
    r#"(module (memory 1) (func $deep (export "deep") (param i32) (result i32) (drop (memory.grow (i32.const 1)))
        (if (result i32) (local.get 0) (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (unreachable)))))"#,
];

static BINARIES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| MODULES.iter().map(|text| wat::parse_str(text).expect("the text is right")).collect());

const NAMES: [&CStr; 8] = [c"a", c"f", c"memory", c"table", c"call", c"x", c"_start", c""];
const LIMITS: [&CStr; 6] = [c"memory", c"table-elements", c"instances", c"memories", c"tables", c"none"];

/// At most so many handles of a kind are kept.
const KEPT: usize = 24;
/// Operations of one input, and how deep functions of C's call each other through WebAssembly.
const OPERATIONS: u32 = 120;
const DEPTH: u32 = 3;

/// What C gave away, to be released once.
struct Token<'a> {
    released: Cell<u32>,
    world: &'a World<'a>,
}

/// Handles, and where decisions come from. Nothing is borrowed while the library runs: it may call back.
struct World<'a> {
    input: RefCell<Input<'a>>,
    engine: *mut wasm_engine_t,
    stores: RefCell<Vec<*mut wasm_store_t>>,
    refs: RefCell<Vec<*mut wasm_ref_t>>,
    shared: RefCell<Vec<*mut wasm_shared_module_t>>,
    linkers: RefCell<Vec<*mut wasmc_linker_t>>,
    interrupts: RefCell<Vec<*mut wasmc_interrupt_t>>,
    timeouts: RefCell<Vec<*mut wasmc_timeout_t>>,
    tokens: RefCell<Vec<*mut Token<'a>>>,
    operations: Cell<u32>,
    depth: Cell<u32>,
}

extern "C" fn release(token: *mut c_void) {
    // SAFETY: the library gives back what it was given; tokens live until the input is done.
    let token = unsafe { &*token.cast::<Token<'_>>() };
    token.released.set(token.released.get() + 1);
    assert_eq!(token.released.get(), 1, "released twice");
    // A finalizer may use the interface.
    if token.world.depth.get() < DEPTH && token.world.byte().is_multiple_of(4) {
        token.world.nested(1);
    }
}

/// A function of C's, for any type.
unsafe extern "C" fn callback(token: *mut c_void, args: *const wasm_val_vec_t, results: *mut wasm_val_vec_t) -> *mut wasm_trap_t {
    // SAFETY: as above; the vectors are the library's, and valid.
    unsafe {
        let token = &*token.cast::<Token<'_>>();
        assert_eq!(token.released.get(), 0, "called with what was released");
        let world = token.world;
        let args = (*args).clone_values();
        for value in &args {
            if value.kind >= 128 && !value.of.r#ref.is_null() {
                world.keep_ref(wasm_ref_copy(value.of.r#ref));
            }
        }
        if world.depth.get() < DEPTH {
            world.nested(1 + usize::from(world.byte() % 3));
        }
        if world.byte() % 8 == 7 {
            return if world.byte() & 1 == 1 { wasm_trap_copy(world.pick(|r| wasm_ref_as_trap(r))) } else { world.trap() };
        }
        let results = &mut *results;
        for i in 0..results.size {
            let slot = results.data.add(i);
            let kind = (*slot).kind;
            *slot = world.value(kind);
        }
        null_mut()
    }
}

trait Values {
    fn clone_values(&self) -> Vec<wasm_val_t>;
}

impl Values for wasm_val_vec_t {
    /// The values, which stay their owner's.
    fn clone_values(&self) -> Vec<wasm_val_t> {
        if self.data.is_null() {
            return Vec::new();
        }
        // SAFETY: the vector is valid.
        unsafe { std::slice::from_raw_parts(self.data, self.size).to_vec() }
    }
}

/// A vector of bytes that the caller keeps.
fn lent(bytes: &[u8]) -> wasm_byte_vec_t {
    Vector { size: bytes.len(), data: bytes.as_ptr().cast_mut().cast::<c_char>() }
}

const fn empty<T>() -> Vector<T> {
    Vector { size: 0, data: null_mut() }
}

impl<'a> World<'a> {
    fn byte(&self) -> u8 {
        self.input.borrow_mut().byte()
    }

    fn below(&self, bound: usize) -> usize {
        self.input.borrow_mut().below(bound)
    }

    /// A null pointer in the place of a valid one, now and then.
    fn sometimes_null<T>(&self, pointer: *mut T) -> *mut T {
        if self.byte() == 255 { null_mut() } else { pointer }
    }

    fn one<T>(&self, list: &RefCell<Vec<*mut T>>) -> *mut T {
        let number = usize::from(self.byte());
        let list = list.borrow();
        if list.is_empty() || number == 255 { null_mut() } else { list[number % list.len()] }
    }

    fn store(&self) -> *mut wasm_store_t {
        self.one(&self.stores)
    }

    fn name(&self) -> *const c_char {
        let name = NAMES[self.below(NAMES.len())].as_ptr();
        if self.byte() == 255 { null() } else { name }
    }

    /// A handle of the kind that `cast` wants; null if there is none.
    fn pick<T>(&self, cast: impl Fn(*mut wasm_ref_t) -> *mut T) -> *mut T {
        let first = usize::from(self.byte());
        if first == 255 {
            return null_mut();
        }
        let refs = self.refs.borrow();
        (0..refs.len()).map(|i| cast(refs[(first + i) % refs.len()])).find(|p| !p.is_null()).unwrap_or(null_mut())
    }

    fn reference(&self) -> *mut wasm_ref_t {
        self.one(&self.refs)
    }

    fn keep<T>(&self, list: &RefCell<Vec<*mut T>>, item: *mut T, delete: unsafe extern "C" fn(*mut T)) {
        if item.is_null() {
            return;
        }
        list.borrow_mut().push(item);
        let full = list.borrow().len() > KEPT;
        if full {
            let number = self.below(KEPT);
            let old = list.borrow_mut().swap_remove(number);
            // SAFETY: it is nowhere else.
            unsafe { delete(old) };
        }
    }

    fn keep_ref(&self, item: *mut wasm_ref_t) {
        self.keep(&self.refs, item, wasm_ref_delete);
    }

    fn drop_one<T>(&self, list: &RefCell<Vec<*mut T>>, delete: unsafe extern "C" fn(*mut T)) {
        let number = usize::from(self.byte());
        let old = {
            let mut list = list.borrow_mut();
            if list.is_empty() {
                return;
            }
            let number = number % list.len();
            list.swap_remove(number)
        };
        // SAFETY: it is nowhere else.
        unsafe { delete(old) };
    }

    /// Something to give to the library. It lives until the input is done, so that a second release is noticed.
    fn token(&self) -> *mut c_void {
        // SAFETY: the world outlives its tokens (`calls`).
        let world: &'a World<'a> = unsafe { &*std::ptr::from_ref(self) };
        let token = Box::into_raw(Box::new(Token { released: Cell::new(0), world }));
        self.tokens.borrow_mut().push(token);
        token.cast()
    }

    fn trap(&self) -> *mut wasm_trap_t {
        // SAFETY: the store is one, or null.
        unsafe { wasm_trap_new(self.store(), &lent(b"a trap\0")) }
    }

    /// A value of a kind, owned; seldom of another.
    fn value(&self, kind: u8) -> wasm_val_t {
        let kind = if self.byte() == 254 { [0, 1, 2, 3, 128, 129, 130, 7][self.below(8)] } else { kind };
        if kind < 128 {
            return wasm_val_t { kind, of: Of { i64: i64::from(self.byte()) - 2 } };
        }
        // SAFETY: the reference is one, or null.
        let r#ref = unsafe {
            let original = if kind == 129 { wasm_func_as_ref(self.pick(|r| wasm_ref_as_func(r))) } else { self.reference() };
            wasm_ref_copy(original)
        };
        wasm_val_t { kind, of: Of { r#ref } }
    }

    fn value_type(&self) -> *mut wasm_valtype_t {
        let kind = [0, 1, 2, 3, 128, 129, 130, 4, 9][self.below(9)];
        // SAFETY: any number may be given.
        unsafe { wasm_valtype_new(kind) }
    }

    fn value_types(&self) -> wasm_valtype_vec_t {
        let types: Vec<_> = (0..self.below(4)).map(|_| self.value_type()).collect();
        let mut vec = empty();
        // SAFETY: the elements are the vector's from here on.
        unsafe { wasm_valtype_vec_new(&raw mut vec, types.len(), types.as_ptr()) };
        vec
    }

    /// The type of an import of a module of ours, or any.
    fn function_type(&self) -> *mut wasm_functype_t {
        // SAFETY: the vectors are given away; the module is one, or null.
        unsafe {
            let module = self.pick(|r| wasm_ref_as_module(r));
            if self.byte() & 3 != 0 && !module.is_null() {
                let mut imports = empty();
                wasm_module_imports(module, &raw mut imports);
                let mut found: *mut wasm_functype_t = null_mut();
                for i in 0..imports.size {
                    let ty = wasm_importtype_type(*imports.data.add(i));
                    let func = wasm_externtype_as_functype_const(ty);
                    if !func.is_null() && found.is_null() {
                        found = wasm_functype_copy(func);
                    }
                }
                wasm_importtype_vec_delete(&raw mut imports);
                if !found.is_null() {
                    return found;
                }
            }
            let (mut params, mut results) = (self.value_types(), self.value_types());
            wasm_functype_new(&raw mut params, &raw mut results)
        }
    }

    fn function(&self) -> *mut wasm_func_t {
        let ty = self.function_type();
        // SAFETY: the type is one, or null; the token outlives the store.
        unsafe {
            let callback = (self.byte() != 255).then_some(callback as unsafe extern "C" fn(_, _, _) -> _);
            let func = wasm_func_new_with_env(self.store(), ty, callback, self.token(), Some(release));
            wasm_functype_delete(ty);
            func
        }
    }

    fn limits(&self) -> wasm_limits_t {
        let min = u32::from(self.byte() % 4);
        wasm_limits_t { min, max: [u32::MAX, 0, 1, 5, 70_000][self.below(5)] }
    }

    /// What a module wants to import, if there is anything like it; made anew if not.
    fn import(&self, ty: *const wasm_externtype_t) -> *mut wasm_extern_t {
        // SAFETY: the type is one; the handles are what they say, or null.
        unsafe {
            let kind = wasm_externtype_kind(ty);
            if self.byte() & 3 != 0 {
                let found = self.pick(|r| {
                    let item = wasm_ref_as_extern(r);
                    if !item.is_null() && wasm_extern_kind(item) == kind { item } else { null_mut() }
                });
                if !found.is_null() {
                    return wasm_extern_copy(found);
                }
            }
            match kind {
                0 => {
                    let ty = wasm_externtype_as_functype_const(ty);
                    let callback = Some(callback as unsafe extern "C" fn(_, _, _) -> _);
                    wasm_func_as_extern(wasm_func_new_with_env(self.store(), ty, callback, self.token(), Some(release)))
                }
                1 => {
                    let ty = wasm_externtype_as_globaltype_const(ty);
                    let mut value = self.value(wasm_valtype_kind(wasm_globaltype_content(ty)));
                    let global = wasm_global_new(self.store(), ty, &value);
                    wasm_val_delete(&raw mut value);
                    wasm_global_as_extern(global)
                }
                2 => wasm_table_as_extern(wasm_table_new(self.store(), wasm_externtype_as_tabletype_const(ty), null_mut())),
                3 => wasm_memory_as_extern(wasm_memory_new(self.store(), wasm_externtype_as_memorytype_const(ty))),
                _ => null_mut(),
            }
        }
    }

    fn imports(&self, module: *const wasm_module_t) -> wasm_extern_vec_t {
        // SAFETY: the module is one, or null; the vectors are ours.
        unsafe {
            let mut types = empty();
            wasm_module_imports(module, &raw mut types);
            let mut given = Vec::new();
            for i in 0..types.size {
                given.push(self.import(wasm_importtype_type(*types.data.add(i))));
            }
            wasm_importtype_vec_delete(&raw mut types);
            if self.byte() == 255 {
                wasm_extern_delete(given.pop().unwrap_or(null_mut()));
            }
            let mut vec = empty();
            wasm_extern_vec_new(&raw mut vec, given.len(), given.as_ptr());
            vec
        }
    }

    fn call(&self, func: *mut wasm_func_t) {
        // SAFETY: the function is one, or null; the vectors are ours.
        unsafe {
            let ty = wasm_func_type(func);
            let (mut args, mut results) = (Vec::new(), 0);
            if !ty.is_null() {
                let params = &*wasm_functype_params(ty);
                for i in 0..params.size {
                    args.push(self.value(wasm_valtype_kind(*params.data.add(i))));
                }
                results = (*wasm_functype_results(ty)).size;
            }
            wasm_functype_delete(ty);
            match self.byte() {
                255 => results += 1,
                254 => args.push(self.value(0)),
                _ => {}
            }
            let (mut given, mut taken) = (empty(), empty());
            wasm_val_vec_new(&raw mut given, args.len(), args.as_ptr());
            wasm_val_vec_new_uninitialized(&raw mut taken, results);
            let trap = wasm_func_call(func, &raw const given, &raw mut taken);
            for value in taken.clone_values() {
                if trap.is_null() && value.kind >= 128 && !value.of.r#ref.is_null() {
                    self.keep_ref(wasm_ref_copy(value.of.r#ref));
                }
            }
            self.keep_ref(wasm_trap_as_ref(trap));
            wasm_val_vec_delete(&raw mut given);
            wasm_val_vec_delete(&raw mut taken);
        }
    }

    fn look_at_trap(&self, trap: *mut wasm_trap_t) {
        // SAFETY: the trap is one, or null; vectors and frames are ours.
        unsafe {
            let mut message = empty();
            wasm_trap_message(trap, &raw mut message);
            assert!(trap.is_null() || message.size > 0);
            wasm_byte_vec_delete(&raw mut message);
            let _ = (wasmc_trap_exit_status(trap, null_mut()), wasmc_trap_code(trap), wasmc_trap_exit_code(trap));
            let origin = wasm_trap_origin(trap);
            let mut frames = empty();
            wasm_trap_trace(trap, &raw mut frames);
            assert!(frames.size == 0 || !origin.is_null());
            for i in 0..frames.size {
                let frame = *frames.data.add(i);
                let _ = (wasm_frame_func_index(frame), wasm_frame_func_offset(frame), wasm_frame_module_offset(frame));
                self.keep_ref(wasm_instance_as_ref(wasm_instance_copy(wasm_frame_instance(frame))));
            }
            wasm_frame_delete(wasm_frame_copy(origin));
            wasm_frame_delete(origin);
            wasm_frame_vec_delete(&raw mut frames);
        }
    }

    /// Operations from within a function that the library calls.
    fn nested(&self, most: usize) {
        self.depth.set(self.depth.get() + 1);
        for _ in 0..most {
            self.operation();
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// One operation.
    fn operation(&self) {
        if self.operations.get() == 0 || self.input.borrow().is_empty() {
            return;
        }
        self.operations.set(self.operations.get() - 1);
        // SAFETY: handles are valid or null, vectors and types are ours, tokens live until the input is done.
        unsafe {
            match self.byte() % 32 {
                0 | 1 => {
                    let bytes = &BINARIES[self.below(BINARIES.len())];
                    self.keep_ref(wasm_module_as_ref(wasm_module_new(self.store(), &lent(bytes))));
                }
                2 => {
                    let bytes: [u8; 24] = self.input.borrow_mut().take();
                    let _ = wasm_module_validate(self.store(), &lent(&bytes));
                    self.keep_ref(wasm_module_as_ref(wasm_module_new(self.store(), &lent(&bytes))));
                    let mut out = empty();
                    let _ = wasmc_wat2wasm(&lent(&bytes), &raw mut out);
                    wasm_byte_vec_delete(&raw mut out);
                }
                3 => self.modules(),
                4..=6 => {
                    let module = self.pick(|r| wasm_ref_as_module(r));
                    let mut imports = self.imports(module);
                    let mut trap = null_mut();
                    let wanted = self.sometimes_null(&raw mut trap);
                    let instance = wasm_instance_new(self.store(), module, &raw const imports, wanted);
                    wasm_extern_vec_delete(&raw mut imports);
                    self.keep_ref(wasm_instance_as_ref(instance));
                    self.keep_ref(wasm_trap_as_ref(trap));
                }
                7 | 8 => {
                    let instance = self.pick(|r| wasm_ref_as_instance(r));
                    let mut exports = empty();
                    wasm_instance_exports(instance, &raw mut exports);
                    for i in 0..exports.size {
                        self.keep_ref(wasm_extern_as_ref(wasm_extern_copy(*exports.data.add(i))));
                    }
                    wasm_extern_vec_delete(&raw mut exports);
                    self.keep_ref(wasm_extern_as_ref(wasmc_instance_export(instance, self.name())));
                }
                9 => self.keep_ref(wasm_func_as_ref(self.function())),
                10..=14 => self.call(self.pick(|r| wasm_ref_as_func(r))),
                15 => self.globals(),
                16 => self.tables(),
                17 => self.memories(),
                18 => {
                    let item = self.pick(|r| wasm_ref_as_extern(r));
                    let ty = wasm_extern_type(item);
                    assert!(ty.is_null() || wasm_externtype_kind(ty) == wasm_extern_kind(item));
                    wasm_externtype_delete(wasm_externtype_copy(ty));
                    wasm_externtype_delete(ty);
                }
                19 => {
                    let (a, b) = (self.reference(), self.reference());
                    let copy = wasm_ref_copy(a);
                    assert!(a.is_null() || wasm_ref_same(a, copy) || wasm_ref_as_foreign(a).is_null(), "a copy is not the same");
                    let _ = wasm_ref_same(a, b);
                    self.keep_ref(copy);
                }
                20 => {
                    let a = self.reference();
                    if self.byte() & 1 == 1 {
                        wasm_ref_set_host_info_with_finalizer(a, self.token(), Some(release));
                    } else {
                        let _ = wasm_ref_get_host_info(a);
                    }
                }
                21 => self.look_at_trap(self.pick(|r| wasm_ref_as_trap(r))),
                22 => self.keep_ref(wasm_trap_as_ref(self.trap())),
                23 => self.keep_ref(wasm_foreign_as_ref(wasm_foreign_new(self.store()))),
                24 | 25 => self.drop_one(&self.refs, wasm_ref_delete),
                26 => wasmc_store_gc(self.store()),
                27 | 28 => self.linkers(),
                29 => self.metering_and_limits(),
                30 => self.interruptions(),
                _ => self.rest(),
            }
        }
    }

    unsafe fn modules(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            let module = self.pick(|r| wasm_ref_as_module(r));
            match self.byte() % 4 {
                0 => self.keep(&self.shared, wasm_module_share(module), wasm_shared_module_delete),
                1 => self.keep_ref(wasm_module_as_ref(wasm_module_obtain(self.store(), self.one(&self.shared)))),
                2 => {
                    let mut artifact = empty();
                    wasm_module_serialize(module, &raw mut artifact);
                    self.keep_ref(wasm_module_as_ref(wasm_module_deserialize(self.store(), &raw const artifact)));
                    wasm_byte_vec_delete(&raw mut artifact);
                }
                _ => {
                    let (mut defined, mut compiled) = (0, 0);
                    wasmc_module_functions(module, &raw mut defined, self.sometimes_null(&raw mut compiled));
                    assert!(compiled <= defined);
                    let mut exports = empty();
                    wasm_module_exports(module, &raw mut exports);
                    let mut copy = empty();
                    wasm_exporttype_vec_copy(&raw mut copy, &raw const exports);
                    for i in 0..exports.size {
                        let export = *exports.data.add(i);
                        let _ = (wasm_exporttype_name(export), wasm_externtype_kind(wasm_exporttype_type(export)));
                    }
                    wasm_exporttype_vec_delete(&raw mut exports);
                    wasm_exporttype_vec_delete(&raw mut copy);
                }
            }
        }
    }

    unsafe fn globals(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            let global = self.pick(|r| wasm_ref_as_global(r));
            if self.byte() & 1 == 1 {
                let content = self.value_type();
                let mut value = self.value(wasm_valtype_kind(content));
                let ty = wasm_globaltype_new(content, self.byte() % 3);
                self.keep_ref(wasm_global_as_ref(wasm_global_new(self.store(), ty, &raw const value)));
                wasm_globaltype_delete(ty);
                wasm_val_delete(&raw mut value);
            }
            let mut value = wasm_val_t::default();
            wasm_global_get(global, &raw mut value);
            let mut new = self.value(value.kind);
            wasm_global_set(global, &raw const new);
            wasm_val_delete(&raw mut new);
            wasm_val_copy(&raw mut new, &raw const value);
            wasm_val_delete(&raw mut new);
            wasm_val_delete(&raw mut value);
            wasm_globaltype_delete(wasm_global_type(global));
        }
    }

    unsafe fn tables(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            let table = self.pick(|r| wasm_ref_as_table(r));
            if self.byte() & 1 == 1 {
                let limits = self.limits();
                let ty = wasm_tabletype_new(self.value_type(), &raw const limits);
                self.keep_ref(wasm_table_as_ref(wasm_table_new(self.store(), ty, self.reference())));
                wasm_tabletype_delete(ty);
            }
            let index = u32::from(self.byte());
            let _ = wasm_table_set(table, index, self.reference());
            self.keep_ref(wasm_table_get(table, index));
            let before = wasm_table_size(table);
            let delta = u32::from(self.byte() % 8);
            if wasm_table_grow(table, delta, self.reference()) {
                assert_eq!(wasm_table_size(table), before + delta);
            }
            wasm_tabletype_delete(wasm_table_type(table));
        }
    }

    unsafe fn memories(&self) {
        // SAFETY: as in `operation`; the bytes lie in the memory.
        unsafe {
            let memory = self.pick(|r| wasm_ref_as_memory(r));
            if self.byte() & 1 == 1 {
                let limits = self.limits();
                let ty = wasm_memorytype_new(&raw const limits);
                self.keep_ref(wasm_memory_as_ref(wasm_memory_new(self.store(), ty)));
                wasm_memorytype_delete(ty);
            }
            let before = wasm_memory_size(memory);
            let delta = u32::from(self.byte() % 3);
            if wasm_memory_grow(memory, delta) {
                assert_eq!(wasm_memory_size(memory), before + delta);
            }
            let size = wasm_memory_data_size(memory);
            let data = wasm_memory_data(memory);
            if size > 0 {
                data.write(1);
                data.add(size - 1).write(2);
                assert_eq!((size, data.add(size - 1).read()), (wasm_memory_size(memory) as usize * 65536, 2));
            }
            wasm_memorytype_delete(wasm_memory_type(memory));
        }
    }

    unsafe fn linkers(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            let linker = self.one(&self.linkers);
            match self.byte() % 8 {
                0 => self.keep(&self.linkers, wasmc_linker_new(self.store()), wasmc_linker_delete),
                1 => drop(wasmc_linker_define(linker, self.name(), self.name(), self.pick(|r| wasm_ref_as_extern(r)))),
                2 => drop(wasmc_linker_define_instance(linker, self.name(), self.pick(|r| wasm_ref_as_instance(r)))),
                3 => drop(wasmc_linker_define_wasi(linker)),
                4 => self.drop_one(&self.linkers, wasmc_linker_delete),
                5 => {
                    let wasi = wasmc_wasi_new();
                    let _ = wasmc_wasi_arg(wasi, self.name());
                    let _ = wasmc_wasi_env(wasi, self.name(), self.name());
                    let _ = wasmc_wasi_capture_stdout(wasi, self.below(5));
                    let _ = wasmc_wasi_stdin_bytes(wasi, &lent(b"input"));
                    let _ = wasmc_wasi_limit(wasi, c"open-files".as_ptr(), u64::from(self.byte()));
                    let _ = wasmc_wasi_deterministic(wasi, 3);
                    let _ = wasmc_store_set_wasi(self.store(), wasi);
                    let mut out = empty();
                    wasmc_store_take_stdout(self.store(), &raw mut out);
                    wasm_byte_vec_delete(&raw mut out);
                }
                6 => {
                    let mut trap = null_mut();
                    let _ = wasmc_instance_run(self.pick(|r| wasm_ref_as_instance(r)), self.sometimes_null(&raw mut trap));
                    self.keep_ref(wasm_trap_as_ref(trap));
                }
                _ => {
                    let mut trap = null_mut();
                    let instance =
                        wasmc_linker_instantiate(linker, self.pick(|r| wasm_ref_as_module(r)), self.sometimes_null(&raw mut trap));
                    self.keep_ref(wasm_instance_as_ref(instance));
                    self.keep_ref(wasm_trap_as_ref(trap));
                }
            }
        }
    }

    unsafe fn metering_and_limits(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            let store = self.store();
            let name = LIMITS[self.below(LIMITS.len())].as_ptr();
            match self.byte() % 4 {
                0 => drop(wasmc_store_set_fuel(store, u64::from(self.byte()) * 16)),
                1 => drop(wasmc_store_set_limit(store, name, u64::from(self.byte()) << 14)),
                2 => {
                    let (mut now, mut peak) = (0, 0);
                    if wasmc_store_usage(store, name, &raw mut now, &raw mut peak) {
                        assert!(now <= peak);
                    }
                }
                _ => {
                    let mut fuel = 0;
                    let _ = wasmc_store_fuel(store, self.sometimes_null(&raw mut fuel));
                    // SAFETY: numbers may all be zero.
                    let mut stats: wasmc_stats_t = std::mem::zeroed();
                    let _ = wasmc_store_stats(store, &raw mut stats);
                }
            }
        }
    }

    unsafe fn interruptions(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            match self.byte() % 8 {
                0 => self.keep(&self.interrupts, wasmc_store_interrupt_handle(self.store()), wasmc_interrupt_delete),
                1 => {
                    let timeout = wasmc_interrupt_after(self.one(&self.interrupts), u64::from(self.byte()) << 16);
                    self.keep(&self.timeouts, timeout, wasmc_timeout_delete);
                }
                2 => wasmc_interrupt(self.one(&self.interrupts)),
                3 => self.drop_one(&self.timeouts, wasmc_timeout_delete),
                4 => self.drop_one(&self.interrupts, wasmc_interrupt_delete),
                _ => drop(wasmc_store_is_interrupted(self.store())),
            }
        }
    }

    unsafe fn rest(&self) {
        // SAFETY: as in `operation`.
        unsafe {
            match self.byte() % 4 {
                0 => self.keep(&self.stores, wasm_store_new(self.sometimes_null(self.engine)), wasm_store_delete),
                1 => self.drop_one(&self.stores, wasm_store_delete),
                2 => {
                    let mut message = empty();
                    wasmc_last_error_message(&raw mut message);
                    wasm_byte_vec_delete(&raw mut message);
                    let _ = wasmc_last_error_code();
                    wasmc_last_error_clear();
                }
                _ => {
                    let ty = self.function_type();
                    let copy = wasm_functype_copy(ty);
                    let tag = wasm_tagtype_new(copy);
                    wasm_tagtype_delete(tag);
                    wasm_externtype_delete(wasm_externtype_copy(wasm_functype_as_externtype(ty)));
                    wasm_functype_delete(ty);
                }
            }
        }
    }
}

/// A sequence of calls.
pub fn calls(bytes: &[u8]) {
    let mut input = Input(bytes);
    let bits = input.byte();
    // SAFETY: as in `operation`.
    unsafe {
        let config = wasm_config_new();
        let _ = wasmc_config_set_tier(config, [1, 1, 0, 2, 1, 1, 2, 9][usize::from(bits & 7)]);
        let _ = wasmc_config_set_metering(config, bits & 8 != 0);
        let _ = wasmc_config_set_static_memory(config, bits & 16 != 0);
        let _ = wasmc_config_set_stack_size(config, 1 << 18);
        let engine = wasm_engine_new_with_config(config);
        assert!(!engine.is_null(), "no engine");
        let world = World {
            input: RefCell::new(input),
            engine,
            stores: RefCell::new(vec![wasm_store_new(engine)]),
            refs: RefCell::default(),
            shared: RefCell::default(),
            linkers: RefCell::default(),
            interrupts: RefCell::default(),
            timeouts: RefCell::default(),
            tokens: RefCell::default(),
            operations: Cell::new(OPERATIONS),
            depth: Cell::new(0),
        };
        while world.operations.get() > 0 && !world.input.borrow().is_empty() {
            world.operation();
        }
        // Nothing more is begun by finalizers.
        world.operations.set(0);
        wasm_engine_delete(engine);
        let backwards = bits & 32 != 0;
        let all = |list: &RefCell<Vec<*mut _>>, delete: unsafe extern "C" fn(*mut _)| {
            let mut items = list.take();
            if backwards {
                items.reverse();
            }
            items.into_iter().for_each(|item| delete(item));
        };
        if backwards {
            world.stores.take().into_iter().for_each(|store| wasm_store_delete(store));
        }
        all(&world.refs, wasm_ref_delete);
        world.shared.take().into_iter().for_each(|module| wasm_shared_module_delete(module));
        world.linkers.take().into_iter().for_each(|linker| wasmc_linker_delete(linker));
        world.timeouts.take().into_iter().for_each(|timeout| wasmc_timeout_delete(timeout));
        world.interrupts.take().into_iter().for_each(|interrupt| wasmc_interrupt_delete(interrupt));
        world.stores.take().into_iter().for_each(|store| wasm_store_delete(store));
        // All stores are gone, so everything was released.
        let kept = world.tokens.borrow().iter().filter(|token| (***token).released.get() != 1).count();
        assert_eq!(kept, 0, "not released");
        world.tokens.take().into_iter().for_each(|token| drop(Box::from_raw(token)));
    }
}
