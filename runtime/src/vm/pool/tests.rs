//! Slots as those see them who get them: a memory that was used before reads as a new one, whatever was done with it.

use super::*;
use crate::code::Code;
use crate::vm::image::{Images, Source};
use crate::vm::memory::{Initial, MemoryConfig, MemoryStorage, Reservation};
use wasmc_environ::decode::decode_and_validate;
use wasmc_environ::features::Features;
use wasmc_environ::module::Module as EnvModule;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DataIndex, DefinedMemoryIndex};

const WASM_PAGE: usize = 65536;
const FIRST: DefinedMemoryIndex = DefinedMemoryIndex::from_u32(0);

/// A module, its pool and its images.
struct Program {
    wasm: Vec<u8>,
    env: EnvModule,
    offsets: VMOffsets,
    pool: Arc<Pool>,
    images: Images,
    static_memory: bool,
}

impl Program {
    fn new(text: &str, pool: Pool, static_memory: bool) -> Self {
        let wasm = wat::parse_str(text).unwrap();
        let env = decode_and_validate(&wasm, &Features::default()).unwrap();
        let offsets = VMOffsets::new(&env, static_memory).unwrap();
        let pool = Arc::new(pool);
        let images = Images::new(&pool, &env);
        Self { wasm, env, offsets, pool, images, static_memory }
    }

    fn config(&self) -> MemoryConfig<'_> {
        MemoryConfig { static_memory: self.static_memory, pool: Some(&self.pool), ..MemoryConfig::default() }
    }

    fn image(&self) -> Option<&Arc<Image>> {
        let data = |i: DataIndex| {
            let bytes = &self.env.data[i.index()].bytes;
            &self.wasm[bytes.start as usize..bytes.end as usize]
        };
        self.images.get(FIRST, &Source { env: &self.env, offsets: &self.offsets, code: &Code::None, data: &data })
    }

    /// A new instance's memory. The first one has no image.
    fn memory(&self) -> MemoryStorage {
        let initial = self.image().map_or(Initial::Zeros, Initial::Image);
        let ty = &self.env.memories[0];
        let config = self.config();
        let front = self.offsets.memory_behind().map(|size| Reservation::new(size as usize, ty, &config, initial).unwrap());
        let rest = if front.is_some() { Initial::Zeros } else { initial };
        MemoryStorage::place(ty, &config, rest, front).unwrap()
    }

    /// What memory and `VMContext` are in the beginning.
    fn assert_fresh(&self, memory: &MemoryStorage) {
        let mut expected = vec![0; self.env.memories[0].min_bytes().unwrap() as usize];
        if memory.has_image() {
            for (at, bytes) in self.segments() {
                expected[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        assert_eq!(memory.byte_len(), expected.len());
        // SAFETY: nobody else uses the memory; what is in front is accessible.
        unsafe {
            let bytes = memory.bytes();
            let wrong = bytes.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(wrong, None, "{:?}", wrong.map(|w| (w, bytes[w], expected[w])));
            let front = self.front();
            assert!(std::slice::from_raw_parts(bytes.as_ptr().sub(front), front).iter().all(|b| *b == 0));
        }
    }

    fn front(&self) -> usize {
        self.offsets.memory_behind().unwrap_or(0) as usize
    }

    fn segments(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.env.data.iter().map(|s| {
            let wasmc_environ::module::SegmentMode::Active { offset, .. } = &s.mode else { panic!("only active ones here") };
            (offset.as_constant_offset().unwrap() as usize, &self.wasm[s.bytes.start as usize..s.bytes.end as usize])
        })
    }

    /// Writes to every page of the memory and all in front of it.
    fn soil(&self, memory: &mut MemoryStorage) {
        // SAFETY: nobody else uses the memory; what is in front is accessible.
        unsafe {
            let (front, start) = (self.front(), memory.definition().base);
            start.sub(front).write_bytes(0xa5, front);
            for page in memory.bytes_mut().chunks_mut(4096) {
                page[..16].fill(0xa5);
            }
        }
    }
}

/// Whether a byte of this process is accessible.
fn is_accessible(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let mut words = line.split(' ');
        let range = words.next().and_then(|r| r.split_once('-')).unwrap();
        let hex = |s| usize::from_str_radix(s, 16).unwrap();
        (hex(range.0)..hex(range.1)).contains(&address) && words.next().unwrap().starts_with('r')
    })
}

fn pool(ask: bool) -> Pool {
    Pool { ask, ..Pool::new(Reuse::default()) }
}

const TEXTS: [&str; 5] = [
    // Nothing but zeros.
    "(module (memory 2 40))",
    // An image in the beginning, part of a page of the host, and a small rest.
    r#"(module (memory 3 40) (data (i32.const 100) "some bytes"))"#,
    // Two pieces with zeros between, before and behind; far from the start.
    r#"(module (memory 40 80) (data (i32.const 2000000) "some bytes") (data (i32.const 2100000) "more bytes"))"#,
    // A rest that is mapped for itself.
    r#"(module (memory 200 400) (data (i32.const 5) "some bytes"))"#,
    // Not static.
    r#"(module (memory i64 2 40) (data (i64.const 65530) "across pages"))"#,
];

