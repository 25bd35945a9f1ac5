//! The modules: written byte by byte, since what they are made of is the point, and encoders refuse to write some of it.

/// What a module does on every tier.
#[derive(Copy, Clone, Debug)]
pub enum Expect {
    /// It runs and returns.
    Runs,
    /// It is refused before anything runs, with the byte at which it is wrong.
    Invalid,
    /// It traps.
    Trap,
    /// It runs until it is stopped.
    TimeOut,
    /// Something cannot be had, or is beyond a limit, when it is instantiated.
    Refused,
}

/// A module.
pub struct Bomb {
    pub name: &'static str,
    pub wasm: Vec<u8>,
    pub expect: Expect,
    /// It fills memory with its own code, as any program can: how much is not wasmc's to bound without `--limit`.
    pub fills: bool,
}

fn bomb(name: &'static str, expect: Expect, wasm: Vec<u8>) -> Bomb {
    Bomb { name, wasm, expect, fills: false }
}

/// An unsigned number.
fn leb(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// A signed number that is not negative.
fn sleb(n: u64) -> Vec<u8> {
    let mut bytes = leb(n);
    if bytes.last().is_some_and(|b| b & 0x40 != 0) {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    bytes
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    cat(&[&[id], &leb(contents.len() as u64), contents])
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    cat(&[&leb(items.len() as u64), &items.concat()])
}

const HEADER: &[u8] = b"\0asm\x01\0\0\0";
/// One type, without parameters and results.
const UNIT: &[u8] = b"\x60\0\0";

/// A module's parts around its functions.
struct Parts {
    types: Vec<Vec<u8>>,
    /// The type of each function.
    functions: Vec<u8>,
    /// Sections between functions and exports.
    before: Vec<u8>,
    bodies: Vec<Vec<u8>>,
}

impl Parts {
    fn new(bodies: Vec<Vec<u8>>) -> Self {
        Self { types: vec![UNIT.to_vec()], functions: vec![0; bodies.len()], before: Vec::new(), bodies }
    }

    fn before(mut self, sections: Vec<u8>) -> Self {
        self.before = sections;
        self
    }

    fn typed(mut self, types: &[&[u8]], functions: &[u8]) -> Self {
        self.types = types.iter().map(|t| t.to_vec()).collect();
        self.functions = functions.to_vec();
        self
    }

    fn wasm(self) -> Vec<u8> {
        let bodies: Vec<Vec<u8>> = self.bodies.into_iter().map(|b| cat(&[&leb(b.len() as u64), &b])).collect();
        cat(&[
            HEADER,
            &section(1, &list(&self.types)),
            &section(3, &cat(&[&leb(bodies.len() as u64), &self.functions])),
            &self.before,
            &section(7, b"\x01\x06_start\0\0"),
            &section(10, &list(&bodies)),
        ])
    }
}

/// A body without locals.
fn body(code: &[u8]) -> Vec<u8> {
    cat(&[b"\0", code, b"\x0b"])
}

/// A body with `count` locals of a type.
fn body_with(count: u64, ty: u8, code: &[u8]) -> Vec<u8> {
    cat(&[b"\x01", &leb(count), &[ty], code, b"\x0b"])
}

fn start(code: &[u8]) -> Vec<u8> {
    Parts::new(vec![body(code)]).wasm()
}

/// Vectors with 2^32-1 entries, of which none or few are there.
pub fn declared_counts() -> Vec<Bomb> {
    use Expect::Invalid;
    let most = leb(u64::from(u32::MAX));
    let in_section = |id| cat(&[HEADER, &section(id, &most)]);
    let types = section(1, &list(&[UNIT.to_vec()]));
    let names = [
        "types",
        "imports",
        "functions",
        "tables",
        "memories",
        "globals",
        "exports",
        "start",
        "elements",
        "code",
        "data",
        "data count",
        "tags",
    ];
    let mut all: Vec<Bomb> = names.iter().zip(1u8..).map(|(name, id)| bomb(name, Invalid, in_section(id))).collect();
    all.push(bomb("size of a section", Invalid, cat(&[HEADER, b"\x01", &most])));
    all.push(bomb("functions with a few", Invalid, cat(&[HEADER, &types, &section(3, &cat(&[&most, b"\0\0\0\0"]))])));
    all.push(bomb("locals", Invalid, Parts::new(vec![cat(&[b"\x01", &most, b"\x7f\x0b"])]).wasm()));
    all.push(bomb("locals in many groups", Invalid, Parts::new(vec![cat(&[&most, b"\x01\x7f\x0b"])]).wasm()));
    all.push(bomb("br_table", Invalid, start(&cat(&[b"\x41\0\x0e", &most, b"\0"]))));
    all.push(bomb("catches", Invalid, start(&cat(&[b"\x1f\x40", &most, b"\x0b"]))));
    all.push(bomb("parameters", Invalid, cat(&[HEADER, &section(1, &cat(&[b"\x01\x60", &most]))])));
    all.push(bomb("types of a group", Invalid, cat(&[HEADER, &section(1, &cat(&[b"\x01\x4e", &most]))])));
    all.push(bomb("items of a segment", Invalid, cat(&[HEADER, &section(9, &cat(&[b"\x01\x01\0", &most]))])));
    all.push(bomb("bytes of a segment", Invalid, cat(&[HEADER, &section(11, &cat(&[b"\x01\x01", &most]))])));
    // Names are for messages, and are not needed.
    let mut named = start(b"");
    named.extend(section(0, &cat(&[b"\x04name\x01", &leb(most.len() as u64), &most])));
    all.push(bomb("names", Expect::Runs, named));
    let mut hints = cat(&[HEADER, &types, &section(3, b"\x01\0"), &section(7, b"\x01\x06_start\0\0")]);
    hints.extend(section(0, &cat(&[b"\x19metadata.code.branch_hint", &most])));
    hints.extend(section(10, b"\x01\x02\0\x0b"));
    all.push(bomb("branch hints", Expect::Runs, hints));
    all
}

/// Constructs inside each other.
pub fn nested(depth: usize) -> Vec<Bomb> {
    use Expect::Runs;
    let around = |open: &[u8], inside: &[u8], close: &[u8]| cat(&[&open.repeat(depth), inside, &close.repeat(depth)]);
    let with_local = |open, inside, close| Parts::new(vec![body_with(1, 0x7f, &around(open, inside, close))]).wasm();
    let throwing = |open, inside, close| Parts::new(vec![body(&around(open, inside, close)), body(b"")]).wasm();
    let targets: Vec<u8> = (0..depth as u64).flat_map(leb).collect();
    let table = cat(&[b"\x20\0\x0e", &leb(depth as u64), &targets, b"\0"]);
    vec![
        bomb("blocks", Runs, start(&around(b"\x02\x40", b"", b"\x0b"))),
        bomb("loops", Runs, start(&around(b"\x03\x40", b"", b"\x0b"))),
        bomb("loops with branches", Runs, with_local(b"\x03\x40", b"", b"\x20\0\x0d\0\x0b")),
        bomb("blocks with branches", Runs, with_local(b"\x02\x40", b"", b"\x20\0\x0d\0\x0b")),
        bomb("ifs", Runs, with_local(b"\x20\0\x04\x40", b"", b"\x0b")),
        bomb("ifs with elses", Runs, with_local(b"\x20\0\x45\x04\x40", b"", b"\x05\x0b")),
        bomb("try_tables", Runs, throwing(b"\x1f\x40\0", b"\x10\x01", b"\x0b")),
        bomb("try_tables that catch", Runs, throwing(b"\x02\x40\x1f\x40\x01\x02\0", b"\x10\x01", b"\x0b\x0b")),
        bomb("older trys", Runs, throwing(b"\x06\x40", b"\x10\x01", b"\x19\x10\x01\x0b")),
        bomb("delegates", Runs, throwing(b"\x06\x40", b"\x10\x01", b"\x18\0")),
        bomb("a br_table to all", Runs, with_local(b"\x02\x40", &table, b"\x0b")),
    ]
}

/// Functions with many instructions of a kind, behind each other.
pub fn long(count: usize) -> Vec<Bomb> {
    use Expect::Runs;
    let count = count.min(1_400_000);
    let with_local = |code: &[u8]| Parts::new(vec![body_with(1, 0x7f, code), body(b"")]).wasm();
    let memory = section(5, b"\x01\0\x01");
    let entries = cat(&[&leb(count as u64), &b"\0\x01".repeat(count / 2), b"\0"]);
    let small_table = cat(&[b"\x02\x40\x20\0\x0e", &leb(1000), &[0; 1001], b"\x0b"]);
    vec![
        bomb("a function beyond the limit", Expect::Invalid, start(&[1; 8_000_000])),
        bomb("nops", Runs, start(&vec![1; 7_600_000])),
        bomb("additions", Runs, with_local(&cat(&[b"\x20\0", &b"\x20\0\x6a".repeat(count), b"\x1a"]))),
        bomb("calls", Runs, with_local(&b"\x10\x01".repeat(count))),
        bomb("branches out of one block", Runs, with_local(&cat(&[b"\x02\x40", &b"\x20\0\x0d\0".repeat(count), b"\x0b"]))),
        bomb("ifs in a row", Runs, with_local(&b"\x20\0\x04\x40\x0b".repeat(count))),
        bomb("loops in a row", Runs, with_local(&b"\x03\x40\x20\0\x0d\0\x0b".repeat(count))),
        bomb(
            "loads",
            Runs,
            Parts::new(vec![body(&cat(&[b"\x41\0", &b"\x28\x02\0".repeat(count), b"\x1a"]))]).before(memory.clone()).wasm(),
        ),
        bomb("stores", Runs, Parts::new(vec![body(&b"\x41\0\x41\0\x36\x02\0".repeat(count))]).before(memory).wasm()),
        bomb("divisions", Runs, start(&cat(&[b"\x41\x07", &b"\x41\x03\x6d".repeat(count), b"\x1a"]))),
        bomb("a large br_table", Runs, with_local(&cat(&[b"\x02\x40\x02\x40\x20\0\x0e", &entries, b"\x0b\x0b"]))),
        bomb("many br_tables", Runs, with_local(&small_table.repeat(count / 1000))),
        bomb("operands on the stack", Runs, start(&cat(&[&b"\x41\x01".repeat(count), &b"\x1a".repeat(count)]))),
        bomb("a constant expression", Runs, {
            let global = cat(&[b"\x01\x7f\0\x41\x01", &b"\x41\x01\x6a".repeat(count), b"\x0b"]);
            Parts::new(vec![body(b"")]).before(section(6, &global)).wasm()
        }),
        bomb("operands of a constant expression", Runs, {
            let global = cat(&[b"\x01\x7f\0\x41\x01", &b"\x41\x01".repeat(count), &b"\x6a".repeat(count), b"\x0b"]);
            Parts::new(vec![body(b"")]).before(section(6, &global)).wasm()
        }),
    ]
}

/// Many locals, parameters and results, alone and in each of many blocks.
pub fn wide() -> Vec<Bomb> {
    use Expect::Runs;
    let thousand = |ty| vec![ty; 1000];
    let takes = cat(&[b"\x60", &leb(1000), &thousand(0x7f), b"\0"]);
    let gives = cat(&[b"\x60\0", &leb(1000), &thousand(0x7f)]);
    let passes = cat(&[b"\x60", &leb(1000), &thousand(0x7f), &leb(1000), &thousand(0x7f)]);
    let (push, drop) = (b"\x41\0".repeat(1000), b"\x1a".repeat(1000));
    let carrying = |code: Vec<u8>| Parts::new(vec![body(&cat(&[&push, &code, &drop]))]).typed(&[UNIT, &passes], b"\0").wasm();
    let gets = |n: u64| (0..n).flat_map(|i| cat(&[b"\x20", &leb(i), b"\x1a"])).collect::<Vec<u8>>();
    let sets = |n: u64| (0..n).flat_map(|i| cat(&[b"\x41\x01\x21", &leb(i)])).collect::<Vec<u8>>();
    let adds = |n: u64| (0..n).flat_map(|i| cat(&[b"\x20", &leb(i), b"\x41\x01\x6a\x21", &leb(i)])).collect::<Vec<u8>>();
    let in_loops = |loops: usize, locals: u64| {
        let code = cat(&[&b"\x03\x40".repeat(loops), &adds(locals), &b"\x41\0\x0d\0\x0b".repeat(loops)]);
        Parts::new(vec![body_with(locals, 0x7f, &code)]).wasm()
    };
    let targets: Vec<u8> = (0..20_000).flat_map(|i| leb(i % 500)).collect();
    let table = cat(&[&b"\x02\x01".repeat(500), b"\x41\0\x0e", &leb(20_000), &targets, b"\0", &b"\x0b".repeat(500)]);
    let written_in_ifs: Vec<u8> = (0..50_000u64).flat_map(|i| cat(&[b"\x41\x01\x04\x40\x41\x01\x21", &leb(i % 5000), b"\x0b"])).collect();
    vec![
        bomb("50,000 locals", Runs, Parts::new(vec![body_with(50_000, 0x7f, b"")]).wasm()),
        bomb("50,000 vectors", Runs, Parts::new(vec![body_with(49_999, 0x7b, &gets(49_999))]).wasm()),
        bomb("50,001 locals", Expect::Invalid, Parts::new(vec![body_with(50_001, 0x7f, b"")]).wasm()),
        bomb("locals live in a loop", Runs, {
            let code = cat(&[&sets(49_999), b"\x03\x40\x41\0\x0d\0\x0b", &gets(49_999)]);
            Parts::new(vec![body_with(49_999, 0x7f, &code)]).wasm()
        }),
        bomb("5,000 locals changed in 200 loops", Runs, in_loops(200, 5000)),
        bomb("1,000 locals changed in 300 loops", Runs, in_loops(300, 1000)),
        bomb("100 locals changed in 2,000 loops", Runs, in_loops(2000, 100)),
        bomb("locals written in ifs", Runs, Parts::new(vec![body_with(5000, 0x7f, &written_in_ifs)]).wasm()),
        bomb("1,000 parameters", Runs, {
            let call = cat(&[&push, b"\x10\x01"]);
            Parts::new(vec![body(&call.repeat(100)), body(b"")]).typed(&[UNIT, &takes], b"\0\x01").wasm()
        }),
        bomb("1,000 results", Runs, {
            let call = cat(&[b"\x10\x01", &drop]);
            Parts::new(vec![body(&call.repeat(100)), body(&push)]).typed(&[UNIT, &gives], b"\0\x01").wasm()
        }),
        bomb("1,001 parameters", Expect::Invalid, cat(&[HEADER, &section(1, &cat(&[b"\x01\x60", &leb(1001), &[0x7f; 1001], b"\0"]))])),
        bomb("blocks of 1,000 values inside each other", Runs, carrying(cat(&[&b"\x02\x01".repeat(5000), &b"\x0b".repeat(5000)]))),
        bomb("loops of 1,000 values inside each other", Runs, carrying(cat(&[&b"\x03\x01".repeat(3000), &b"\x0b".repeat(3000)]))),
        bomb("loops of 1,000 values in a row", Runs, carrying(b"\x03\x01\x0b".repeat(100_000))),
        bomb("ifs of 1,000 values in a row", Runs, carrying(b"\x41\x01\x04\x01\x05\x0b".repeat(50_000))),
        bomb("a br_table with 1,000 values", Runs, carrying(table)),
    ]
}

/// Many definitions of a kind.
pub fn many(count: usize) -> Vec<Bomb> {
    use Expect::{Invalid, Runs};
    let n = leb(count as u64);
    let with = |id, contents: Vec<u8>| Parts::new(vec![body(b"")]).before(section(id, &contents)).wasm();
    let table = section(4, b"\x01\x70\0\x0a");
    let memory = section(5, b"\x01\0\x01");
    let behind = |sections: &[&[u8]]| {
        let functions = cat(&[&section(1, &list(&[UNIT.to_vec()])), &section(3, b"\x01\0")]);
        cat(&[HEADER, &functions, &sections.concat()])
    };
    let (code, export) = (section(10, b"\x01\x02\0\x0b"), section(7, b"\x01\x06_start\0\0"));
    let few = count.min(90_000);
    let chain: Vec<u8> = (1..count as u64).flat_map(|i| cat(&[b"\x7f\0\x23", &leb(i - 1), b"\x0b"])).collect();
    let names: Vec<Vec<u8>> = (0..count.min(150_000)).map(|i| format!("{i:x}").into_bytes()).collect();
    let exports: Vec<Vec<u8>> = std::iter::once(b"\x06_start\0\0".to_vec())
        .chain(names.iter().map(|name| cat(&[&leb(name.len() as u64), name, b"\0\0"])))
        .collect();
    vec![
        bomb("functions", Runs, Parts::new(vec![body(b""); count]).wasm()),
        bomb("globals", Runs, with(6, cat(&[&n, &b"\x7f\0\x41\0\x0b".repeat(count)]))),
        bomb("globals that copy each other", Runs, with(6, cat(&[&n, b"\x7f\0\x41\0\x0b", &chain]))),
        bomb("tags", Runs, with(13, cat(&[&n, &b"\0\0".repeat(count)]))),
        bomb("exports", Runs, behind(&[&section(7, &list(&exports)), &code])),
        bomb(
            "imports",
            Invalid,
            cat(&[HEADER, &section(1, &list(&[UNIT.to_vec()])), &section(2, &cat(&[&leb(1_000_001), &b"\0\0\0\0".repeat(1000)]))]),
        ),
        bomb("element segments", Runs, {
            let segments = cat(&[&leb(few as u64), &b"\0\x41\0\x0b\x01\0".repeat(few)]);
            behind(&[&table, &export, &section(9, &segments), &code])
        }),
        bomb("a long element segment", Runs, {
            let items = cat(&[b"\x01\0\x41\0\x0b", &n, &vec![0; count]]);
            behind(&[&section(4, &cat(&[b"\x01\x70\0", &n])), &export, &section(9, &items), &code])
        }),
        bomb("data segments", Runs, {
            let segments = cat(&[&leb(few as u64), &b"\0\x41\0\x0b\x01x".repeat(few)]);
            behind(&[&memory, &export, &code, &section(11, &segments)])
        }),
        bomb("tables", Runs, with(4, cat(&[&leb(few as u64), &b"\x70\0\x01".repeat(few)]))),
        bomb("tables beyond the limit", Invalid, with(4, cat(&[&leb(100_001), &b"\x70\0\x01".repeat(100_001)]))),
        bomb("memories beyond the limit", Invalid, with(5, cat(&[&leb(101), &b"\0\x01".repeat(101)]))),
        bomb(
            "functions beyond the limit",
            Invalid,
            cat(&[HEADER, &section(1, &list(&[UNIT.to_vec()])), &section(3, &cat(&[&leb(1_000_001), &[0; 1000]]))]),
        ),
        bomb("custom sections", Runs, {
            let mut wasm = start(b"");
            (0..count).for_each(|_| wasm.extend(b"\0\x05\x04name"));
            wasm
        }),
    ]
}

/// Types: many, deep, in circles.
pub fn types(count: usize) -> Vec<Bomb> {
    use Expect::{Invalid, Runs};
    // The function has the first type of all, without parameters and results.
    let with = |types: Vec<u8>, n: u64| {
        let rest = cat(&[&section(3, b"\x01\0"), &section(7, b"\x01\x06_start\0\0"), &section(10, b"\x01\x02\0\x0b")]);
        cat(&[HEADER, &section(1, &cat(&[&leb(n), &types])), &rest])
    };
    let n = count as u64;
    let distinct = |i: usize| cat(&[b"\x60\x05", &[0, 2, 4, 6, 8].map(|s| 0x7f - ((i >> s) & 3) as u8), b"\0"]);
    let in_circles: Vec<u8> =
        (0..n).flat_map(|i| cat(&[b"\x60\x02\x64", &sleb(i * 7919 % n), b"\x64", &sleb((i + 1) % n), b"\0"])).collect();
    let small = (n / 4).max(1);
    let wrap = |group: &[u8]| cat(&[UNIT, group]);
    vec![
        bomb("types", Runs, with(UNIT.repeat(count - 1), n - 1)),
        bomb("types beyond the limit", Invalid, with(UNIT.repeat(10), 1_000_001)),
        bomb("distinct types", Runs, with(cat(&[UNIT, &(0..count - 1).flat_map(distinct).collect::<Vec<u8>>()]), n)),
        bomb("types of types", Runs, {
            let chain: Vec<u8> = (0..small).flat_map(|i| cat(&[b"\x60\x01\x64", &sleb(i), b"\0"])).collect();
            with(wrap(&chain), small + 1)
        }),
        bomb("long types", Runs, {
            let long = cat(&[b"\x60", &leb(1000), &[0x7f; 1000], b"\0"]);
            with(wrap(&long.repeat(5000)), 5001)
        }),
        bomb("a group of many types", Runs, with(wrap(&cat(&[b"\x4e", &leb(n), &UNIT.repeat(count)])), 2)),
        bomb("many groups", Runs, with(wrap(&cat(&[b"\x4e\x02", UNIT, UNIT]).repeat(count / 2 - 1)), n / 2)),
        bomb("a group of types in circles", Runs, with(wrap(&cat(&[b"\x4e", &leb(n), &in_circles])), 2)),
        bomb("supertypes", Invalid, {
            let chain: Vec<u8> = (1..100).flat_map(|i| cat(&[b"\x50\x01", &leb(i), b"\x60\0\0"])).collect();
            with(cat(&[UNIT, b"\x50\0\x60\0\0", &chain]), 101)
        }),
    ]
}

/// Memories and tables, as large and as many as can be declared.
pub fn storage() -> Vec<Bomb> {
    use Expect::{Refused, Runs};
    let with = |id, contents: Vec<u8>| Parts::new(vec![body(b"")]).before(section(id, &contents)).wasm();
    let table = |n: u64| cat(&[b"\x01\x70\0", &leb(n)]);
    vec![
        bomb("the largest memory", Runs, with(5, cat(&[b"\x01\0", &leb(65536)]))),
        bomb("a memory of 64 bits", Refused, with(5, cat(&[b"\x01\x04", &leb(1 << 48)]))),
        bomb("a memory of 2^47 bytes", Refused, with(5, cat(&[b"\x01\x04", &leb(1 << 31)]))),
        bomb("more memories than address space", Refused, with(5, cat(&[&leb(100), &b"\0\x01".repeat(100)]))),
        bomb("the largest table", Runs, with(4, table(10_000_000))),
        bomb("a table beyond the limit", Refused, with(4, table(10_000_001))),
        bomb("a table of 2^32-1", Refused, with(4, table(u64::from(u32::MAX)))),
        bomb("more tables than address space", Refused, with(4, cat(&[&leb(5000), &cat(&[b"\x70\0", &leb(10_000_000)]).repeat(5000)]))),
        bomb("memory.grow to the end", Runs, {
            let code = b"\x03\x40\x41\x80\x08\x40\0\x41\x7f\x47\x0d\0\x0b";
            Parts::new(vec![body(code)]).before(section(5, b"\x01\0\x01")).wasm()
        }),
        Bomb {
            fills: true,
            ..bomb("table.grow to the end", Runs, {
                let code = b"\x03\x40\xd0\x70\x41\x80\x80\x04\xfc\x0f\0\x41\x7f\x47\x0d\0\x0b";
                Parts::new(vec![body(code)]).before(section(4, b"\x01\x70\0\x01")).wasm()
            })
        },
    ]
}

/// What runs until it is stopped, or uses up its stack.
pub fn endless() -> Vec<Bomb> {
    use Expect::{TimeOut, Trap};
    let functions = cat(&[&section(1, &list(&[UNIT.to_vec()])), &section(3, b"\x01\0")]);
    let looping = section(10, &list(&[cat(&[b"\x07", b"\0\x03\x40\x0c\0\x0b\x0b"])]));
    let big_frame: Vec<u8> = (0..100).flat_map(|i| cat(&[b"\x20", &leb(i), b"\x1a"])).collect();
    vec![
        bomb("a start function that loops", TimeOut, cat(&[HEADER, &functions, &section(8, b"\0"), &looping])),
        bomb("a function that loops", TimeOut, start(b"\x03\x40\x0c\0\x0b")),
        bomb("recursion", Trap, start(b"\x10\0")),
        bomb("tail calls", TimeOut, start(b"\x12\0")),
        bomb("recursion with large frames", Trap, Parts::new(vec![body_with(50_000, 0x7e, &cat(&[b"\x10\0", &big_frame]))]).wasm()),
        bomb("exceptions", TimeOut, {
            let tag = section(13, b"\x01\0\0");
            let code = b"\x03\x40\x02\x40\x1f\x40\x01\x02\0\x08\0\x0b\x0b\x0c\0\x0b";
            Parts::new(vec![body(code)]).before(tag).wasm()
        }),
    ]
}
