//! What the tests share: a scratch directory of their own, and a program's view of the functions without writing out pointers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::preview1;
use crate::types::Rights;
use crate::{DirAccess, Errno, GuestMemory, PathResolution, WasiCtx, WasiCtxBuilder};

/// A directory that is removed in the end.
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir()).unwrap()
    }

    /// In a directory that need not exist everywhere.
    pub(crate) fn within(base: &Path) -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmc-wasi-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = base.join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A program that may do everything in it.
    pub(crate) fn guest(&self) -> Guest {
        Guest::new(&self.0, DirAccess::ReadWrite, PathResolution::Kernel)
    }

    pub(crate) fn dir(&self, name: &str) -> &Self {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    pub(crate) fn file(&self, name: &str, contents: &str) -> &Self {
        std::fs::write(self.path(name), contents).unwrap();
        self
    }

    pub(crate) fn link(&self, name: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
        self
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The first preopened directory.
pub(crate) const ROOT: u32 = 3;
pub(crate) const FOLLOW: u32 = 1;
pub(crate) const CREATE: u32 = 1;
pub(crate) const DIRECTORY: u32 = 2;
pub(crate) const EXCLUSIVE: u32 = 4;
pub(crate) const TRUNCATE: u32 = 8;

/// What programs ask for when they open something to read, and to read and write.
pub(crate) const READ: u64 = Rights::ALL.without(Rights::FILE_MUTATION).union(Rights::FD_FILESTAT_SET_TIMES).bits();
pub(crate) const WRITE: u64 = Rights::ALL.bits();

/// A program: a context and a memory, with the functions in a convenient form.
pub(crate) struct Guest {
    pub(crate) ctx: WasiCtx,
    pub(crate) memory: Vec<u8>,
}

const RESULT: u64 = 0;
const FIRST: u64 = 256;
const SECOND: u64 = 8192;
const DATA: u64 = 16384;
const DATA_LEN: u64 = 1 << 16;

impl Guest {
    pub(crate) fn new(dir: &Path, access: DirAccess, resolution: PathResolution) -> Self {
        let mut builder = WasiCtxBuilder::new();
        builder.path_resolution(resolution).preopen_dir(dir, "/", access).unwrap();
        Self::with(builder.build().unwrap())
    }

    pub(crate) fn with(ctx: WasiCtx) -> Self {
        Self { ctx, memory: vec![0; (DATA + DATA_LEN) as usize] }
    }

    pub(crate) fn parts(&mut self) -> (&mut WasiCtx, GuestMemory<'_>) {
        (&mut self.ctx, GuestMemory::new(&mut self.memory))
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> u64 {
        self.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        bytes.len() as u64
    }

    fn result(&self) -> u32 {
        u32::from_le_bytes(self.memory[..4].try_into().unwrap())
    }

    pub(crate) fn open(&mut self, dir: u32, follow: u32, path: &str, oflags: u32, rights: u64) -> Result<u32, Errno> {
        self.open_with(dir, follow, path, oflags, rights, WRITE, 0)
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn open_with(
        &mut self,
        dir: u32,
        follow: u32,
        path: &str,
        oflags: u32,
        rights: u64,
        inheriting: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        let len = self.put(FIRST, path.as_bytes());
        let (ctx, mut mem) = self.parts();
        preview1::path_open(ctx, &mut mem, dir, follow, FIRST, len, oflags, rights, inheriting, fdflags, RESULT)?;
        Ok(self.result())
    }

    pub(crate) fn write(&mut self, fd: u32, data: &[u8]) -> Result<u32, Errno> {
        let len = self.put(DATA, data) as u32;
        let (ctx, mut mem) = self.parts();
        mem.write_u32(8, DATA as u32).unwrap();
        mem.write_u32(12, len).unwrap();
        preview1::fd_write(ctx, &mut mem, fd, 8, 1, RESULT)?;
        Ok(self.result())
    }

    pub(crate) fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let (ctx, mut mem) = self.parts();
        mem.write_u32(8, DATA as u32).unwrap();
        mem.write_u32(12, len).unwrap();
        preview1::fd_read(ctx, &mut mem, fd, 8, 1, RESULT)?;
        let count = self.result() as usize;
        Ok(self.memory[DATA as usize..DATA as usize + count].to_vec())
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let (ctx, mut mem) = self.parts();
        preview1::fd_close(ctx, &mut mem, fd)
    }

    /// A function that takes a directory and a path.
    pub(crate) fn path(
        &mut self,
        function: fn(&mut WasiCtx, &mut GuestMemory<'_>, u32, u64, u64) -> Result<(), Errno>,
        dir: u32,
        path: &str,
    ) -> Result<(), Errno> {
        let len = self.put(FIRST, path.as_bytes());
        let (ctx, mut mem) = self.parts();
        function(ctx, &mut mem, dir, FIRST, len)
    }

    pub(crate) fn rename(&mut self, old: (u32, &str), new: (u32, &str)) -> Result<(), Errno> {
        let (old_len, new_len) = (self.put(FIRST, old.1.as_bytes()), self.put(SECOND, new.1.as_bytes()));
        let (ctx, mut mem) = self.parts();
        preview1::path_rename(ctx, &mut mem, old.0, FIRST, old_len, new.0, SECOND, new_len)
    }

    pub(crate) fn link(&mut self, flags: u32, old: (u32, &str), new: (u32, &str)) -> Result<(), Errno> {
        let (old_len, new_len) = (self.put(FIRST, old.1.as_bytes()), self.put(SECOND, new.1.as_bytes()));
        let (ctx, mut mem) = self.parts();
        preview1::path_link(ctx, &mut mem, old.0, flags, FIRST, old_len, new.0, SECOND, new_len)
    }

    pub(crate) fn symlink(&mut self, text: &str, dir: u32, path: &str) -> Result<(), Errno> {
        let (text_len, len) = (self.put(FIRST, text.as_bytes()), self.put(SECOND, path.as_bytes()));
        let (ctx, mut mem) = self.parts();
        preview1::path_symlink(ctx, &mut mem, FIRST, text_len, dir, SECOND, len)
    }

    pub(crate) fn readlink(&mut self, dir: u32, path: &str, buf_len: u64) -> Result<String, Errno> {
        let len = self.put(FIRST, path.as_bytes());
        let (ctx, mut mem) = self.parts();
        preview1::path_readlink(ctx, &mut mem, dir, FIRST, len, DATA, buf_len, RESULT)?;
        let used = self.result() as usize;
        Ok(String::from_utf8(self.memory[DATA as usize..DATA as usize + used].to_vec()).unwrap())
    }

    /// File type, size, modification time.
    pub(crate) fn stat(&mut self, dir: u32, follow: u32, path: &str) -> Result<(u8, u64, u64), Errno> {
        let len = self.put(FIRST, path.as_bytes());
        let (ctx, mut mem) = self.parts();
        preview1::path_filestat_get(ctx, &mut mem, dir, follow, FIRST, len, DATA)?;
        Ok((mem.read_u8(DATA + 16)?, mem.read_u64(DATA + 32)?, mem.read_u64(DATA + 48)?))
    }

    pub(crate) fn set_mtime(&mut self, dir: u32, follow: u32, path: &str, mtime: u64) -> Result<(), Errno> {
        let len = self.put(FIRST, path.as_bytes());
        let (ctx, mut mem) = self.parts();
        preview1::path_filestat_set_times(ctx, &mut mem, dir, follow, FIRST, len, 0, mtime, 4)
    }

    /// Descriptor type, flags, rights, inheriting rights.
    pub(crate) fn fdstat(&mut self, fd: u32) -> Result<(u8, u16, u64, u64), Errno> {
        let (ctx, mut mem) = self.parts();
        preview1::fd_fdstat_get(ctx, &mut mem, fd, DATA)?;
        Ok((mem.read_u8(DATA)?, mem.read_u16(DATA + 2)?, mem.read_u64(DATA + 8)?, mem.read_u64(DATA + 16)?))
    }

    /// The bytes that one `fd_readdir` returns.
    pub(crate) fn readdir(&mut self, fd: u32, buf_len: u64, cookie: u64) -> Result<Vec<u8>, Errno> {
        let (ctx, mut mem) = self.parts();
        preview1::fd_readdir(ctx, &mut mem, fd, DATA, buf_len, cookie, RESULT)?;
        let used = self.result() as usize;
        Ok(self.memory[DATA as usize..DATA as usize + used].to_vec())
    }
}
