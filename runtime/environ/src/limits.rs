//! Every limit of wasmc in one place, with the reason for its value. Limits of the specification's JavaScript
//! embedding, which wasmparser enforces (function body size, locals, parameters), are not repeated.

/// Greatest number of types in a module.
pub const MAX_TYPES: usize = 1_000_000;
/// Greatest initial number of elements of a table: what fits a reservation of 80 MB.
pub const MAX_TABLE_ELEMENTS: u64 = 10_000_000;
/// Greatest size of a module's text: branch displacements are 32 bits wide.
pub const MAX_TEXT_BYTES: u64 = 0x7fff_0000;
/// Greatest number of operators of a function of which native code is made; larger ones are left to the interpreter. The
/// largest known to us, of programs of 20 to 70 MB, have about 100,000. Cranelift takes 1.5 KB of memory for each.
pub const MAX_COMPILED_OPERATORS: u32 = 1_000_000;
/// The same for what becomes blocks of code: constructs and branches. Time is in their square: 3 s for this many.
pub const MAX_COMPILED_BRANCHES: u32 = 50_000;
/// The same for constructs inside each other. Time is in the square: 3 s for loops of this depth.
pub const MAX_COMPILED_DEPTH: u32 = 10_000;
/// Bytes of address space behind a static memory32: index and offset are 32 bits each.
pub const STATIC_MEMORY_RESERVATION: u64 = 8 << 30;
/// Bytes of guard region before and after every memory: a page of the largest page size, which also covers the 16 bytes
/// of the widest access. Explicit checks send what lies outside to the guard before, and leave to the guard behind what
/// begins inside and has an offset below this.
pub const MEMORY_GUARD: u64 = 64 << 10;
/// Segments of the artifact are aligned for the largest page size of the supported targets.
pub const SEGMENT_ALIGNMENT: u64 = 64 << 10;
/// Memory images larger than this are kept as plain segments.
pub const MAX_MEMORY_IMAGE: u64 = 256 << 20;
/// A memory image is kept only if it is at most this many times as large as the data in it.
pub const MAX_MEMORY_IMAGE_SPARSITY: u64 = 4;
/// Stack left to host functions and builtins when wasm code has used up its own part.
pub const HOST_STACK_RESERVE: u64 = 256 << 10;
/// Default size of the stack that wasm code may use, the host's reserve not included.
pub const DEFAULT_STACK_SIZE: u64 = 8 << 20;
/// Guard region below a store's stack; inline stack probes touch every 64 KiB.
pub const STACK_GUARD: u64 = 64 << 10;
/// Bytes of a memory that code copies or fills without a place to be interrupted at.
pub const UNINTERRUPTED_BYTES: u64 = 1 << 20;
/// Greatest size of a module's closed tables together, in elements; more would bloat the artifact.
pub const MAX_CLOSED_TABLE: u64 = 1 << 20;
/// Loops of one function for which code is made that begins there: it has the rest of the function, other loops included, so that
/// more are hardly of use, and each costs as much as the function.
pub const MAX_LOOP_ENTRIES: usize = 8;
/// Pieces of code made for one module while it runs: each is a mapping, of which a process can have 65,530.
pub const MAX_PIECES: usize = 8 << 10;
