//! Positions kept here against positions of the host: the same calls on one file through a program's descriptor and on its twin
//! through the host's own, call by call and error by error; several threads; and the files of which the host keeps the position.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::*;
use crate::fdtable::Object;
use crate::preview1::{
    fd_allocate, fd_fdstat_set_flags, fd_filestat_set_size, fd_pread, fd_pwrite, fd_read, fd_renumber, fd_seek, fd_tell, fd_write,
    poll_oneoff,
};
use crate::testing::{CREATE, Guest, READ, ROOT, TestDir, WRITE};
use crate::{DirAccess, PathResolution, WasiCtx, WasiCtxBuilder, WasiLimits};

const APPEND: u32 = 1;
/// Where lists of buffers, results and the buffers themselves lie.
const LIST: u64 = 512;
const RESULT: u64 = 0;
const BUFFERS: u64 = 20_000;

fn seek(guest: &mut Guest, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
    let (ctx, mut mem) = guest.parts();
    fd_seek(ctx, &mut mem, fd, offset, whence, RESULT)?;
    mem.read_u64(RESULT)
}

/// Whether the position of `fd` is kept here.
fn is_own(guest: &Guest, fd: u32) -> bool {
    let held = guest.ctx.fds.get(fd).unwrap();
    matches!(&held.object, Object::Regular(file) if file.turn(true).position().is_some())
}

/// Lists buffers of these lengths, one behind the other, and returns how many.
fn list(guest: &mut Guest, lengths: &[u32]) -> u64 {
    let (_, mut mem) = guest.parts();
    let mut at = BUFFERS as u32;
    for (index, len) in lengths.iter().enumerate() {
        mem.write_u32(LIST + index as u64 * 8, at).unwrap();
        mem.write_u32(LIST + index as u64 * 8 + 4, *len).unwrap();
        at += len;
    }
    lengths.len() as u64
}

/// Numbers that differ (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The greatest position that the host allows in a file.
fn greatest(file: &OwnedFd) -> u64 {
    let (mut allowed, mut refused) = (0, 1 << 63);
    while refused - allowed > 1 {
        let middle = allowed + (refused - allowed) / 2;
        match rustix::fs::seek(file, SeekFrom::Start(middle)) {
            Ok(_) => allowed = middle,
            Err(_) => refused = middle,
        }
    }
    rustix::fs::seek(file, SeekFrom::Start(0)).unwrap();
    allowed
}

/// What one call came to: its result, and the bytes that it read.
type Outcome = (Result<u64, Errno>, Vec<u8>);

/// The program's side of the twins.
struct Program {
    guest: Guest,
    fd: u32,
    other: u32,
}

