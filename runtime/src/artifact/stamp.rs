//! Whether the file of an artifact was written to after it was loaded. Nothing forbids that, and the pages that are mapped change with the
//! file. So the interpreter asks before it reads a function's body, and the handler of faults asks before it takes a fault of
//! native code for one of the host's: size and time of the file's last change are compared with those of the moment before it was hashed.

use core::sync::atomic::{AtomicI64, Ordering};
use std::ffi::CString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file as it was.
pub(crate) struct Stamp {
    path: CString,
    device: u64,
    inode: u64,
    size: i64,
    seconds: AtomicI64,
    nanoseconds: AtomicI64,
}

impl Stamp {
    /// Of an open file, which is found again by its path: whoever replaces or removes it has not written to it.
    pub(super) fn new(path: &Path, metadata: &Metadata) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        Some(Self {
            path: CString::new(path.as_os_str().as_bytes()).ok()?,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size() as i64,
            seconds: metadata.mtime().into(),
            nanoseconds: metadata.mtime_nsec().into(),
        })
    }

    /// The file now, if it is still the same one. Async-signal-safe.
    fn now(&self) -> Option<libc::stat> {
        // SAFETY: all zero is a value of the structure, and the path ends in a 0.
        let now = unsafe {
            let mut now: libc::stat = core::mem::zeroed();
            (libc::stat(self.path.as_ptr(), &raw mut now) == 0).then_some(now)
        }?;
        (now.st_dev == self.device && now.st_ino == self.inode).then_some(now)
    }

    /// Whether somebody has written to the file, or only touched it. Async-signal-safe.
    pub(crate) fn differs(&self) -> bool {
        self.now().is_some_and(|now| {
            let (seconds, nanoseconds) = (self.seconds.load(Ordering::Relaxed), self.nanoseconds.load(Ordering::Relaxed));
            now.st_size != self.size || now.st_mtime != seconds || now.st_mtime_nsec != nanoseconds
        })
    }

    /// Whether the file's contents are still what `is_intact` expects. It is asked only if the file was touched.
    pub(crate) fn is_unchanged(&self, is_intact: impl FnOnce() -> bool) -> bool {
        let Some(now) = self.now().filter(|_| self.differs()) else { return true };
        if now.st_size < self.size || !is_intact() {
            return false;
        }
        // What was found right is right until the next time that somebody touches the file.
        if now.st_size == self.size {
            self.nanoseconds.store(now.st_mtime_nsec, Ordering::Relaxed);
            self.seconds.store(now.st_mtime, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_writes_touches_and_replaces() {
        let path = std::env::temp_dir().join(format!("wasmc-stamp-{}", std::process::id()));
        fs::write(&path, b"first").unwrap();
        let file = fs::File::open(&path).unwrap();
        let stamp = Stamp::new(&path, &file.metadata().unwrap()).unwrap();
        assert!(!stamp.differs() && stamp.is_unchanged(|| unreachable!("nobody touched it")));
        let later = file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(stamp.differs() && !stamp.is_unchanged(|| false) && stamp.is_unchanged(|| true));
        assert!(!stamp.differs() && stamp.is_unchanged(|| unreachable!("it was found right")));
        fs::write(&path, b"longer than it was").unwrap();
        assert!(stamp.differs());
        // Another file of that name is another file.
        fs::write(path.with_extension("new"), b"another").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert!(!stamp.differs());
        fs::remove_file(&path).unwrap();
        assert!(!stamp.differs() && stamp.is_unchanged(|| false));
    }
}