#[test]
fn what_was_used_reads_as_new() {
    for ask in [true, false] {
        for static_memory in [true, false] {
            for text in TEXTS {
                let program = Program::new(text, pool(ask), static_memory);
                drop(program.memory());
                let mut last = None;
                for round in 0..6 {
                    let mut memory = program.memory();
                    assert_eq!(memory.has_image(), text.contains("data"), "{text}");
                    program.assert_fresh(&memory);
                    let base = memory.definition().base.addr();
                    assert!(last.replace(base).is_none_or(|last| last == base), "{text}: not the same slot in round {round}");
                    let end = base + memory.byte_len();
                    assert!(is_accessible(end - 1) && !is_accessible(end), "{text}");
                    if round % 2 == 1 {
                        assert!(memory.grow(30).is_some() || memory.grow(1).is_some(), "{text}");
                    }
                    if round > 1 {
                        program.soil(&mut memory);
                    }
                }
                assert!(program.pool.idle() > 0);
            }
        }
    }
}

#[test]
fn what_grew_far_comes_back_small() {
    for ask in [true, false] {
        let program = Program::new("(module (memory 1))", pool(ask), true);
        for _ in 0..3 {
            let mut memory = program.memory();
            program.assert_fresh(&memory);
            let base = memory.definition().base.addr();
            assert!(!is_accessible(base + WASM_PAGE));
            // Beyond where huge pages are asked for.
            assert_eq!(memory.grow(400), Some(1));
            // SAFETY: nobody else uses the memory.
            assert!(unsafe { memory.bytes() }.iter().all(|b| *b == 0));
            program.soil(&mut memory);
            drop(memory);
            assert!(!is_accessible(base + WASM_PAGE) && !is_accessible(base + 399 * WASM_PAGE));
        }
        assert_eq!(program.pool.idle(), 1);
    }
}

#[test]
fn no_more_is_kept_than_allowed() {
    let program = Program::new("(module (memory 16))", Pool::new(Reuse::default().memories(3)), true);
    let many: Vec<_> = (0..5).map(|_| program.memory()).collect();
    drop(many);
    assert_eq!(program.pool.idle(), 3);
    assert!(program.pool.clear() && !program.pool.clear());

    let program = Program::new("(module (memory 8))", Pool::new(Reuse::default().resident_bytes(700 << 10)), true);
    let mut two = [program.memory(), program.memory()];
    two.iter_mut().for_each(|memory| program.soil(memory));
    drop(two);
    assert!(program.pool.state().resident <= 700 << 10);

    let none = Program::new("(module (memory 1))", Pool::new(Reuse::none()), true);
    drop((none.memory(), none.memory()));
    assert_eq!(none.pool.idle(), 0);
    assert!(none.image().is_none());
}

#[test]
fn those_used_last_stay() {
    let pool = Arc::new(Pool::new(Reuse::default().memories(2)));
    let memory = |pages: u64| {
        let ty = wasmc_environ::types::MemoryType {
            limits: wasmc_environ::types::Limits { min: pages, max: None },
            memory64: false,
            shared: false,
            page_size_log2: 16,
        };
        let config = MemoryConfig { pool: Some(&pool), ..MemoryConfig::default() };
        MemoryStorage::new(&ty, &config, None).unwrap().definition().base.addr()
    };
    let (one, two) = (memory(1), memory(2));
    assert_eq!((memory(1), memory(2), pool.idle()), (one, two, 2));
    // The first one goes, since it was used least recently.
    let three = memory(3);
    assert_eq!((memory(2), memory(3), pool.idle()), (two, three, 2));
}

#[test]
fn slots_of_a_module_go_with_it() {
    let text = r#"(module (memory 1) (data (i32.const 0) "some bytes"))"#;
    let program = Program::new(text, pool(true), true);
    drop(program.memory());
    let held = program.memory();
    drop(program.memory());
    let Program { pool, images, .. } = program;
    assert_eq!(pool.idle(), 2);
    drop(images);
    // The one without an image is nobody's in particular.
    assert_eq!(pool.idle(), 1);
    drop(held);
    assert_eq!(pool.idle(), 1);
}

#[test]
fn images_cannot_be_changed() {
    let program = Program::new(r#"(module (memory 1) (data (i32.const 0) "some bytes"))"#, pool(true), true);
    assert!(program.image().is_none());
    let image = program.image().unwrap();
    let (file, place) = image.place(1 << 20);
    assert_eq!(place, (1 << 20) - page_size()..(1 << 20) + WASM_PAGE);
    assert!(rustix::io::pwrite(file, b"x", 0).is_err());
    assert!(rustix::fs::ftruncate(file, 0).is_err());
}