impl Program {
    fn moved(
        &mut self,
        lengths: &[u32],
        call: impl FnOnce(&mut WasiCtx, &mut crate::GuestMemory<'_>, u32, u64) -> Result<(), Errno>,
    ) -> Outcome {
        let count = list(&mut self.guest, lengths);
        let fd = self.fd;
        let (ctx, mut mem) = self.guest.parts();
        let result = call(ctx, &mut mem, fd, count).and_then(|()| mem.read_u32(RESULT)).map(u64::from);
        let total: u32 = lengths.iter().sum();
        (result, mem.slice(BUFFERS, total.into()).unwrap().to_vec())
    }
}

/// Runs random calls on both and compares them. `alone` says whether the program has one thread.
fn compare(dir: &TestDir, alone: bool, seed: u64) {
    let mut guest = Guest::new(&dir.path("."), DirAccess::ReadWrite, PathResolution::Kernel);
    let (name, twin) = (format!("file-{seed}"), format!("twin-{seed}"));
    let fd = guest.open(ROOT, 0, &name, CREATE, WRITE).unwrap();
    let other = guest.open(ROOT, 0, &name, 0, READ).unwrap();
    let _shared = (!alone).then(|| guest.ctx.share());
    let mut program = Program { guest, fd, other };
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(dir.path(&twin)).unwrap();
    let host = OwnedFd::from(options);
    let last = greatest(&host);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut own = 0;
    for step in 0..3000 {
        let lengths: Vec<u32> = match random.below(5) {
            0..3 => vec![random.below(3000) as u32],
            3 => (0..random.below(5)).map(|_| random.below(700) as u32).collect(),
            _ => (0..random.below(30)).map(|_| random.below(90) as u32).collect(),
        };
        let total = lengths.iter().sum::<u32>() as usize;
        let fill = (step % 251 + 1) as u8;
        let near = |random: &mut Random| match random.below(40) {
            0 => last,
            1 => last + 1,
            2 => last - random.below(2000),
            3 => i64::MAX as u64,
            4 => i64::MAX as u64 - random.below(2000),
            5 => (1 << 31) - 1 + random.below(3),
            _ => random.below(20_000),
        };
        let mut bytes = vec![fill; total];
        let (outcome, expected): (Outcome, Outcome) = match random.below(20) {
            0..5 => {
                program.guest.memory[BUFFERS as usize..][..total].fill(0);
                let outcome = program.moved(&lengths, |ctx, mem, fd, count| fd_read(ctx, mem, fd, LIST, count, RESULT));
                bytes.fill(0);
                (outcome, (rustix::io::read(&host, &mut bytes).map(|count| count as u64).map_err(Errno::from), bytes))
            }
            5..9 => {
                program.guest.memory[BUFFERS as usize..][..total].fill(fill);
                let outcome = program.moved(&lengths, |ctx, mem, fd, count| fd_write(ctx, mem, fd, LIST, count, RESULT));
                (outcome, (rustix::io::write(&host, &bytes).map(|count| count as u64).map_err(Errno::from), bytes))
            }
            9..15 => {
                let (offset, whence) = match random.below(6) {
                    0..3 => (near(&mut random) as i64, 0),
                    3 => ((near(&mut random) as i64).wrapping_sub(random.below(20_000) as i64), 1),
                    4 => (random.below(8000) as i64 - 6000, 2),
                    _ => ([i64::MIN, i64::MAX, -1, i64::MIN + 1][random.below(4) as usize], random.below(3) as u32),
                };
                let fd = program.fd;
                let outcome = (seek(&mut program.guest, fd, offset, whence), Vec::new());
                let to = match whence {
                    0 => u64::try_from(offset).map(SeekFrom::Start).ok(),
                    1 => Some(SeekFrom::Current(offset)),
                    _ => Some(SeekFrom::End(offset)),
                };
                let expected = to.map_or(Err(Errno::INVAL), |to| rustix::fs::seek(&host, to).map_err(Errno::from));
                (outcome, (expected, Vec::new()))
            }
            15 => {
                let (offset, total_len) = (near(&mut random), total);
                program.guest.memory[BUFFERS as usize..][..total_len].fill(0);
                let outcome = program.moved(&lengths, |ctx, mem, fd, count| fd_pread(ctx, mem, fd, LIST, count, offset, RESULT));
                bytes.fill(0);
                (outcome, (rustix::io::pread(&host, &mut bytes, offset).map(|count| count as u64).map_err(Errno::from), bytes))
            }
            16 => {
                let offset = random.below(20_000);
                program.guest.memory[BUFFERS as usize..][..total].fill(fill);
                let outcome = program.moved(&lengths, |ctx, mem, fd, count| fd_pwrite(ctx, mem, fd, LIST, count, offset, RESULT));
                (outcome, (rustix::io::pwrite(&host, &bytes, offset).map(|count| count as u64).map_err(Errno::from), bytes))
            }
            17 => {
                let append = random.below(2) == 0;
                let fd = program.fd;
                let (ctx, mut mem) = program.guest.parts();
                let outcome = fd_fdstat_set_flags(ctx, &mut mem, fd, u32::from(append)).map(|()| 0);
                let mut flags = rustix::fs::OFlags::empty();
                flags.set(rustix::fs::OFlags::APPEND, append);
                let expected = rustix::fs::fcntl_setfl(&host, flags).map(|()| 0).map_err(Errno::from);
                ((outcome, Vec::new()), (expected, Vec::new()))
            }
            18 => {
                let (size, allocate) = (random.below(20_000), random.below(2) == 0);
                let fd = program.fd;
                let (ctx, mut mem) = program.guest.parts();
                let flags = rustix::fs::FallocateFlags::empty();
                let (outcome, expected) = if allocate {
                    (fd_allocate(ctx, &mut mem, fd, size, 100), rustix::fs::fallocate(&host, flags, size, 100))
                } else {
                    (fd_filestat_set_size(ctx, &mut mem, fd, size), rustix::fs::ftruncate(&host, size))
                };
                ((outcome.map(|()| 0), Vec::new()), (expected.map(|()| 0).map_err(Errno::from), Vec::new()))
            }
            _ => {
                // Under another number it is the same file at the same place.
                let (fd, other) = (program.fd, program.other);
                let (ctx, mut mem) = program.guest.parts();
                fd_renumber(ctx, &mut mem, fd, other).unwrap();
                (program.fd, program.other) = (other, program.guest.open(ROOT, 0, &name, 0, READ).unwrap());
                continue;
            }
        };
        assert_eq!(outcome, expected, "step {step} of seed {seed}");
        let fd = program.fd;
        own += u32::from(is_own(&program.guest, fd));
        let (ctx, mut mem) = program.guest.parts();
        fd_tell(ctx, &mut mem, fd, RESULT).unwrap();
        assert_eq!(mem.read_u64(RESULT), rustix::fs::tell(&host).map_err(Errno::from), "step {step} of seed {seed}");
    }
    // Compared from the end, so that files with holes of a terabyte are compared quickly.
    let tail = |name: &str| {
        let mut file = std::fs::File::open(dir.path(name)).unwrap();
        let len = file.metadata().unwrap().len();
        let mut bytes = Vec::new();
        for part in [0, len.saturating_sub(100_000)] {
            file.seek(std::io::SeekFrom::Start(part)).unwrap();
            file.by_ref().take(100_000).read_to_end(&mut bytes).unwrap();
        }
        (len, bytes)
    };
    assert!(tail(&name) == tail(&twin), "the files of seed {seed} differ");
    assert!(own > 500, "only {own} positions of seed {seed} were kept here");
    for name in [name, twin] {
        std::fs::remove_file(dir.path(&name)).unwrap();
    }
}

#[test]
fn own_positions_are_those_of_the_host() {
    // Two kinds of file systems with different limits, where there are two.
    let dirs = [Ok(TestDir::new()), TestDir::within(std::path::Path::new("/dev/shm"))];
    for dir in dirs.into_iter().flatten() {
        for seed in 1..=6 {
            compare(&dir, seed % 2 == 0, seed);
        }
    }
}

#[test]
fn the_position_is_taken_over_by_the_second_move_and_given_back_to_append() {
    let dir = TestDir::new();
    let mut guest = dir.guest();
    let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
    assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
    assert_eq!(seek(&mut guest, fd, 2, 0), Ok(2));
    assert!(!is_own(&guest, fd));
    assert_eq!(seek(&mut guest, fd, 1, 1), Ok(3));
    assert!(is_own(&guest, fd));
    assert_eq!(guest.read(fd, 2).unwrap(), b"34");
    let (ctx, mut mem) = guest.parts();
    assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, fd, APPEND), Ok(()));
    assert!(!is_own(&guest, fd));
    assert_eq!(guest.read(fd, 2).unwrap(), b"56");
    for _ in 0..3 {
        assert_eq!(seek(&mut guest, fd, 1, 0), Ok(1));
    }
    assert_eq!(guest.write(fd, b"ab"), Ok(2));
    assert_eq!(seek(&mut guest, fd, 0, 1), Ok(12));
    assert!(!is_own(&guest, fd));
    let (ctx, mut mem) = guest.parts();
    assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, fd, 0), Ok(()));
    assert_eq!(guest.write(fd, b"c"), Ok(1));
    assert_eq!(seek(&mut guest, fd, 0, 0), Ok(0));
    assert!(is_own(&guest, fd));
    assert_eq!(guest.write(fd, b"xy"), Ok(2));
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"xy23456789abc");

    // What appends from the start never has a position here.
    let fd = guest.open_with(ROOT, 0, "file", 0, WRITE, 0, 1).unwrap();
    for _ in 0..3 {
        assert_eq!(seek(&mut guest, fd, 1, 0), Ok(1));
    }
    assert!(!is_own(&guest, fd));
    assert_eq!(guest.write(fd, b"!"), Ok(1));
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"xy23456789abc!");
}

#[test]
fn files_of_other_systems_keep_their_positions() {
    let path = "/proc/sys/kernel";
    let mut guest = Guest::new(std::path::Path::new(path), DirAccess::ReadOnly, PathResolution::Kernel);
    let Ok(fd) = guest.open(ROOT, 0, "ostype", 0, READ) else { return };
    let mut twin = std::fs::File::open(format!("{path}/ostype")).unwrap();
    for at in [0, 3, 1, 0, 5, 2] {
        let expected = twin.seek(std::io::SeekFrom::Start(at)).map_err(Errno::from);
        assert_eq!(seek(&mut guest, fd, at as i64, 0), expected);
        let mut bytes = [0; 2];
        let count = twin.read(&mut bytes).unwrap();
        assert_eq!(guest.read(fd, 2).unwrap(), bytes[..count]);
        assert!(!is_own(&guest, fd));
    }
}

#[test]
fn what_is_refused_moves_nothing() {
    let dir = TestDir::new();
    let limits = WasiLimits { bytes_written: 10, ..Default::default() };
    let mut builder = WasiCtxBuilder::new();
    builder.limits(limits).preopen_dir(dir.path("."), "/", DirAccess::ReadWrite).unwrap();
    let mut guest = Guest::with(builder.build().unwrap());
    let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
    assert_eq!((seek(&mut guest, fd, 2, 0), seek(&mut guest, fd, 3, 0)), (Ok(2), Ok(3)));
    assert!(is_own(&guest, fd));
    assert_eq!(guest.write(fd, b"1234567"), Ok(7));
    assert_eq!(guest.write(fd, b"1234567"), Err(Errno::DQUOT));
    assert_eq!(seek(&mut guest, fd, 0, 1), Ok(10));
    assert_eq!(guest.write(fd, b"123"), Ok(3));
    assert_eq!(seek(&mut guest, fd, 0, 1), Ok(13));
    // Opened for reading only.
    let fd = guest.open(ROOT, 0, "file", 0, READ).unwrap();
    assert_eq!((seek(&mut guest, fd, 2, 0), seek(&mut guest, fd, 3, 0)), (Ok(2), Ok(3)));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
    assert_eq!(seek(&mut guest, fd, 0, 1), Ok(3));
}

#[test]
fn a_poll_says_how_much_there_is_from_the_position_on() {
    let dir = TestDir::new();
    dir.file("file", "0123456789");
    let mut guest = dir.guest();
    let fd = guest.open(ROOT, 0, "file", 0, READ).unwrap();
    let ready = |guest: &mut Guest| {
        let (ctx, mut mem) = guest.parts();
        mem.write(1024, &[0; 48]).unwrap();
        mem.write(1032, &[1]).unwrap();
        mem.write_u32(1040, fd).unwrap();
        assert_eq!(poll_oneoff(ctx, &mut mem, 1024, 2048, 1, RESULT), Ok(()));
        (mem.read_u32(RESULT).unwrap(), mem.read_u64(2064).unwrap())
    };
    assert_eq!(ready(&mut guest), (1, 10));
    for (at, left) in [(4, 6), (7, 3), (1, 9)] {
        assert_eq!(seek(&mut guest, fd, at, 0), Ok(at as u64));
        assert_eq!(ready(&mut guest), (1, left));
        assert_eq!(guest.read(fd, 1).unwrap(), [b'0' + at as u8]);
        assert_eq!(ready(&mut guest), (1, left - 1));
    }
    assert!(is_own(&guest, fd));
}

#[test]
fn threads_take_turns() {
    const RECORDS: u32 = 4000;
    const THREADS: u32 = 4;
    let dir = TestDir::new();
    let mut guest = dir.guest();
    let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
    assert_eq!((seek(&mut guest, fd, 8, 0), seek(&mut guest, fd, 0, 0)), (Ok(8), Ok(0)));
    assert!(is_own(&guest, fd));
    let shared = guest.ctx.share();
    let each = |work: &(dyn Fn(&mut Guest, u32) -> Vec<u32> + Sync)| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let shared = shared.clone();
                    scope.spawn(move || work(&mut Guest::with(shared.context()), thread))
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    each(&|guest, thread| {
        for record in 0..RECORDS / THREADS {
            assert_eq!(guest.write(fd, &(thread * (RECORDS / THREADS) + record).to_le_bytes()), Ok(4));
        }
        Vec::new()
    });
    assert_eq!(std::fs::metadata(dir.path("file")).unwrap().len(), u64::from(RECORDS) * 4);
    assert_eq!(seek(&mut guest, fd, 0, 0), Ok(0));
    let mut seen = BTreeMap::new();
    let read = each(&|guest, _| {
        let mut records = Vec::new();
        while let Ok(bytes) = <[u8; 4]>::try_from(guest.read(fd, 4).unwrap()) {
            records.push(u32::from_le_bytes(bytes));
        }
        records
    });
    read.into_iter().for_each(|record| *seen.entry(record).or_insert(0) += 1);
    assert_eq!(seen.len(), RECORDS as usize);
    assert!(seen.iter().all(|(record, times)| *record < RECORDS && *times == 1));
    assert_eq!(seek(&mut guest, fd, 0, 1), Ok(u64::from(RECORDS) * 4));

    // While some write, others make it append and not append: nothing is lost either way.
    let (ctx, mut mem) = guest.parts();
    assert_eq!(fd_filestat_set_size(ctx, &mut mem, fd, 0), Ok(()));
    assert_eq!(seek(&mut guest, fd, 0, 0), Ok(0));
    each(&|guest, thread| {
        for record in 0..RECORDS / THREADS {
            if thread == 0 {
                let (ctx, mut mem) = guest.parts();
                assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, fd, record % 2), Ok(()));
                assert!(seek(guest, fd, 0, 2).unwrap().is_multiple_of(4));
            } else {
                assert_eq!(guest.write(fd, &record.to_le_bytes()), Ok(4));
            }
        }
        Vec::new()
    });
    assert_eq!(std::fs::metadata(dir.path("file")).unwrap().len(), u64::from(RECORDS / THREADS * (THREADS - 1)) * 4);
}
